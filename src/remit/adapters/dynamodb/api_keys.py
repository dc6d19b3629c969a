"""API keys on DynamoDB."""

from datetime import datetime

import msgspec
from msgspec.structs import replace

from remit.adapters.dynamodb.table import BY_OWNER, Table
from remit.ports.api_keys import ApiKey

KEY_OWNER = "api keys"

_json = msgspec.json.Encoder().encode
_key = msgspec.json.Decoder(ApiKey)


class DynamoApiKeys:
    def __init__(self, table: Table) -> None:
        self._table = table

    async def add(self, key: ApiKey, secret: str) -> None:
        await self._put(key)

    async def _put(self, key: ApiKey) -> None:
        await self._table.put(
            {
                "transaction_id": f"key#{key.hash}",
                "kind": "key",
                "owner": KEY_OWNER,
                "data": _json(key).decode(),
            }
        )

    async def find(self, key_hash: str) -> ApiKey | None:
        item = await self._table.get(f"key#{key_hash}")
        return None if item is None else _key.decode(item["data"])

    async def all(self) -> list[ApiKey]:
        keys = [
            _key.decode(item["data"])
            async for item in self._table.query(
                BY_OWNER,
                "#owner = :owner",
                {":owner": KEY_OWNER},
                ExpressionAttributeNames={"#owner": "owner"},
            )
        ]
        return sorted(keys, key=lambda key: key.id)

    async def revoke(self, key_id: str, at: datetime) -> bool:
        for key in await self.all():
            if key.id == key_id:
                if key.revoked_at is None:
                    await self._put(replace(key, revoked_at=at))
                return True
        return False
