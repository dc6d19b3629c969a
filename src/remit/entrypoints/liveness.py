"""The worker's liveness: its jobs report progress, and a platform asks for it at `GET /live`.

The response is one line of HTTP from asyncio's own server, because a worker serves nothing else.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

HUNG_SECONDS = 60.0
HEAD_TIMEOUT_SECONDS = 5.0
MAX_HEAD_LINES = 100


class Progress:
    """When each job must report next. A job that has not done so by then hangs."""

    def __init__(self, hung_seconds: float = HUNG_SECONDS) -> None:
        self._hung_seconds = hung_seconds
        self._due: dict[str, float] = {}

    def report(self, job: str, interval_seconds: float = 0.0) -> None:
        """Records progress of the job. It reports again within `interval_seconds`, or hangs."""
        now = asyncio.get_running_loop().time()
        self._due[job] = now + interval_seconds + self._hung_seconds

    def finish(self, job: str) -> None:
        """Expects no more reports of the job."""
        self._due.pop(job, None)

    def hung_jobs(self) -> list[str]:
        now = asyncio.get_running_loop().time()
        return sorted(job for job, due in self._due.items() if due < now)


@asynccontextmanager
async def serve_liveness(
    progress: Progress, host: str, port: int | None
) -> AsyncIterator[int | None]:
    """Serves `GET /live` while the block runs. Yields the port. Without a port it does nothing."""
    if port is None:
        yield None
        return

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(HEAD_TIMEOUT_SECONDS):
                path = await _read_path(reader)
                writer.write(_response(path, progress.hung_jobs()))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(respond, host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _read_path(reader: asyncio.StreamReader) -> str:
    """Reads the head of a request. Raises ValueError if it is not one."""
    _, path, _ = (await reader.readuntil(b"\n")).decode("latin-1").split()
    for _ in range(MAX_HEAD_LINES):
        if not (await reader.readuntil(b"\n")).strip():
            return path
    raise ValueError(path)


def _response(path: str, hung_jobs: list[str]) -> bytes:
    if path != "/live":
        status, body = "404 Not Found", "nothing here"
    elif hung_jobs:
        status, body = "503 Service Unavailable", f"hung: {', '.join(hung_jobs)}"
    else:
        status, body = "200 OK", "live"
    head = f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\n"
    return f"{head}cache-control: no-store\r\nconnection: close\r\n\r\n{body}".encode()
