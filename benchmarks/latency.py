"""How long callers wait at half of the highest throughput, with payments at a constant rate.

The generator is a program of its own (`open_loop.py`). Each percentile is the median of the rounds;
the bound of a p99 must be kept in every round.
"""

import statistics
import sys
from pathlib import Path

import msgspec

from benchmarks import throughput
from benchmarks.figures import CannotMeasure, Figure, below, report, report_median, say
from benchmarks.open_loop import LoopResult
from benchmarks.options import Options
from benchmarks.processes import run
from benchmarks.remit_service import Target, remit_up

BELOW_P99_MILLISECONDS = 25.0
MAX_FAILED = 0.001


def measure(options: Options, folder: Path, highest: float | None) -> None:
    """`highest` is the throughput if it was measured before. If it was not, and the options name no
    rate, it is measured first.
    """
    data = folder / "latency"
    detail: dict[str, str | float] = {}
    rate = options.rate
    if rate is None:
        highest = throughput.remit(options, data) if highest is None else highest
        rate = highest / 2
        detail = {"half_of": round(highest)}
    results: list[LoopResult] = []
    with remit_up(data) as target:
        if options.warm_up_seconds:
            _run(target, data, "warm", rate, options.warm_up_seconds)
        for number in range(1, options.rounds + 1):
            say(f"  round {number}: {rate:.0f} payments/s for {options.seconds} s")
            results.append(_run(target, data, f"round{number}", rate, options.seconds))
    rates = [result.payments_per_second for result in results]
    report_median("latency_rate", rates, "payments/s", detail=detail)
    for step in ("validate", "process", "payment"):
        for percentile in ("p50", "p95", "p99"):
            is_promised = percentile == "p99" and step != "payment"
            report_median(
                f"latency_{step}_{percentile}",
                [getattr(getattr(result, step), percentile) for result in results],
                "ms",
                below(BELOW_P99_MILLISECONDS) if is_promised else None,
            )
    lag = tuple(result.lag.p99 for result in results)
    connections = max(result.connections for result in results)
    report(
        Figure(
            "latency_generator_lag_p99",
            statistics.median(lag),
            "ms",
            runs=lag,
            detail={"connections": connections},
        )
    )


def _run(target: Target, data: Path, word: str, rate: float, seconds: int) -> LoopResult:
    command = [
        *(sys.executable, "-m", "benchmarks.open_loop"),
        *(str(target.port), target.key, word, str(rate), str(seconds)),
    ]
    printed = run(command, timeout_seconds=seconds + 60, output=data / f"open-loop-{word}.txt")
    result = msgspec.json.decode(printed.splitlines()[-1], type=LoopResult)
    if result.failed > MAX_FAILED * result.payments:
        raise CannotMeasure(
            f"{result.failed} payments failed beside {result.payments} that did not; "
            f"the first: {result.first_failure}"
        )
    return result
