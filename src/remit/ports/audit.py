"""Ports of the audit trail: the entries to archive, the bucket that holds the archive, and the key
that signs it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from remit.domain.change import AuditEntry


class ArchivedSegment(NamedTuple):
    """The number of a segment of the archive, and when it was written."""

    number: int
    archived_at: datetime


class AuditLog(Protocol):
    """Audit entries that were committed and are not archived yet."""

    async def unarchived(self, limit: int) -> list[AuditEntry]:
        """The oldest entries to archive, `limit` at most.

        Empty while another process archives, because it then holds the lease.
        """
        ...

    async def restore(self, entries: Sequence[AuditEntry]) -> None:
        """Writes those of these archived entries that the database lacks, as after a restore."""
        ...

    async def mark_archived(self, entry_ids: Sequence[str], segment: ArchivedSegment) -> None:
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


class Signer(Protocol):
    """A key that signs checkpoints of the archive. It raises Unavailable if it cannot be reached.

    The private key never leaves the vault that it is in: KMS, or a file on a laptop.
    """

    @property
    def key_id(self) -> str: ...

    async def sign(self, message: bytes) -> bytes: ...

    async def is_valid(self, message: bytes, signature: bytes) -> bool: ...
