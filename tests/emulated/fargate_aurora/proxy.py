"""A load balancer in small: requests in turn to the targets that are in service.

As an Application Load Balancer does: connections to targets are kept and used again, a target that
is taken out gets no new request, those under way are waited for, and no request is sent twice.
"""

import asyncio
import re
from collections import deque
from itertools import count
from types import TracebackType
from typing import Self

HEAD = b"\r\n\r\n"
LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
CLOSE = re.compile(rb"^connection: *close", re.IGNORECASE | re.MULTILINE)
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    def __init__(self) -> None:
        self.port = 0
        self.failed = 0
        self._targets: list[int] = []
        self._idle: dict[int, deque[Streams]] = {}
        self._turn = count()
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._client, "127.0.0.1")
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        for port in list(self._idle):
            self._drop(port)

    def register(self, port: int) -> None:
        self._targets.append(port)
        self._idle[port] = deque()

    def deregister(self, port: int) -> None:
        self._targets.remove(port)
        self._drop(port)

    def _drop(self, port: int) -> None:
        for _, writer in self._idle.pop(port, ()):
            writer.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
        try:
            while True:
                writer.write(await self._forward(await _message(reader)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the caller went
        finally:
            writer.close()
            if task is not None:
                self._clients.discard(task)

    async def _forward(self, request: bytes) -> bytes:
        port = self._targets[next(self._turn) % len(self._targets)]
        try:
            reader, writer = await self._connection(port)
            writer.write(request)
            answer = await _message(reader)
        except (OSError, asyncio.IncompleteReadError):
            self.failed += 1
            return BAD_GATEWAY
        if CLOSE.search(answer.partition(HEAD)[0]) or port not in self._idle:
            writer.close()
        else:
            self._idle[port].append((reader, writer))
        return answer

    async def _connection(self, port: int) -> Streams:
        idle = self._idle.get(port, deque())
        while idle:
            reader, writer = idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", port)


class Client:
    """A caller that keeps its connection and uses it again."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self._streams: Streams | None = None

    async def post(self, path: str, body: bytes, *more: str) -> tuple[int, bytes]:
        """Status and body. Raises what the connection raises."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        head = [
            f"POST {path} HTTP/1.1",
            "host: localhost",
            f"x-api-key: {self._key}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            *more,
        ]
        writer.write("\r\n".join(head).encode() + HEAD + body)
        answer = await _message(reader)
        start, _, rest = answer.partition(HEAD)
        if CLOSE.search(start):
            self.close()
        return int(start.split(b" ", 2)[1]), rest

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One request or answer, head and body. Ours say how long they are."""
    head = await reader.readuntil(HEAD)
    found = LENGTH.search(head)
    return head + (await reader.readexactly(int(found[1])) if found else b"")
