"""The cost of a million stored payments: the throughput with them, as a share of that without.

The rounds alternate between a fresh data folder and the folder of past payments.
"""

from pathlib import Path

from benchmarks import throughput, wrk
from benchmarks.figures import at_least, report_median, report_ratio, say
from benchmarks.options import Options
from benchmarks.past_payments import folder_of_past_payments

AT_LEAST = 0.9


def measure(options: Options, folder: Path) -> None:
    wrk.require_wrk()
    full = folder_of_past_payments(folder, options.stored_payments)
    empty_runs: list[float] = []
    full_runs: list[float] = []
    for number in range(1, options.rounds + 1):
        say(f"  round {number}: none stored, then {options.stored_payments:,}")
        empty_runs.append(throughput.remit(options, folder / f"growth-empty-{number}"))
        full_runs.append(throughput.remit(options, full))
    none = "payments_per_second_none_stored"
    without = report_median(none, empty_runs, "payments/s")
    stored = report_median(
        "payments_per_second_many_stored",
        full_runs,
        "payments/s",
        detail={"stored": options.stored_payments},
    )
    report_ratio("growth", stored / without, none, at_least(AT_LEAST))
