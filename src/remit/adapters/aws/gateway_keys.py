"""API keys for API Gateway, which requires one too: each key is registered in its usage plan."""

from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from remit.adapters.aws.client import call
from remit.ports.api_keys import ApiKey, ApiKeys


class GatewayApiKeys:
    """ApiKeys in `stored`, also registered in API Gateway by their ids.

    API Gateway compares the header that a caller sends, so it must know the secret itself.
    """

    def __init__(self, client: Any, stored: ApiKeys, *, usage_plan_id: str) -> None:
        self._client = client
        self._stored = stored
        self._usage_plan_id = usage_plan_id

    async def add(self, key: ApiKey, secret: str) -> None:
        """Stores the key, then registers it. A key that is only stored cannot be used."""
        await self._stored.add(key, secret)
        registered = await call(
            self._client.create_api_key,
            name=key.id,
            description=f"{key.merchant_id}, {key.mode}",
            enabled=True,
            value=secret,
        )
        await call(
            self._client.create_usage_plan_key,
            usagePlanId=self._usage_plan_id,
            keyId=registered["id"],
            keyType="API_KEY",
        )

    async def find(self, key_hash: str) -> ApiKey | None:
        return await self._stored.find(key_hash)

    async def all(self) -> list[ApiKey]:
        return await self._stored.all()

    async def revoke(self, key_id: str, at: datetime) -> bool:
        """Revokes the key in the service first, and then deletes it in API Gateway."""
        is_known = await self._stored.revoke(key_id, at)
        registered = await call(self._client.get_api_keys, nameQuery=key_id, limit=1)
        for item in registered["items"]:
            try:
                await call(self._client.delete_api_key, apiKey=item["id"])
            except ClientError as error:
                if error.response["Error"]["Code"] != "NotFoundException":
                    raise
        return is_known
