"""Runs the HTTP API on Granian, and what every long-running process needs: a loop and its end.

Granian runs inside our own event loop. Its process supervisor is not used: the platform (ECS, or
`remit up`) restarts what dies, and its signal handler can deadlock on a second signal.
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

from remit.entrypoints.rsgi import HttpApi, Responded
from remit.entrypoints.tracing import tracing
from remit.ports.app import App

GARBAGE_THRESHOLD = 10_000
"""Objects made between two looks for garbage; ours is nearly all freed without one."""

THREADS = 32
HEADER_TIMEOUT_MILLISECONDS = 10_000
BACKLOG = 1_024


class PortTaken(Exception):
    """Something else listens on the port."""


async def serve(app: App, stop: asyncio.Event, *, responded: Responded | None = None) -> None:
    """Answers requests until `stop` is set, and for `drain_seconds` after it, in which a load
    balancer looks elsewhere. Those under way are finished first. Calls `responded` after each.
    """
    async with tracing(app) as begin:
        await _serve(HttpApi(app, begin, responded), app, stop)


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
    """Runs a long-running process on the fast event loop."""
    # What was imported stays; looking through it again and again for garbage would find none.
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 50)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # Calls to AWS wait in threads; one for each processor and four more would be too few.
        runner.get_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        runner.run(main)


def stopped(*, with_parent: bool = False) -> asyncio.Event:
    """An event set on SIGINT or SIGTERM and, `with_parent`, when the parent process is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if with_parent:
        # The parent holds the other end of standard input and never writes: it closes with it.
        loop.add_reader(sys.stdin.fileno(), _parent_gone, loop, stop)
    return stop


def _parent_gone(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    loop.remove_reader(sys.stdin.fileno())
    stop.set()


def require_free_port(host: str, port: int) -> None:
    """Raises PortTaken, before anything else is started for nothing."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(
                f"Port {port} on {host} cannot be used ({error.strerror}). "
                f"Stop what listens there, or choose another: PORT={port + 1}."
            ) from error
