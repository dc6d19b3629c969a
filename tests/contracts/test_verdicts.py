"""The monitor's memory, the same over every store."""

from msgspec.structs import replace

from remit.domain.change import Message, Topic
from remit.domain.health_state import HealthState
from remit.ports.app import App


async def test_a_verdict_replaces_only_the_one_before_it(app: App) -> None:
    assert await app.verdicts.latest() == HealthState()
    owed = Message(
        id=app.new_id(), topic=Topic.ALERTS, kind="health.failing", created_at=app.clock()
    )
    first = HealthState(version=1, at=app.clock(), failing={"database": "down"}, owed=(owed,))
    assert await app.verdicts.record(first) is True
    assert await app.verdicts.record(replace(first, failing={})) is False
    assert await app.verdicts.record(replace(first, version=3)) is False
    assert await app.verdicts.latest() == first
    second = HealthState(version=2, at=app.clock())
    assert await app.verdicts.record(second) is True
    assert await app.verdicts.latest() == second
