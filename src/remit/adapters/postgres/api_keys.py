"""API keys on PostgreSQL."""

from datetime import datetime

import msgspec

from remit.adapters.postgres.connection import Connection
from remit.domain.ids import is_id
from remit.ports.api_keys import ApiKey

ALL_KEYS = "SELECT coalesce(json_agg(k ORDER BY k.id), '[]')::text FROM api_keys k"

FIND_KEY = "SELECT json_agg(k)::text FROM api_keys k WHERE hash = $1"

ADD_KEY = "INSERT INTO api_keys SELECT * FROM json_populate_record(NULL::api_keys, $1::json)"

REVOKE_KEY = """
UPDATE api_keys SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1::uuid RETURNING id
"""

_keys = msgspec.json.Decoder(list[ApiKey])


class PostgresApiKeys:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, key: ApiKey, secret: str) -> None:
        await self._connection.rows(ADD_KEY, msgspec.json.encode(key).decode())

    async def find(self, key_hash: str) -> ApiKey | None:
        keys = await self._connection.value(FIND_KEY, key_hash)
        return _keys.decode(keys)[0] if keys else None

    async def all(self) -> list[ApiKey]:
        return _keys.decode(await self._connection.value(ALL_KEYS))

    async def revoke(self, key_id: str, at: datetime) -> bool:
        if not is_id(key_id):
            return False
        return bool(await self._connection.rows(REVOKE_KEY, key_id, at))
