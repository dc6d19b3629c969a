"""Five hundred commits; `python -m tests.crash.flushes --acknowledgements 10000` watches more."""

import shutil
from pathlib import Path

import pytest

from tests.crash.flushes import watch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(200),
    pytest.mark.xdist_group("up"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]


async def test_every_commit_is_on_the_disk_before_it_is_acknowledged(tmp_path: Path) -> None:
    found = await watch(tmp_path, 500)
    assert found.acknowledgements >= 500
    assert found.too_early == 0


async def test_a_database_that_does_not_wait_for_its_disk_is_noticed(tmp_path: Path) -> None:
    found = await watch(tmp_path, 100, synchronous=False)
    assert found.too_early > 0
