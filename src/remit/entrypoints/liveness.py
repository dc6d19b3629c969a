"""Whether a worker's jobs get anywhere, and the port on which a platform asks.

The answer is one line of HTTP on asyncio's own server: a worker serves nothing else.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

HUNG_SECONDS = 60.0
HEAD_TIMEOUT_SECONDS = 5.0
MAX_HEAD_LINES = 100


class Progress:
    """By when each job must get somewhere again. One that does not by then hangs."""

    def __init__(self, hung_seconds: float = HUNG_SECONDS) -> None:
        self._hung_seconds = hung_seconds
        self._due: dict[str, float] = {}

    def moved(self, job: str, interval_seconds: float = 0.0) -> None:
        """The job got somewhere, and does so again after its interval."""
        now = asyncio.get_running_loop().time()
        self._due[job] = now + interval_seconds + self._hung_seconds

    def ended(self, job: str) -> None:
        self._due.pop(job, None)

    def hung(self) -> list[str]:
        now = asyncio.get_running_loop().time()
        return sorted(job for job, due in self._due.items() if due < now)


@asynccontextmanager
async def serve_liveness(
    progress: Progress, host: str, port: int | None
) -> AsyncIterator[int | None]:
    """Answers `GET /live` while the block lasts, on this port; without one, does nothing."""
    if port is None:
        yield None
        return

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(HEAD_TIMEOUT_SECONDS):
                path = await _path(reader)
                writer.write(_answer(path, progress.hung()))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _path(reader: asyncio.StreamReader) -> str:
    """Reads the head of a request. Raises ValueError for what is none."""
    _, path, _ = (await reader.readuntil(b"\n")).decode("latin-1").split()
    for _ in range(MAX_HEAD_LINES):
        if not (await reader.readuntil(b"\n")).strip():
            return path
    raise ValueError(path)


def _answer(path: str, hung: list[str]) -> bytes:
    if path != "/live":
        status, said = "404 Not Found", "nothing here"
    elif hung:
        status, said = "503 Service Unavailable", f"hung: {', '.join(hung)}"
    else:
        status, said = "200 OK", "live"
    head = f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(said)}\r\n"
    return f"{head}cache-control: no-store\r\nconnection: close\r\n\r\n{said}".encode()
