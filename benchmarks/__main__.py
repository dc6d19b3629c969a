"""`python -m benchmarks` measures the parts that its options name, one after the other."""

import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from benchmarks import (
    functions,
    growth,
    latency,
    machine,
    memory,
    migration,
    startup,
    throughput,
    wrk,
)
from benchmarks.figures import CannotMeasure, say
from benchmarks.options import Options, read_options

INCOMPLETE = 3
"""The exit status when a figure is missing; standard error says which and why."""


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    options = read_options(arguments)
    # Ctrl-C raises by itself. SIGTERM should end the programs under measurement as well.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="remit-bench-", ignore_cleanup_errors=True) as folder:
        return _measure(options, Path(folder))


def _measure(options: Options, folder: Path) -> int:
    if wrk.is_needed(options) and not wrk.is_installed():
        say(f"{wrk.NOT_INSTALLED} Figures that need its load are left out.")
    say("machine")
    machine.measure(folder)
    highest: float | None = None
    missing: dict[str, list[str]] = {}
    for part in options.parts:
        say(part)
        try:
            match part:
                case "startup":
                    startup.measure(options, folder)
                case "throughput":
                    highest, reasons = throughput.measure(options, folder)
                    for figure, reason in reasons.items():
                        missing.setdefault(reason, []).append(figure)
                case "latency":
                    latency.measure(options, folder, highest)
                case "memory":
                    memory.measure(options, folder)
                case "migration":
                    migration.measure(options, folder)
                case "growth":
                    growth.measure(options, folder)
                case "functions":
                    functions.measure(options, folder)
                case _:
                    assert_never(part)
        except CannotMeasure as error:
            missing.setdefault(str(error), []).append(part)
    for reason, names in missing.items():
        say(f"not measured: {', '.join(names)}: {reason}")
    return INCOMPLETE if missing else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
