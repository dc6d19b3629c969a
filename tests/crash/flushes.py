"""Watches PostgreSQL's system calls while the service takes payments: no commit is acknowledged
before it is on the disk.

    python -m tests.crash.flushes --acknowledgements 10000

strace shows when a server process receives the store's commit, when a flush of the write-ahead log
begins and returns, in this process or another one, and when the answer is sent. An answer is too
early unless a flush began after the commit was received and returned before the answer was sent.
With `--asynchronous` PostgreSQL does not wait for the disk, and the same run finds many.
"""

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec

from remit.adapters.postgres.embedded_server import EmbeddedPostgres
from tests.crash.crash import CLIENTS, Client, Report
from tests.service import Service, wait_until

CALLS = "trace=fdatasync,fsync,recvfrom,sendto"
SHOWN_BYTES = "128"
ATTACH_SECONDS = 10.0
LOOK_SECONDS = 0.5
ASYNCHRONOUS = "ALTER SYSTEM SET synchronous_commit = off"

PREPARED = re.compile(r'^"P[^,]*?(__asyncpg_stmt_\w+__)\\0\\nWITH payment AS MATERIALIZED')
"""The store's commit as it is prepared: the driver's name for it, and its first words."""

BOUND = re.compile(r'^"B[^,]*?(__asyncpg_stmt_\w+__)')
CALL = re.compile(r"^(?P<pid>\d+) +(?P<name>\w+)\((?P<first>[^,)]*)(?:, (?P<second>.*))?")
RESUMED = re.compile(r"^(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
UNFINISHED = "<unfinished ...>"


class Flushes(msgspec.Struct):
    """How many commits were acknowledged, and how many of them before they were flushed."""

    acknowledgements: int = 0
    too_early: int = 0


class _Trace:
    """What the server processes have done so far, by line of the trace."""

    def __init__(self) -> None:
        self.found = Flushes()
        self._commits: set[tuple[str, str]] = set()
        self._received: dict[str, int] = {}
        self._flushing: dict[str, int] = {}
        self._last_flush = 0

    def read(self, number: int, line: str) -> None:
        if (resumed := RESUMED.match(line)) is not None:
            if resumed["name"].endswith("sync"):
                self._flush_returns(resumed["pid"])
            elif resumed["name"] == "recvfrom":
                self._receive(number, resumed["pid"], resumed["rest"].lstrip())
            return
        if (call := CALL.match(line)) is None:
            return
        pid, name, is_unfinished = call["pid"], call["name"], line.rstrip().endswith(UNFINISHED)
        if name.endswith("sync") and "/pg_wal/" in call["first"]:
            self._flushing[pid] = number
            if not is_unfinished:
                self._flush_returns(pid)
        elif name == "recvfrom" and not is_unfinished:
            self._receive(number, pid, call["second"] or "")
        elif name == "sendto":
            self._answer(pid, call["second"] or "")

    def _receive(self, number: int, pid: str, received: str) -> None:
        if (prepared := PREPARED.match(received)) is not None:
            self._commits.add((pid, prepared[1]))
        elif (bound := BOUND.match(received)) is not None and (pid, bound[1]) in self._commits:
            self._received[pid] = number

    def _flush_returns(self, pid: str) -> None:
        begun = self._flushing.pop(pid, 0)
        self._last_flush = max(self._last_flush, begun)

    def _answer(self, pid: str, answer: str) -> None:
        received = self._received.pop(pid, None)
        if received is None or answer.startswith('"E'):  # an error: nothing was committed
            return
        self.found.acknowledgements += 1
        self.found.too_early += self._last_flush < received


def count_flushes(trace: Path) -> Flushes:
    """Reads what strace has written until now."""
    read = _Trace()
    with trace.open(errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            read.read(number, line)
    return read.found


async def watch(folder: Path, acknowledgements: int, *, synchronous: bool = True) -> Flushes:
    """Takes payments until so many commits were acknowledged."""
    strace = shutil.which("strace")
    if strace is None:
        raise FileNotFoundError("strace is not installed")
    postgres = EmbeddedPostgres(folder / "database")
    url = await asyncio.to_thread(postgres.start)
    if not synchronous:
        for statement in (ASYNCHRONOUS, "SELECT pg_reload_conf()"):
            await _run(postgres.programs / "psql", "-q", "-d", url, "-c", statement)
    postmaster = (folder / "database" / "postmaster.pid").read_text().split()[0]
    trace = folder / "trace.txt"
    watching = await asyncio.create_subprocess_exec(
        *(strace, "-f", "-y", "-s", SHOWN_BYTES, "-e", CALLS, "-o", str(trace), "-p", postmaster),
        stderr=asyncio.subprocess.DEVNULL,
    )
    found = Flushes()
    try:
        await asyncio.to_thread(
            wait_until, trace.exists, ATTACH_SECONDS, "strace to attach to the server"
        )
        with Service(folder, REMIT_DATABASE_URL=url) as service:
            await asyncio.to_thread(service.start)
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as clients:
                for name in range(CLIENTS):
                    clients.create_task(Client(name, service, Report()).run(stop))
                while found.acknowledgements < acknowledgements:
                    await asyncio.sleep(LOOK_SECONDS)
                    found = await asyncio.to_thread(count_flushes, trace)
                    if sys.stderr.isatty():
                        said = f"\r{found.acknowledgements}/{acknowledgements} acknowledgements"
                        print(said, end="", file=sys.stderr)
                stop.set()
            service.stop()
    finally:
        if watching.returncode is None:
            watching.terminate()
        await watching.wait()
        await asyncio.to_thread(postgres.stop)
    return found


async def _run(*command: str | Path) -> None:
    running = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    assert await running.wait() == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--acknowledgements", type=int, default=1_000, help="how many (1000)")
    parser.add_argument(
        "--asynchronous", action="store_true", help="commit without waiting for the disk"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        found = asyncio.run(
            watch(folder, chosen.acknowledgements, synchronous=not chosen.asynchronous)
        )
    print(f"{found.acknowledgements} acknowledgements, {found.too_early} before their flush")
    raise SystemExit(1 if found.too_early else 0)


if __name__ == "__main__":
    main()
