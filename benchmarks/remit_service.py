"""Remit as its users start it: `remit up` on a data folder, with the rate limit out of the way."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks.processes import free_port, running, wait_for_answer


class Target(msgspec.Struct, frozen=True):
    """A service that answers on a port of this machine."""

    port: int
    key: str
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def remit_up(data: Path, *, wait: bool = True) -> Iterator[Target]:
    """Runs until the end of the block; with `wait`, first until it is healthy.

    The first start of a folder makes its database and the example key; later ones find them.
    """
    data.mkdir(parents=True, exist_ok=True)
    port = free_port()
    output = data / "output.txt"
    environ = {
        "REMIT_DATA_DIR": str(data),
        "PORT": str(port),
        # One key sends everything here; its limit would be what is measured.
        "REMIT_RATE_PER_SECOND": "1000000",
        "REMIT_RATE_BURST": "1000000",
    }
    with running([sys.executable, "-m", "remit", "up"], output=output, environ=environ) as process:
        if not wait:
            yield Target(port, "", process)
            return
        wait_for_answer(process, port, "/health", output)
        yield Target(port, (data / "example.key").read_text().strip(), process)
