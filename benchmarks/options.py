"""What to measure and for how long."""

import argparse
from collections.abc import Sequence

import msgspec

PARTS = ("startup", "throughput", "latency", "memory", "growth", "functions", "migration")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    parts: tuple[str, ...] = PARTS
    seconds: int = 10
    rounds: int = 3
    warm_up_seconds: int = 3
    connections: int = 64
    rate: float | None = None
    growth_payments: int = 1_000_000


def read_options(arguments: Sequence[str]) -> Options:
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
        "--growth-payments",
        type=_count,
        metavar="N",
        help=f"payments stored for the growth figure ({defaults.growth_payments})",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one second of everything: shows that it runs"
    )
    given = parser.parse_args(arguments)
    options = defaults
    if given.quick:
        options = Options(seconds=1, rounds=1, warm_up_seconds=1, rate=20.0, growth_payments=2_000)
    chosen = {
        "parts": given.only,
        "seconds": given.seconds,
        "rounds": given.rounds,
        "rate": given.rate,
        "growth_payments": given.growth_payments,
    }
    return msgspec.structs.replace(
        options, **{name: value for name, value in chosen.items() if value is not None}
    )


def _parts(text: str) -> tuple[str, ...]:
    wanted = text.split(",")
    if unknown := [part for part in wanted if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"'{unknown[0]}' is none of {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in wanted)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above zero")
    return int(text)
