"""What a million stored payments cost: the throughput with them, as a share of that without.

The two take turns: a fresh data folder each time, and one that was filled once by SQL with what
the service would have stored, payment by payment, in the thirty days before.
"""

from pathlib import Path

from benchmarks import throughput
from benchmarks.figures import report_median, report_ratio, say
from benchmarks.options import Options
from benchmarks.past_payments import fill
from benchmarks.remit_service import remit_up

AT_LEAST = 0.9


def measure(options: Options, folder: Path) -> None:
    full = folder / "growth-full"
    with remit_up(full):
        say("  made the folder that is filled")
    fill(full, options.growth_payments)
    empty_runs: list[float] = []
    full_runs: list[float] = []
    for number in range(1, options.rounds + 1):
        say(f"  round {number}: none stored, then {options.growth_payments:,}")
        empty_runs.append(throughput.remit(options, folder / f"growth-empty-{number}"))
        full_runs.append(throughput.remit(options, full))
    none = "payments_per_second_none_stored"
    without = report_median(none, empty_runs, "payments/s")
    stored = report_median(
        "payments_per_second_many_stored",
        full_runs,
        "payments/s",
        detail={"stored": options.growth_payments},
    )
    report_ratio("growth", stored / without, none, at_least=AT_LEAST)
