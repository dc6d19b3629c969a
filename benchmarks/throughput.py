"""Whole payments per second: Remit, and what it is measured against, in turns.

Each contender takes one turn per round on the same machine and the same PostgreSQL server, alone,
after a warm-up. A figure is the median of its rounds.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchmarks import contenders, pgbench, wrk
from benchmarks.figures import CannotMeasure, at_least, report_median, report_ratio, say
from benchmarks.options import Options
from benchmarks.remit_service import Target, remit_up

REMIT = "payments_per_second"
PGBENCH = {
    "pgbench_three_commits_per_second": pgbench.THREE_COMMITS,
    "pgbench_two_commits_per_second": pgbench.TWO_COMMITS,
}
PLAIN_FASTAPI_WORKERS = {
    "plain_fastapi_1_worker_per_second": 1,
    "plain_fastapi_2_workers_per_second": 2,
}
LOCALSTRIPE = "localstripe_per_second"

AT_LEAST_TIMES = {
    "pgbench_three_commits_per_second": 1.6,
    "pgbench_two_commits_per_second": 1.0,
    "plain_fastapi_1_worker_per_second": 3.0,
    "plain_fastapi_2_workers_per_second": 3.0,
}
"""How many times the throughput of a contender Remit's must be."""


def measure(options: Options, folder: Path) -> tuple[float | None, dict[str, str]]:
    """Reports the figures; returns Remit's own, if it was measured, and the reason by figure for
    each that is missing.
    """
    turns = _turns(options, folder)
    runs: dict[str, list[float]] = {name: [] for name in turns}
    reasons: dict[str, str] = {}
    for number in range(1, options.rounds + 1):
        for name, turn in turns.items():
            if name in reasons:
                continue
            say(f"  round {number}: {name}")
            try:
                runs[name].append(turn())
            except CannotMeasure as error:
                reasons[name] = str(error)
    measured = {
        name: report_median(name, values, "payments/s")
        for name, values in runs.items()
        if name not in reasons
    }
    _ratios(measured)
    return measured.get(REMIT), reasons


def _turns(options: Options, folder: Path) -> Mapping[str, Callable[[], float]]:
    """By figure, the function that measures it once."""
    data = folder / "throughput"
    data.mkdir()

    def plain_fastapi(workers: int) -> float:
        wrk.require_wrk()
        with contenders.plain_fastapi(data, workers=workers) as target:
            return highest(target, options, data)

    def localstripe() -> float:
        wrk.require_wrk()
        with contenders.localstripe(data) as (target, payment_method):
            # No warm-up: it slows down with every payment that it has to remember.
            return wrk.load(
                target,
                "stripe_payments.lua",
                payment_method,
                seconds=options.seconds,
                connections=options.connections,
                folder=data,
            ).payments_per_second

    return {
        REMIT: partial(remit, options, data),
        **{
            name: partial(pgbench.payments_per_second, script, data, options)
            for name, script in PGBENCH.items()
        },
        **{
            name: partial(plain_fastapi, workers) for name, workers in PLAIN_FASTAPI_WORKERS.items()
        },
        LOCALSTRIPE: localstripe,
    }


def remit(options: Options, data: Path) -> float:
    """The payments that `remit up` takes in a second, on a data folder."""
    wrk.require_wrk()
    with remit_up(data) as target:
        return highest(target, options, data)


def highest(target: Target, options: Options, folder: Path) -> float:
    """Payments per second with every connection busy, after a warm-up."""
    load = partial(wrk.load, target, "payments.lua", connections=options.connections, folder=folder)
    if options.warm_up_seconds:
        load(seconds=options.warm_up_seconds)
    return load(seconds=options.seconds).payments_per_second


def _ratios(measured: Mapping[str, float]) -> None:
    """Reports Remit's throughput as a multiple of each contender's."""
    if REMIT not in measured:
        return
    for name, value in measured.items():
        if name != REMIT:
            bound = at_least(AT_LEAST_TIMES[name]) if name in AT_LEAST_TIMES else None
            figure = f"{REMIT}_to_{name.removesuffix('_per_second')}"
            report_ratio(figure, measured[REMIT] / value, name, bound)
