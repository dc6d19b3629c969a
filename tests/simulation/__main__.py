"""Runs the simulated world over many seeds: `make simulate`.

    python -m tests.simulation --seeds 1000
    python -m tests.simulation --seed 4711          one seed, with its story
    python -m tests.simulation --store postgres     over a real store, in one process

Progress goes to standard error. The last line on standard output is one JSON object: seeds,
operations, faults by kind, violations. The exit status is 1 if there was a violation. The first
seed with one is made shorter, merchant by merchant and fault by fault, and told as a story.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from os import cpu_count

from msgspec.structs import replace

from tests.simulation.adversary import Fault
from tests.simulation.backends import MakeBackend, memory_backend, on_dynamodb, on_postgres
from tests.simulation.run import MERCHANTS, RunReport, simulate

CHUNK = 8
MAX_TOLD = 20
STORY_LINES = 200


def main() -> int:
    options = _options()
    with _STORES[options.store]() as make_backend:
        return _run(options, make_backend)


def _run(options: argparse.Namespace, make_backend: MakeBackend) -> int:
    if options.seed is not None:
        report = simulate(options.seed, make_backend=make_backend)
        _tell(report)
        return 1 if report.violations else 0
    faults: Counter[str] = Counter()
    seeds = operations = 0
    failed: list[int] = []
    started = time.monotonic()
    chosen = range(options.first, options.first + options.seeds)
    with ProcessPoolExecutor(options.workers) as pool:
        reports: Iterable[RunReport] = (
            pool.map(_without_story, chosen, chunksize=CHUNK)
            if options.store == "memory"
            else (simulate(seed, make_backend=make_backend) for seed in chosen)
        )
        for report in reports:
            seeds += 1
            operations += report.operations
            faults.update(report.faults)
            if report.violations:
                failed.append(report.seed)
                if len(failed) <= MAX_TOLD:
                    _say(f"seed {report.seed}: {report.violations[0]}")
            if seeds % (500 if options.store == "memory" else 20) == 0:
                rate = operations / (time.monotonic() - started)
                _say(f"{seeds} seeds, {operations} operations, {rate:.0f}/s, {len(failed)} failed")
            if options.operations is not None and operations >= options.operations:
                pool.shutdown(wait=False, cancel_futures=True)
                break
    if failed and options.store == "memory":
        _tell(_shortened(failed[0]))
    counts = {
        "store": options.store,
        "seeds": seeds,
        "operations": operations,
        "seconds": round(time.monotonic() - started, 1),
        "faults": dict(sorted(faults.items())),
        "violations": len(failed),
        "failed_seeds": failed[:MAX_TOLD],
    }
    print(json.dumps(counts))
    return 1 if failed else 0


_STORES: dict[str, Callable[[], AbstractContextManager[MakeBackend]]] = {
    "memory": lambda: nullcontext(memory_backend),
    "postgres": on_postgres,
    "dynamodb": on_dynamodb,
}


def _without_story(seed: int) -> RunReport:
    return replace(simulate(seed), story=[])


def _shortened(seed: int) -> RunReport:
    """The shortest run of the seed that still has a violation."""
    merchants, kinds = set(range(MERCHANTS)), set(Fault)
    for kind in Fault:
        if simulate(seed, merchants=merchants, kinds=kinds - {kind}).violations:
            kinds.discard(kind)
    for merchant in range(MERCHANTS):
        if simulate(seed, merchants=merchants - {merchant}, kinds=kinds).violations:
            merchants.discard(merchant)
    return simulate(seed, merchants=merchants, kinds=kinds)


def _tell(report: RunReport) -> None:
    _say(f"\nThe story of seed {report.seed}:")
    for line in report.story[-STORY_LINES:]:
        _say(f"  {line}")
    for violation in report.violations:
        _say(f"  violated: {violation}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds (200)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--store", choices=_STORES, default="memory", help="the store (memory)")
    parser.add_argument("--operations", type=int, help="stop once so many operations are done")
    parser.add_argument("--seed", type=int, help="one seed, with its whole story")
    parser.add_argument("--workers", type=int, default=cpu_count(), help="processes (one a core)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
