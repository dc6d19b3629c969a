"""A TLS proxy for an emulated server that has no TLS: it listens on a port of this machine.

It runs in a thread with an event loop of its own. Each server's module has the handshake that
authenticates a client; the proxy passes bytes in both directions.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

CHUNK_BYTES = 65_536

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
        self._listener: socket.socket | None = None
        self._clients: dict[asyncio.Task[None], socket.socket] = {}

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of the coroutine, which runs on the proxy's event loop."""
        if not self._thread.is_alive():
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def listen(self, port: int = 0, *, context: ssl.SSLContext | None = None) -> int:
        """Opens the port, or a free one if it is 0, and returns it. With a context, a connection
        starts with TLS.
        """
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.setblocking(False)
        self.run(self._start_accepting(self._listener, context))
        opened: int = self._listener.getsockname()[1]
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

    async def _start_accepting(
        self, listener: socket.socket, context: ssl.SSLContext | None
    ) -> None:
        """Accepts connections on the event loop, until `_disconnect_all`.

        An `asyncio.Server` that is closed loses the connections that it has just accepted, and
        leaves them open (python/cpython 109564).
        """

        def accept() -> None:
            with suppress(OSError):  # the client has disconnected
                connection, _ = listener.accept()
                connection.setblocking(False)
                task = self._loop.create_task(self._serve(connection, context))
                self._clients[task] = connection
                task.add_done_callback(self._clients.pop)

        self._loop.add_reader(listener, accept)

    async def _await_disconnects(self, cause: Coroutine[Any, Any, None]) -> None:
        clients = set(self._clients)
        await cause
        if clients:
            await asyncio.wait(clients)

    async def _disconnect_all(self) -> None:
        """Shuts down every connection: closing one would wait for its client."""
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        for connection in self._clients.values():
            with suppress(OSError):  # it is closed
                connection.shutdown(socket.SHUT_RDWR)
        if self._clients:
            await asyncio.wait(set(self._clients))

    async def _serve(self, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        """One client, from its TLS handshake until both its connections are closed."""
        reader = asyncio.StreamReader()
        accepted: asyncio.Future[asyncio.StreamWriter] = self._loop.create_future()
        protocol = asyncio.StreamReaderProtocol(
            reader, lambda _, writer: accepted.set_result(writer)
        )
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, connection, ssl=context)
            writer = await accepted
            try:
                await self._connect_to_server(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError):
            return  # the client has disconnected

    async def _connect_to_server(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if (server := await self._handshake(reader, writer)) is None:
            return
        server_reader, server_writer = server
        try:
            await _until_first_ends(_pipe(reader, server_writer), _pipe(server_reader, writer))
        finally:
            # The server may be one that no longer reads: what is not sent is dropped.
            server_writer.transport.abort()
            await server_writer.wait_closed()


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
