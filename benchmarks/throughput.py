"""Whole payments per second: Remit, and what it is measured against, in turns.

Everyone takes one turn per round on the same machine and the same PostgreSQL server, alone, warmed
up first. A figure is the median of its rounds.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import contenders, pgbench, wrk
from benchmarks.figures import CannotMeasure, report_median, report_ratio, say
from benchmarks.options import Options
from benchmarks.remit_service import Target, remit_up

OURS = "payments_per_second"
FLOORS = {
    "pgbench_three_commits_per_second": pgbench.THREE_COMMITS,
    "pgbench_two_commits_per_second": pgbench.TWO_COMMITS,
}
PLAIN = {"plain_fastapi_1_worker_per_second": 1, "plain_fastapi_2_workers_per_second": 2}
LOCALSTRIPE = "localstripe_per_second"

AT_LEAST_FLOOR = 1.0
AT_LEAST_PLAIN = 3.0


def measure(options: Options, folder: Path) -> tuple[float | None, list[str]]:
    """Reports the figures; returns Remit's own, if it could be measured, and why others are not."""
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
    return measured.get(OURS), [f"{name}: {reason}" for name, reason in reasons.items()]


def _turns(options: Options, folder: Path) -> Mapping[str, Callable[[], float]]:
    """Everyone by the name of their figure, with what measures them once."""
    data = folder / "throughput"
    data.mkdir()

    def floor(script: str) -> float:
        return pgbench.payments_per_second(
            script,
            data,
            seconds=options.seconds,
            warm_up_seconds=options.warm_up_seconds,
            clients=options.connections,
        )

    def plain(workers: int) -> float:
        with contenders.plain_fastapi(data, workers=workers) as target:
            return highest(target, options, data)

    def localstripe() -> float:
        with contenders.localstripe(data) as (target, payment_method):
            # No warm-up: it slows down with every payment it has to remember.
            return wrk.load(
                target,
                "stripe_payments.lua",
                payment_method,
                seconds=options.seconds,
                connections=options.connections,
                folder=data,
            ).payments_per_second

    return {
        OURS: lambda: remit(options, data),
        **{name: lambda script=script: floor(script) for name, script in FLOORS.items()},
        **{name: lambda workers=workers: plain(workers) for name, workers in PLAIN.items()},
        LOCALSTRIPE: localstripe,
    }


def remit(options: Options, data: Path) -> float:
    """Payments that `remit up` takes in a second, on a data folder."""
    with remit_up(data) as target:
        return highest(target, options, data)


def highest(target: Target, options: Options, folder: Path) -> float:
    """Payments per second with every connection busy, after a warm-up."""
    for seconds in (options.warm_up_seconds, options.seconds):
        load = wrk.load(
            target,
            "payments.lua",
            seconds=seconds,
            connections=options.connections,
            folder=folder,
        )
    return load.payments_per_second


def _ratios(measured: Mapping[str, float]) -> None:
    """Reports Remit as a multiple of each of the others, judged against the faster of a kind."""
    if OURS not in measured:
        return
    for kind, at_least in (
        (FLOORS, AT_LEAST_FLOOR),
        (PLAIN, AT_LEAST_PLAIN),
        ([LOCALSTRIPE], None),
    ):
        found = {name: measured[name] for name in kind if name in measured}
        fastest = max(found, key=lambda name: found[name], default=None)
        for name, value in found.items():
            report_ratio(
                f"{OURS}_to_{name.removesuffix('_per_second')}",
                measured[OURS] / value,
                name,
                at_least=at_least if name == fastest else None,
            )
