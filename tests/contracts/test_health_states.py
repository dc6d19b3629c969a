"""The health monitor's state, over every store."""

from msgspec.structs import replace

from remit.domain.change import Message, Topic
from remit.domain.health_state import HealthState
from remit.ports.app import App


async def test_a_health_state_replaces_only_the_one_before_it(app: App) -> None:
    assert await app.database.health_states.latest() == HealthState()
    alert = Message(
        id=app.new_id(), topic=Topic.ALERTS, kind="health.failing", created_at=app.clock()
    )
    first = HealthState(
        version=1, at=app.clock(), failing={"database": "down"}, unsent_alerts=(alert,)
    )
    assert await app.database.health_states.record(first) is True
    assert await app.database.health_states.record(replace(first, failing={})) is False
    assert await app.database.health_states.record(replace(first, version=3)) is False
    assert await app.database.health_states.latest() == first
    second = HealthState(version=2, at=app.clock())
    assert await app.database.health_states.record(second) is True
    assert await app.database.health_states.latest() == second
