"""The port to stored API keys."""

from datetime import datetime
from typing import Protocol

import msgspec

from remit.domain.caller import Mode


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An API key as it is stored: its SHA-256, never the key. 256 random bits need no slow hash."""

    id: str
    hash: str
    merchant_id: str
    mode: Mode
    label: str
    last4: str
    created_at: datetime
    revoked_at: datetime | None = None


class ApiKeys(Protocol):
    async def add(self, key: ApiKey, secret: str) -> None:
        """Stores the key. `secret` is for an API gateway that must know the key itself."""
        ...

    async def find(self, key_hash: str) -> ApiKey | None: ...

    async def all(self) -> list[ApiKey]: ...

    async def revoke(self, key_id: str, at: datetime) -> bool:
        """False if there is no such key. A second revocation keeps the time of the first."""
        ...
