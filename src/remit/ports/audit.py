"""Ports of the audit trail: the entries to archive, and the bucket that holds the archive."""

from collections.abc import Sequence
from typing import Protocol

from remit.domain.change import AuditEntry


class AuditLog(Protocol):
    """Audit entries that were committed and are not archived yet."""

    async def unarchived(self, limit: int) -> list[AuditEntry]:
        """The oldest entries to archive, `limit` at most.

        Empty while another process archives, because it then holds the lease.
        """
        ...

    async def mark_archived(self, entry_ids: Sequence[str], segment: int) -> None:
        """Records that the entries are archived in this segment."""
        ...


class Bucket(Protocol):
    """An object store with the rules of S3. Keys are paths with forward slashes."""

    async def put_new(self, key: str, body: bytes) -> bool:
        """Stores the object durably. False if the key is taken: the object there is unchanged."""
        ...

    async def get(self, key: str) -> bytes | None: ...

    async def list(self, prefix: str, after: str, limit: int) -> list[str]:
        """The keys under `prefix` that sort after `after`, in order, `limit` at most."""
        ...
