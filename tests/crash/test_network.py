"""Two hundred broken connections; `python -m tests.crash.network --faults 10000` breaks more."""

import random
from pathlib import Path

import pytest

from tests.crash.network import break_connections
from tests.crash.proxy import NetworkFault


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.xdist_group("up")
async def test_nothing_is_lost_or_charged_twice_when_connections_break(tmp_path: Path) -> None:
    report = await break_connections(tmp_path, 200, random.Random())
    assert report.wrong == []
    assert {f"callers {kind}" for kind in NetworkFault} <= report.faults.keys()
    assert len(report.acknowledged) > 50
    assert report.repeats > 50
