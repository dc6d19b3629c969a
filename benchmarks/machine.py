"""The machine that the figures were measured on: cores, memory, versions and disk."""

import os
import platform
import subprocess
import time
from pathlib import Path

from benchmarks.database import postgres
from benchmarks.figures import Figure, report

FLUSH_SECONDS = 1.0


def measure(folder: Path) -> None:
    data = folder / "machine"
    data.mkdir()
    with postgres(data) as (server, _):
        version = subprocess.run(
            [server.programs / "postgres", "--version"], check=True, capture_output=True, text=True
        ).stdout.split()[-1]
    flushes = _flushes_per_second(data / "flushed")
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    detail: dict[str, str | float] = {
        "memory_gib": round(memory_bytes / 2**30, 1),
        "python": platform.python_version(),
        "postgresql": version,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    report(Figure("machine_cores", cores or 0, "cores", detail=detail))
    report(Figure("machine_disk_flushes", flushes, "fdatasync/s"))


def _flushes_per_second(path: Path) -> float:
    """How often 8 KiB can be written and flushed: what a commit waits for."""
    flush = getattr(os, "fdatasync", os.fsync)
    page = bytes(8_192)
    count = 0
    with path.open("wb", buffering=0) as file:
        began = time.perf_counter()
        while (elapsed := time.perf_counter() - began) < FLUSH_SECONDS:
            file.seek(0)
            file.write(page)
            flush(file.fileno())
            count += 1
    return count / elapsed
