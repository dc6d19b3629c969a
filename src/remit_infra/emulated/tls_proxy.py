"""A TLS proxy for an emulated server that has no TLS: it listens on a port of this machine.

It runs in a thread with an event loop of its own. Each server's module has the handshake that
authenticates a client; the proxy passes bytes in both directions.
"""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

CHUNK_BYTES = 65_536
PAUSE_SECONDS = 0.1

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

Handshake = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Streams | None]]
"""Authenticates a client and connects it to the server. None rejects it."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """The server's side of TLS, with a self-signed certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class TlsProxy:
    """It runs from the first call of `run` or `listen` until `stop`, and cannot start again."""

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of the coroutine, which runs on the proxy's event loop."""
        if not self._thread.is_alive():
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def listen(self, port: int = 0, *, context: ssl.SSLContext | None = None) -> int:
        """Opens the port, or a free one if it is 0, and returns it. With a context, a connection
        starts with TLS.
        """
        server = asyncio.start_server(self._serve, "127.0.0.1", port, ssl=context)
        self._server = self.run(server)
        opened: int = self._server.sockets[0].getsockname()[1]
        return opened

    def await_disconnects(self, cause: Coroutine[Any, Any, None]) -> None:
        """Runs `cause`, which makes the server close its connections, and returns once all clients
        that were connected before are disconnected.
        """
        self.run(self._await_disconnects(cause))

    def stop(self) -> None:
        self.run(self._disconnect_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _await_disconnects(self, cause: Coroutine[Any, Any, None]) -> None:
        clients = asyncio.all_tasks() - {asyncio.current_task()}
        await cause
        if clients:
            await asyncio.wait(clients)

    async def _disconnect_all(self) -> None:
        """Aborts every connection. Closing one would wait for its client."""
        if self._server is not None:
            self._server.close()
        while clients := asyncio.all_tasks() - {asyncio.current_task()}:
            for writer in self._writers:
                writer.transport.abort()
            # A client that connected just before the port was closed is still in its handshake.
            await asyncio.wait(clients, timeout=PAUSE_SECONDS)
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, from the handshake until either side closes its connection."""
        self._writers.add(writer)
        try:
            if (server := await self._handshake(reader, writer)) is None:
                return
            server_reader, server_writer = server
            self._writers.add(server_writer)
            try:
                await _until_first_ends(_pipe(reader, server_writer), _pipe(server_reader, writer))
            finally:
                self._writers.discard(server_writer)
        except (OSError, asyncio.IncompleteReadError):
            return  # the client has disconnected
        finally:
            writer.close()
            self._writers.discard(writer)


async def _until_first_ends(*pipes: Coroutine[Any, Any, None]) -> None:
    """Runs all and cancels the others when one ends: a connection with one side is of no use."""
    tasks = [asyncio.ensure_future(pipe) for pipe in pipes]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()
