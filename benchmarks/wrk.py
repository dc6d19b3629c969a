"""Closed-loop load: wrk with 64 connections, each sending its next request once it has a response.

wrk makes the load because it needs little of the two cores that it shares with the service: a
generator in Python would be what is measured.
"""

import itertools
import re
import shutil
from pathlib import Path

import msgspec

from benchmarks.figures import CannotMeasure
from benchmarks.options import Options
from benchmarks.processes import run
from benchmarks.remit_service import Target

SCRIPTS = Path(__file__).parent / "scripts"
MAX_FAILED = 0.001
"""The share of failed requests above which the figure is not one of payments any more."""

NOT_INSTALLED = "wrk is not installed: `apt install wrk`, or `brew install wrk`."

_RESULT = re.compile(r"^result (?P<json>\{.*\})$", re.MULTILINE)

_numbers = itertools.count(1)


class Load(msgspec.Struct, frozen=True):
    """The result of one run: payments that were captured, and requests that did not succeed."""

    payments: int
    failed: int
    seconds: float
    first_failure: str

    @property
    def payments_per_second(self) -> float:
        return self.payments / self.seconds


def is_needed(options: Options) -> bool:
    """Whether a part of these options needs wrk. Latency does to find its rate, if none is set."""
    under_load = {"throughput", "memory", "growth"}
    if options.rate is None:
        under_load.add("latency")
    return not under_load.isdisjoint(options.parts)


def is_installed() -> bool:
    return shutil.which("wrk") is not None


def require_wrk() -> None:
    """Raises CannotMeasure. Called before a service is started that nothing could load."""
    if not is_installed():
        raise CannotMeasure(NOT_INSTALLED)


def load(
    target: Target, script: str, *extra: str, seconds: int, connections: int, folder: Path
) -> Load:
    """Runs `script` with the API key, a word unique to this run and the `extra` words.

    Raises CannotMeasure if more than a few requests fail.
    """
    require_wrk()
    number = next(_numbers)
    printed = run(
        [
            "wrk",
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
