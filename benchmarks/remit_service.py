"""Remit as its users start it: `remit up` on a data folder, with the rate limit out of the way."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks.figures import CannotMeasure
from benchmarks.processes import POLL_SECONDS, free_port, started_process, wait_for_response

EXAMPLE_SECONDS = 30.0
EXAMPLE_IS_DONE = "Ctrl-C"


class Target(msgspec.Struct, frozen=True):
    """A service on a port of this machine, and the API key for it."""

    port: int
    key: str
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def remit_up(data: Path, *, wait: bool = True) -> Iterator[Target]:
    """Runs until the end of the block. With `wait` the block begins when the service is ready.

    The first start of a folder makes its database and the example key; later ones find them.
    Without `wait` the key is empty, because there may be none yet.
    """
    data.mkdir(parents=True, exist_ok=True)
    port = free_port()
    output = data / "output.txt"
    output.write_bytes(b"")
    environ = {
        "REMIT_DATA_DIR": str(data),
        "PORT": str(port),
        # One key sends everything here; its limit would be what is measured.
        "REMIT_RATE_PER_SECOND": "1000000",
        "REMIT_RATE_BURST": "1000000",
    }
    with started_process(
        [sys.executable, "-m", "remit", "up"], output=output, environ=environ
    ) as process:
        target = Target(port, "", process)
        if wait:
            wait_for_response(process, f"{target.url}/health", output)
            wait_for_example(output)
            target = Target(port, (data / "example.key").read_text().strip(), process)
        yield target


def wait_for_example(output: Path) -> None:
    """Waits until `remit up` has taken its example payment and prints how to stop it.

    Otherwise the example would be part of what is measured, or the service would be stopped in the
    middle of it. Raises CannotMeasure.
    """
    deadline = time.monotonic() + EXAMPLE_SECONDS
    while EXAMPLE_IS_DONE not in output.read_text(errors="replace"):
        if time.monotonic() > deadline:
            raise CannotMeasure(f"`remit up` never said '{EXAMPLE_IS_DONE}'")
        time.sleep(POLL_SECONDS)
