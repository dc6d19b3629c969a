"""Plants each fault of `mutations.py` and looks whether the simulated world notices it.

    python -m tests.simulation.mutate
    python -m tests.simulation.mutate --only refund

Each runs over the seeds until the first violation. One line for each on standard error; the last
line on standard output is one JSON object. The exit status is 1 if more than one was missed.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import remit
from tests.simulation.mutations import MUTATIONS, Mutation

SOURCE = Path(remit.__file__).parent
ROOT = Path(__file__).parents[2]
ALLOWED = 1
"""How many faults may be missed."""

SEED_SECONDS = 60
"""A seed that takes so long does not come to rest. Sound code takes less than a second for it."""

FIRST_VIOLATION = """
import signal, sys
from tests.simulation.run import simulate
for seed in range(int(sys.argv[1])):
    signal.alarm(int(sys.argv[2]))
    print(seed + 1, end=" ", flush=True)
    if violations := simulate(seed).violations:
        print(violations[0])
        break
    print()
"""


def plant(mutation: Mutation, folder: Path) -> None:
    """Copies the service into the folder, with the fault. Raises ValueError if its text is not
    there exactly once.
    """
    shutil.copytree(SOURCE, folder / "remit", ignore=shutil.ignore_patterns("__pycache__"))
    for file, before, after in mutation.edits:
        path = folder / "remit" / file
        text = path.read_text()
        if text.count(before) != 1:
            raise ValueError(f"{mutation.name}: {file} has its text {text.count(before)} times")
        path.write_text(text.replace(before, after))


def seeds_to_notice(mutation: Mutation, seeds: int) -> tuple[int, str] | None:
    """After how many seeds the world notices the fault, and by what. None if it does not."""
    with TemporaryDirectory(prefix="remit-mutation-") as folder:
        plant(mutation, Path(folder))
        ended = subprocess.run(
            [sys.executable, "-c", FIRST_VIOLATION, str(seeds), str(SEED_SECONDS)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{folder}:{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
    count, _, violation = (ended.stdout.splitlines() or ["1 "])[-1].partition(" ")
    if ended.returncode == -signal.SIGALRM:
        violation = f"it does not come to rest within {SEED_SECONDS} s"
    elif ended.returncode != 0:
        violation = ended.stderr.strip().splitlines()[-1]
    return (int(count), violation) if violation else None


def main() -> int:
    options = _options()
    chosen = [mutation for mutation in MUTATIONS if options.only in mutation.name]
    started = time.monotonic()
    with ThreadPoolExecutor(options.workers) as pool:
        found = list(pool.map(lambda mutation: _look(mutation, options.seeds), chosen))
    missed = [mutation.name for mutation, after in zip(chosen, found, strict=True) if after is None]
    counts = {
        "mutations": len(chosen),
        "noticed": len(chosen) - len(missed),
        "most_seeds": max((after for after in found if after is not None), default=0),
        "missed": missed,
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(counts))
    return 1 if len(missed) > ALLOWED else 0


def _look(mutation: Mutation, seeds: int) -> int | None:
    noticed = seeds_to_notice(mutation, seeds)
    after, by = noticed or (None, "")
    what = "MISSED" if after is None else f"{after:5} seeds"
    print(f"{what}  {mutation.name}  {by[:120]}", file=sys.stderr, flush=True)
    return after


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="the most seeds for each (1000)")
    parser.add_argument("--only", default="", help="the mutations with this in their names")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="at once (one a core)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
