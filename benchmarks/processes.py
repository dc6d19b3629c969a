"""Programs under measurement: started into a file, awaited, and always ended."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from benchmarks.figures import CannotMeasure

START_SECONDS = 60.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.005
ROOT = Path(__file__).parents[1]


@contextmanager
def started_process(
    command: Sequence[str | Path], *, output: Path, environ: Mapping[str, str] | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """Runs `command` for as long as the block, then ends it as Ctrl-C would, or by force.

    Its output goes to a file: PostgreSQL inherits it, and would hold a pipe open. It has a session
    of its own, so that Ctrl-C reaches this program alone, which then ends things in order.
    """
    with output.open("ab") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=_clean_environ() | dict(environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _clean_environ() -> dict[str, str]:
    """This shell's variables, without the settings of another service that runs from it."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("REMIT_", "PG")) and name != "PORT"
    }


def wait_for_response(process: "subprocess.Popen[bytes]", url: str, output: Path) -> None:
    """Polls until `url` responds with 200. Raises CannotMeasure with the program's last output."""
    deadline = time.monotonic() + START_SECONDS
    with local_client(timeout=5.0) as client:
        while not _responds(client, url):
            if process.poll() is not None or time.monotonic() > deadline:
                last = output.read_text(errors="replace")[-2_000:]
                raise CannotMeasure(f"{process.args!r} did not start:\n{last}")
            time.sleep(POLL_SECONDS)


def local_client(timeout: float = 30.0) -> httpx.Client:
    """A client for this machine, which takes no proxy from the environment."""
    return httpx.Client(timeout=timeout, trust_env=False)


def _responds(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == 200
    except httpx.TransportError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run(command: Sequence[str | Path], *, timeout_seconds: float, output: Path) -> str:
    """Runs a program to its end and returns what it printed. Raises CannotMeasure if it fails."""
    with started_process(command, output=output) as process:
        try:
            status = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise CannotMeasure(f"{command[0]} did not end in {timeout_seconds:g} s") from error
    printed = output.read_text(errors="replace")
    if status != 0:
        raise CannotMeasure(f"{command[0]} failed with status {status}:\n{printed[-2_000:]}")
    return printed
