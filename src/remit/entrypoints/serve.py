"""Runs the HTTP API on Granian, and any long-running process on an event loop until it is stopped.

Granian runs inside this event loop. Its process supervisor is not used: its signal handler can
deadlock on a second signal, and the platform (ECS, or `remit up`) restarts a process that dies.
"""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvloop
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from remit.entrypoints.rsgi import HttpApi, OnResponse
from remit.entrypoints.tracing import tracing
from remit.ports.app import App

GARBAGE_THRESHOLD = 10_000
"""How many objects are made between two garbage collections. Few objects need one to be freed."""

THREADS = 32
HEADER_TIMEOUT_MILLISECONDS = 10_000
BACKLOG = 1_024


class PortTaken(Exception):
    """Another program listens on the port."""


async def serve(app: App, stop: asyncio.Event, *, on_response: OnResponse | None = None) -> None:
    """Serves the API until `stop` is set and `drain_seconds` more, then finishes the requests under
    way.

    While it drains, a load balancer finds other targets. Calls `on_response` after each response.
    """
    async with tracing(app) as start_span:
        await _serve(HttpApi(app, start_span, on_response), app, stop)


async def _serve(api: HttpApi, app: App, stop: asyncio.Event) -> None:
    server = Server(
        api,
        address=app.settings.host,
        port=app.settings.port,
        interface=Interfaces.RSGI,
        websockets=False,
        backlog=BACKLOG,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MILLISECONDS),
        log_enabled=False,
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if app.settings.drain_seconds and not serving.done():
        api.drain()
        await asyncio.wait({serving}, timeout=app.settings.drain_seconds)
    server.stop()  # type: ignore[no-untyped-call]
    await serving


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs a long-running process on uvloop."""
    # Imported modules are never garbage, so the collector need not look through them.
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 50)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # Calls to AWS wait in threads. The default, one for each processor and four, is too few.
        runner.get_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        runner.run(main)


def stop_event(*, with_parent: bool = False) -> asyncio.Event:
    """An event that SIGINT and SIGTERM set, and `with_parent` the end of the parent process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if with_parent:
        # The parent has the other end of standard input, writes nothing, and closes it at its end.
        loop.add_reader(sys.stdin.fileno(), _on_parent_end, loop, stop)
    return stop


def _on_parent_end(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    loop.remove_reader(sys.stdin.fileno())
    stop.set()


def require_free_port(host: str, port: int) -> None:
    """Raises PortTaken if another program listens on the port. Call it before anything starts."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(
                f"Port {port} on {host} cannot be used ({error.strerror}). "
                f"Stop what listens there, or choose another: PORT={port + 1}."
            ) from error
