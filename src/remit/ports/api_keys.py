"""API keys as they are stored."""

from datetime import datetime
from typing import Protocol

import msgspec

from remit.domain.payment import Mode


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An API key as it is stored: its SHA-256, never itself. 256 random bits need no slow hash."""

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
        """Stores the key. The secret is for whoever stands before the service and must know it."""
        ...

    async def find(self, key_hash: str) -> ApiKey | None: ...

    async def all(self) -> list[ApiKey]: ...

    async def revoke(self, key_id: str, at: datetime) -> bool:
        """True if there was such a key. Revoking twice keeps the first time."""
        ...
