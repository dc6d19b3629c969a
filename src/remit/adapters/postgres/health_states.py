"""The health monitor's state on PostgreSQL."""

import msgspec

from remit.adapters.postgres.connection import Connection
from remit.domain.health_state import HealthState

RECORD_HEALTH_STATE = """
INSERT INTO health_states AS s (monitor, version, state) VALUES ('health', $1, $2::json)
ON CONFLICT (monitor) DO UPDATE SET version = excluded.version, state = excluded.state
WHERE s.version = excluded.version - 1 RETURNING version
"""

_health_state = msgspec.json.Decoder(HealthState)


class PostgresHealthStates:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def latest(self) -> HealthState:
        state = await self._connection.value("SELECT state::text FROM health_states")
        return _health_state.decode(state) if state else HealthState()

    async def record(self, state: HealthState) -> bool:
        data = msgspec.json.encode(state).decode()
        return bool(await self._connection.rows(RECORD_HEALTH_STATE, state.version, data))
