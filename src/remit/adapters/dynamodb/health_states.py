"""The health monitor's state on DynamoDB."""

import msgspec

from remit.adapters.dynamodb.table import Table
from remit.domain.health_state import HealthState

STATE_ITEM = "health"

_json = msgspec.json.Encoder().encode
_health_state = msgspec.json.Decoder(HealthState)


class DynamoHealthStates:
    def __init__(self, table: Table) -> None:
        self._table = table

    async def latest(self) -> HealthState:
        item = await self._table.get(STATE_ITEM)
        return HealthState() if item is None else _health_state.decode(item["data"])

    async def record(self, state: HealthState) -> bool:
        item = {
            "transaction_id": STATE_ITEM,
            "kind": "health_state",
            "version": state.version,
            "data": _json(state).decode(),
        }
        if state.version == 1:
            return await self._table.put_new(item)
        return await self._table.put_if(item, "version = :before", {":before": state.version - 1})
