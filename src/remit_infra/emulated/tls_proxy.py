"""What stands before an emulated server that has no TLS of its own: a port of this machine.

How a client is let in is each server's own affair, beside it. This is the rest: a loop of its own
in a thread, a pipe each way, and an end that waits for nobody.
"""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

PIECE_BYTES = 65_536
PAUSE_SECONDS = 0.1

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

Handshake = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Streams | None]]
"""Hears a client out and connects it to the server; None refuses it."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate that stands for itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class TlsProxy:
    """Runs from the first call of `run` or `listen` until `stop`, and not again."""

    def __init__(self, let_in: Handshake) -> None:
        self._let_in = let_in
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    def run(self, asked: Coroutine[Any, Any, Any]) -> Any:
        """What `asked` comes to, on the front's own loop."""
        if not self._thread.is_alive():
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result(60)

    def listen(self, port: int = 0, *, trust: ssl.SSLContext | None = None) -> int:
        """Opens the port, or a free one, and says which. With `trust` TLS comes first of all."""
        self._server = self.run(asyncio.start_server(self._serve, "127.0.0.1", port, ssl=trust))
        opened: int = self._server.sockets[0].getsockname()[1]
        return opened

    def end_clients(self, ending: Coroutine[Any, Any, None]) -> None:
        """When this returns, whoever was connected before `ending` has been sent the end."""
        self.run(self._end_clients(ending))

    def stop(self) -> None:
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end_clients(self, ending: Coroutine[Any, Any, None]) -> None:
        clients = asyncio.all_tasks() - {asyncio.current_task()}
        await ending
        if clients:
            await asyncio.wait(clients)

    async def _end(self) -> None:
        """Ends every connection at once. Closing one politely would wait for its client."""
        if self._server is not None:
            self._server.close()
        while clients := asyncio.all_tasks() - {asyncio.current_task()}:
            for writer in self._writers:
                writer.transport.abort()
            # Whoever came just before the port was closed is let in meanwhile.
            await asyncio.wait(clients, timeout=PAUSE_SECONDS)
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, from being let in to the end of either side."""
        self._writers.add(writer)
        try:
            if (inner := await self._let_in(reader, writer)) is None:
                return
            inner_reader, inner_writer = inner
            self._writers.add(inner_writer)
            try:
                await _both_ways(_pipe(reader, inner_writer), _pipe(inner_reader, writer))
            finally:
                self._writers.discard(inner_writer)
        except (OSError, asyncio.IncompleteReadError):
            return  # the client went
        finally:
            writer.close()
            self._writers.discard(writer)


async def _both_ways(*pipes: Coroutine[Any, Any, None]) -> None:
    """Until either side ends: then the other has nobody to speak to."""
    running = [asyncio.ensure_future(pipe) for pipe in pipes]
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for one in running:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    finally:
        writer.close()
