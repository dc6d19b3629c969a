"""Twenty kills under load; `python -m tests.crash.crash --rounds 500` does the same for longer."""

import random
from pathlib import Path

import pytest

from tests.crash.crash import FAST_RECOVERY, crash
from tests.service import Service


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.xdist_group("up")
async def test_nothing_is_lost_or_charged_twice_when_the_service_is_killed_twenty_times(
    tmp_path: Path,
) -> None:
    with Service(tmp_path, **FAST_RECOVERY) as service:
        report = await crash(service, 20, random.Random())
        assert service.stop() == 0
    assert report.wrong == []
    assert report.kills == 20
    assert len(report.acknowledged) > 100
    assert report.repeats > 0
