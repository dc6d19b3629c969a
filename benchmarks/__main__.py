"""`python -m benchmarks`: every figure as one JSON line, and how it went on standard error."""

import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import functions, growth, latency, machine, memory, migration, startup, throughput
from benchmarks.figures import CannotMeasure, say
from benchmarks.options import Options, read_options

INCOMPLETE = 3
"""The exit status when a figure is missing; standard error says which and why."""


def main(arguments: Sequence[str]) -> int:
    options = read_options(arguments)
    # Ctrl-C raises by itself; this makes a polite kill end everything in the same way.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="remit-bench-", ignore_cleanup_errors=True) as folder:
        return _measure(options, Path(folder))


def _measure(options: Options, folder: Path) -> int:
    say("machine")
    machine.measure(folder)
    highest: float | None = None
    skipped: list[str] = []
    for part in options.parts:
        say(part)
        try:
            match part:
                case "startup":
                    startup.measure(options, folder)
                case "throughput":
                    highest, missing = throughput.measure(options, folder)
                    skipped += missing
                case "latency":
                    latency.measure(options, folder, highest)
                case "memory":
                    memory.measure(options, folder)
                case "functions":
                    functions.measure(options, folder)
                case "migration":
                    migration.measure(options, folder)
                case "growth":
                    growth.measure(options, folder)
        except CannotMeasure as error:
            skipped.append(f"{part}: {error}")
    for reason in skipped:
        say(f"not measured: {reason}")
    return INCOMPLETE if skipped else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
