"""The outbox, the audit entries to archive, and the deletion of expired records, on PostgreSQL."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from remit.adapters.postgres.connection import Connection
from remit.domain.change import AuditEntry, Message, Topic
from remit.domain.errors import Unavailable
from remit.ports.audit import ArchivedSegment

LEASE = """
WITH leased AS (
    INSERT INTO leases AS l (name, holder, held_until)
    SELECT '{name}', $2::uuid, now() + $3 * interval '1 second'
    WHERE EXISTS (SELECT FROM {waiting}) AND NOT EXISTS (
        SELECT FROM leases WHERE name = '{name}' AND holder <> $2::uuid AND held_until > now()
    )
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
    WHERE l.holder = excluded.holder OR l.held_until <= now()
    RETURNING name
)
"""
"""Takes or renews a lease if a row waits. If none does, or another process holds the lease, it
writes nothing. A lease lapses after its holder's last deletion, so the next holder sees no row that
was handled.
"""


def _under_lease(name: str, waiting: str, query: str) -> str:
    return LEASE.format(name=name, waiting=waiting) + query


PENDING = _under_lease(
    "relay",
    "outbox",
    """
SELECT coalesce(json_agg(found.message ORDER BY found.id), '[]')::text FROM (
    SELECT id, message FROM outbox
    WHERE EXISTS (SELECT FROM leased) AND message ->> 'topic' <> ALL ($4::text[])
    ORDER BY id LIMIT $1
) found
""",
)

UNARCHIVED = _under_lease(
    "archive",
    "audit_unarchived",
    """
SELECT coalesce(json_agg(found ORDER BY found.id), '[]')::text FROM (
    SELECT * FROM audit_entries WHERE EXISTS (SELECT FROM leased)
    AND id = ANY (ARRAY(SELECT id FROM audit_unarchived ORDER BY id LIMIT $1))
) found
""",
)

RENEW = """
UPDATE leases SET held_until = now() + $2 * interval '1 second'
WHERE name = 'relay' AND holder = $1::uuid
"""

RELEASE = "UPDATE leases SET held_until = now() WHERE holder = $1::uuid AND held_until > now()"

MARK_ARCHIVED = """
WITH archived AS (DELETE FROM audit_unarchived WHERE id = ANY($1::uuid[]))
INSERT INTO audit_segments (segment, entries, archived_at)
VALUES ($2, cardinality($1::uuid[]), $3)
ON CONFLICT (segment) DO NOTHING
"""

RESTORE = """
INSERT INTO audit_entries
SELECT * FROM json_populate_recordset(NULL::audit_entries, $1::json)
ON CONFLICT (id) DO NOTHING
"""

DELETE_RECORDS = """
DELETE FROM idempotency
WHERE ctid = ANY (ARRAY(SELECT ctid FROM idempotency WHERE at < $1 ORDER BY at LIMIT $2))
RETURNING 1
"""

_messages = msgspec.json.Decoder(list[Message])
_entries = msgspec.json.Decoder(list[AuditEntry])


class PostgresOutbox:
    """Outbox, AuditLog and Retention.

    One process at a time relays and one archives, by a lease each. Another process can take a lease
    `lease_seconds` after it was last renewed.
    """

    def __init__(self, connection: Connection, *, holder: str, lease_seconds: float) -> None:
        self._connection = connection
        self._lease = (holder, lease_seconds)
        self._holds_lease = False

    async def pending(self, limit: int, without: Collection[Topic] = ()) -> list[Message]:
        return _messages.decode(await self._leased(PENDING, limit, list(without)))

    async def renew(self) -> None:
        await self._connection.rows(RENEW, *self._lease)

    async def release(self) -> None:
        """While the database is down it does nothing: the leases lapse by themselves."""
        if self._holds_lease:
            self._holds_lease = False
            with suppress(Unavailable):
                await self._connection.rows(RELEASE, self._lease[0])

    async def mark_sent(self, message_ids: Sequence[str]) -> None:
        await self._connection.rows("DELETE FROM outbox WHERE id = ANY($1::uuid[])", message_ids)

    async def oldest_created_at(self) -> datetime | None:
        oldest: datetime | None = await self._connection.value("SELECT min(created_at) FROM outbox")
        return oldest

    async def unarchived(self, limit: int) -> list[AuditEntry]:
        return _entries.decode(await self._leased(UNARCHIVED, limit))

    async def _leased(self, query: str, limit: int, *others: object) -> str:
        rows: str = await self._connection.value(query, limit, *self._lease, *others)
        self._holds_lease = self._holds_lease or rows != "[]"
        return rows

    async def restore(self, entries: Sequence[AuditEntry]) -> None:
        await self._connection.rows(RESTORE, msgspec.json.encode(entries).decode())

    async def mark_archived(self, entry_ids: Sequence[str], segment: ArchivedSegment) -> None:
        await self._connection.rows(MARK_ARCHIVED, entry_ids, segment.number, segment.archived_at)

    async def delete_records(self, before: datetime, limit: int) -> int:
        return len(await self._connection.rows(DELETE_RECORDS, before, limit))
