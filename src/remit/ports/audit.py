"""The audit trail's way from the store into a bucket."""

from collections.abc import Sequence
from typing import Protocol

from remit.domain.change import (
    AuditEntry,
)


class AuditLog(Protocol):
    """Audit entries that were committed and are still to be archived."""

    async def unarchived(self, limit: int) -> list[AuditEntry]:
        """The oldest entries to be archived. None while another process archives them."""
        ...

    async def mark_archived(self, entry_ids: Sequence[str], segment: int) -> None: ...


class Bucket(Protocol):
    """An object store. Keys are paths with forward slashes."""

    async def put_new(self, key: str, body: bytes) -> bool:
        """Stores durably, unless the key is taken: then False, and what was there stays."""
        ...

    async def get(self, key: str) -> bytes | None: ...

    async def list(self, prefix: str, after: str, limit: int) -> list[str]:
        """Keys under `prefix` that sort after `after`, in order."""
        ...
