"""The check that the disk of the data folder has free space."""

import asyncio
import shutil
from pathlib import Path

from remit.domain.health_state import Check

MIN_FREE_BYTES = 100_000_000
"""PostgreSQL stops when it cannot write its log, so the check fails before the disk is full."""


class DiskSpace:
    """Checks the free space of the disk that holds `folder`."""

    def __init__(self, folder: Path, *, min_free_bytes: int = MIN_FREE_BYTES) -> None:
        self._folder = folder
        self._min_free_bytes = min_free_bytes

    async def __call__(self) -> Check:
        usage = await asyncio.to_thread(shutil.disk_usage, self._folder)
        detail = f"{usage.free / 1e9:.1f} GB free"
        if usage.free < self._min_free_bytes:
            return Check(ok=False, detail=f"{detail}: the disk of {self._folder} is full")
        return Check(ok=True, detail=detail)
