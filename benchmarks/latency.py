"""How long callers wait at half of the highest throughput, with payments arriving at a steady rate.

The generator is a program of its own (`open_loop.py`). Each percentile is the median of the rounds.
"""

import statistics
import sys
from pathlib import Path

import msgspec

from benchmarks import throughput
from benchmarks.figures import CannotMeasure, report, report_median, say
from benchmarks.open_loop import Observed
from benchmarks.options import Options
from benchmarks.processes import run
from benchmarks.remit_service import Target, remit_up

BELOW_P99_MILLISECONDS = 25.0
MAX_FAILED = 0.001


def measure(options: Options, folder: Path, highest: float | None) -> None:
    """`highest` is the throughput measured before; without it, and without a rate, it is now."""
    data = folder / "latency"
    rate = options.rate
    if rate is None:
        highest = throughput.remit(options, data) if highest is None else highest
        rate = highest / 2
    observed: list[Observed] = []
    with remit_up(data) as target:
        _run(target, data, "warm", rate, options.warm_up_seconds)
        for number in range(1, options.rounds + 1):
            say(f"  round {number}: {rate:.0f} payments/s for {options.seconds} s")
            observed.append(_run(target, data, f"round{number}", rate, options.seconds))
    report_median("latency_rate", [seen.payments_per_second for seen in observed], "payments/s")
    for step in ("validate", "process", "payment"):
        for percentile in ("p50", "p95", "p99"):
            judged = percentile == "p99" and step != "payment"
            report_median(
                f"latency_{step}_{percentile}",
                [getattr(getattr(seen, step), percentile) for seen in observed],
                "ms",
                below=BELOW_P99_MILLISECONDS if judged else None,
            )
    lag = [seen.lag.p99 for seen in observed]
    report(
        "latency_generator_lag_p99",
        statistics.median(lag),
        "ms",
        runs=lag,
        detail={"connections": max(seen.connections for seen in observed)},
    )


def _run(target: Target, data: Path, word: str, rate: float, seconds: int) -> Observed:
    command = [
        *(sys.executable, "-m", "benchmarks.open_loop"),
        *(str(target.port), target.key, word, str(rate), str(seconds)),
    ]
    printed = run(command, timeout_seconds=seconds + 60, output=data / f"open-loop-{word}.txt")
    observed = msgspec.json.decode(printed.splitlines()[-1], type=Observed)
    if observed.failed > MAX_FAILED * observed.payments:
        raise CannotMeasure(
            f"{observed.failed} payments failed beside {observed.payments} that did not; "
            f"the first: {observed.first_failure}"
        )
    return observed
