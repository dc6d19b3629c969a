"""The options of `python -m benchmarks`: which parts to measure, and for how long."""

import argparse
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

Part = Literal["startup", "throughput", "latency", "memory", "migration", "growth", "functions"]
PARTS: tuple[Part, ...] = get_args(Part)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure. The defaults are those of a full run.

    `rate` is the payments per second of the latency; None means half of the highest throughput.
    `stored_payments` is the size of the database that is migrated and that growth is measured on.
    `imports` and `warm_requests` are measurements of each Lambda function.
    """

    parts: tuple[Part, ...] = PARTS
    seconds: int = 10
    rounds: int = 3
    warm_up_seconds: int = 3
    connections: int = 64
    rate: float | None = None
    stored_payments: int = 1_000_000
    imports: int = 9
    warm_requests: int = 10


QUICK = Options(
    seconds=1,
    rounds=1,
    warm_up_seconds=0,
    rate=20.0,
    stored_payments=2_000,
    imports=1,
    warm_requests=1,
)


def read_options(arguments: Sequence[str]) -> Options:
    """Ends the program with status 2 and a sentence if an argument is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures Remit: one JSON line per figure, progress on standard error.",
        epilog="Example: python -m benchmarks --only throughput,latency --seconds 20",
    )
    defaults = Options()
    parser.add_argument(
        "--only", metavar="PARTS", type=_parts, help=f"comma-separated: {', '.join(PARTS)}"
    )
    parser.add_argument(
        "--seconds", type=_count, help=f"length of one measurement ({defaults.seconds})"
    )
    parser.add_argument(
        "--rounds", type=_count, help=f"measurements per figure ({defaults.rounds})"
    )
    parser.add_argument(
        "--rate",
        type=float,
        help="payments per second for the latency (half of the highest throughput)",
    )
    parser.add_argument(
        "--stored-payments",
        type=_count,
        metavar="N",
        help=f"payments stored for growth and migration ({defaults.stored_payments})",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a second of each measurement, without warm-up: shows that it runs",
    )
    given = parser.parse_args(arguments)
    chosen = {
        "parts": given.only,
        "seconds": given.seconds,
        "rounds": given.rounds,
        "rate": given.rate,
        "stored_payments": given.stored_payments,
    }
    return msgspec.structs.replace(
        QUICK if given.quick else defaults,
        **{name: value for name, value in chosen.items() if value is not None},
    )


def _parts(text: str) -> tuple[Part, ...]:
    """The parts in the order in which they are measured, which is not that of the text."""
    wanted = text.split(",")
    if unknown := [part for part in wanted if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"'{unknown[0]}' is none of {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in wanted)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above zero")
    return int(text)
