"""API keys where API Gateway asks for one too: each is registered in its usage plan."""

from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from remit.adapters.aws.client import call
from remit.ports.api_keys import ApiKey, ApiKeys


class GatewayApiKeys:
    """ApiKeys as `stored` keeps them, known to API Gateway by their ids. It must know the secret
    itself: it is the header that callers send.
    """

    def __init__(self, client: Any, stored: ApiKeys, *, usage_plan_id: str) -> None:
        self._client = client
        self._stored = stored
        self._usage_plan_id = usage_plan_id

    async def add(self, key: ApiKey, secret: str) -> None:
        """A key that is stored and not registered works for nobody, and can be made again."""
        await self._stored.add(key, secret)
        made = await call(
            self._client.create_api_key,
            name=key.id,
            description=f"{key.merchant_id}, {key.mode}",
            enabled=True,
            value=secret,
        )
        await call(
            self._client.create_usage_plan_key,
            usagePlanId=self._usage_plan_id,
            keyId=made["id"],
            keyType="API_KEY",
        )

    async def find(self, key_hash: str) -> ApiKey | None:
        return await self._stored.find(key_hash)

    async def all(self) -> list[ApiKey]:
        return await self._stored.all()

    async def revoke(self, key_id: str, at: datetime) -> bool:
        """First the service refuses the key, then API Gateway forgets it."""
        found = await self._stored.revoke(key_id, at)
        registered = await call(self._client.get_api_keys, nameQuery=key_id, limit=1)
        for item in registered["items"]:
            try:
                await call(self._client.delete_api_key, apiKey=item["id"])
            except ClientError as error:
                if error.response["Error"]["Code"] != "NotFoundException":
                    raise
        return found
