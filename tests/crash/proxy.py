"""A TCP proxy that breaks connections as networks do, before a service or before its database."""

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import StrEnum

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]

DELAY_SECONDS = (0.01, 0.3)
PARTITION_SECONDS = (0.2, 2.0)
CHUNK_BYTES = 262_144
RESET = struct.pack("ii", 1, 0)
"""The option by which a socket is reset when it is closed (SO_LINGER, socket(7))."""


class NetworkFault(StrEnum):
    """What becomes of what one side sends, and of the connection that it is sent on."""

    RESET_BEFORE = "reset_before"
    """It never arrives."""

    RESET_AFTER = "reset_after"
    """It arrives and is answered, as after a commit. The answer never arrives."""

    TRUNCATED = "truncated"
    """Half of the answer arrives."""

    DELAY = "delay"
    HALF_CLOSE = "half_close"
    """It arrives, and after it the end of what its sender sends. The answer arrives."""

    PARTITION = "partition"
    """It arrives. For a while nothing more does in either direction, and then the end of both."""


class FaultyProxy:
    """Passes bytes between its callers and one server, and does a fault to some of what is sent to
    the server: the share `rate` of it. `counts` has how often each kind happened.
    """

    def __init__(self, connect: Connect, chance: random.Random, rate: float) -> None:
        self._connect = connect
        self._chance = chance
        self.rate = rate
        self.counts: Counter[NetworkFault] = Counter()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listens on a free port of this machine, and returns it."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._pass(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await self._connect()
        except OSError:
            _reset(writer)
            return
        connection = _Connection(self, (reader, writer), server)
        await connection.run()

    def draw(self) -> NetworkFault | None:
        if self._chance.random() >= self.rate:
            return None
        fault = self._chance.choice(list(NetworkFault))
        self.counts[fault] += 1
        return fault

    async def pause(self, seconds: tuple[float, float]) -> None:
        await asyncio.sleep(self._chance.uniform(*seconds))


class _Connection:
    """One connection of a caller and its connection to the server, until either ends."""

    def __init__(self, proxy: FaultyProxy, caller: Streams, server: Streams) -> None:
        self._proxy = proxy
        self._from_caller, self._to_caller = caller
        self._from_server, self._to_server = server
        self._fault: NetworkFault | None = None

    async def run(self) -> None:
        ways = [asyncio.ensure_future(way) for way in (self._send(), self._answer())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            _reset(self._to_caller)
            _reset(self._to_server)

    async def _send(self) -> None:
        while sent := await self._from_caller.read(CHUNK_BYTES):
            self._fault = self._proxy.draw()
            match self._fault:
                case NetworkFault.RESET_BEFORE:
                    raise ConnectionResetError
                case NetworkFault.DELAY:
                    await self._proxy.pause(DELAY_SECONDS)
                case _:
                    pass
            self._to_server.write(sent)
            await self._to_server.drain()
            match self._fault:
                case NetworkFault.HALF_CLOSE:
                    break
                case NetworkFault.PARTITION:
                    await self._proxy.pause(PARTITION_SECONDS)
                    raise ConnectionResetError
                case _:
                    pass
        self._to_server.write_eof()

    async def _answer(self) -> None:
        while answer := await self._from_server.read(CHUNK_BYTES):
            match self._fault:
                case NetworkFault.RESET_AFTER:
                    raise ConnectionResetError
                case NetworkFault.TRUNCATED:
                    self._to_caller.write(answer[: len(answer) // 2])
                    await self._to_caller.drain()
                    raise ConnectionResetError
                case NetworkFault.PARTITION:
                    continue
                case _:
                    pass
            self._to_caller.write(answer)
            await self._to_caller.drain()
        self._to_caller.write_eof()
        await self._to_caller.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes a connection at once. What was not sent yet is lost, and the other side hears it."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.family != socket.AF_UNIX and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
