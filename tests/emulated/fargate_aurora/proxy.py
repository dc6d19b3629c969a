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
        except OSError:
            self.failed += 1
            return BAD_GATEWAY
        is_kept = False
        try:
            writer.write(request)
            response = await _message(reader)
            is_kept = port in self._idle and not CLOSE.search(response.partition(HEAD)[0])
        except (OSError, asyncio.IncompleteReadError):
            self.failed += 1
            return BAD_GATEWAY
        finally:
            # Also where this task is canceled meanwhile: no transport is left open.
            if is_kept:
                self._idle[port].append((reader, writer))
            else:
                writer.close()
        return response

    async def _connection(self, port: int) -> Streams:
        idle = self._idle.get(port, deque())
        while idle:
            reader, writer = idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", port)


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One request or answer, head and body. Ours say how long they are."""
    head = await reader.readuntil(HEAD)
    found = LENGTH.search(head)
    return head + (await reader.readexactly(int(found[1])) if found else b"")
