"""Closed-loop load: wrk with 64 connections, each sending its next request when it is answered."""

import itertools
import re
import shutil
from pathlib import Path

import msgspec

from benchmarks.figures import CannotMeasure
from benchmarks.processes import run
from benchmarks.remit_service import Target

SCRIPTS = Path(__file__).parent / "scripts"
MAX_FAILED = 0.001
"""The share of failed requests above which a figure would be about something else."""

_RESULT = re.compile(r"^result (?P<json>\{.*\})$", re.MULTILINE)

_numbers = itertools.count(1)


class Load(msgspec.Struct, frozen=True):
    """What wrk counted: payments that went all the way, and requests that did not succeed."""

    payments: int
    failed: int
    seconds: float
    first_failure: str

    @property
    def payments_per_second(self) -> float:
        return self.payments / self.seconds


def require_wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        raise CannotMeasure("wrk is not on PATH: `apt install wrk`, or `brew install wrk`.")
    return found


def load(
    target: Target, script: str, *extra: str, seconds: int, connections: int, folder: Path
) -> Load:
    """Runs `script`, which gets the key, a word unique to this run, and what is `extra`.

    Raises CannotMeasure if more than a few requests fail.
    """
    number = next(_numbers)
    printed = run(
        [
            require_wrk(),
            "--threads=1",
            f"--connections={connections}",
            f"--duration={seconds}s",
            "--timeout=10s",
            f"--script={SCRIPTS / script}",
            target.url,
            "--",
            target.key,
            f"run{number}",
            *extra,
        ],
        timeout_seconds=seconds + 60,
        output=folder / f"wrk-{number}.txt",
    )
    found = _RESULT.search(printed)
    if found is None:
        raise CannotMeasure(f"wrk reported no result:\n{printed[-2_000:]}")
    result = msgspec.json.decode(found["json"], type=Load)
    if result.payments == 0 or result.failed > MAX_FAILED * 2 * result.payments:
        raise CannotMeasure(
            f"{result.failed} requests failed beside {result.payments} payments; "
            f"the first: {result.first_failure}"
        )
    return result
