"""What the service holds in memory under full load: the API and its worker, without PostgreSQL."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from benchmarks import throughput, wrk
from benchmarks.figures import Figure, below, report
from benchmarks.options import Options
from benchmarks.remit_service import remit_up

BELOW_MIB = 300.0
SAMPLE_SECONDS = 0.25


def measure(options: Options, folder: Path) -> None:
    """Reports the last and the highest sample of one run under the load of `throughput`."""
    wrk.require_wrk()
    with remit_up(folder / "memory") as target:
        samples: list[float] = []
        ended = threading.Event()

        def sample() -> None:
            while not ended.wait(SAMPLE_SECONDS):
                samples.append(mebibytes(target.process.pid))

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            throughput.highest(target, options, folder / "memory")
        finally:
            ended.set()
            sampler.join()
        processes = len(list(_service(target.process.pid)))
    measured = "proportional set size" if sys.platform == "linux" else "resident set size"
    detail: dict[str, str | float] = {"processes": processes, "measure": measured}
    report(Figure("memory_under_load", samples[-1], "MiB", detail=detail), below(BELOW_MIB))
    report(Figure("memory_highest", max(samples), "MiB", detail=detail))


def mebibytes(root: int) -> float:
    """Memory of the service's processes. On Linux, pages that they share are counted once."""
    kib = _proportional_kib if sys.platform == "linux" else _resident_kib
    return sum(kib(pid) for pid in _service(root)) / 1_024


def _service(root: int) -> Iterator[int]:
    """The root and its living descendants. PostgreSQL is not one: it detaches itself."""
    parents = dict(_parents())
    for pid in parents:
        ancestor: int | None = pid
        while ancestor is not None and ancestor != root:
            ancestor = parents.get(ancestor)
        if ancestor == root:
            yield pid


def _parents() -> Iterator[tuple[int, int]]:
    """Each process with its parent."""
    if sys.platform != "linux":
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True
        )
        for line in listed.stdout.splitlines():
            pid, parent = line.split()
            yield int(pid), int(parent)
        return
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        yield int(stat.parent.name), int(fields[1])


def _proportional_kib(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def _resident_kib(pid: int) -> int:
    listed = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid)], check=False, capture_output=True, text=True
    )
    return int(listed.stdout or 0)
