"""What is delivered later, on PostgreSQL: the outbox, the audit entries to seal, the work queue.

Also API keys, which have no other home. Nothing here is on the path of a payment.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

import msgspec

from remit.adapters.postgres.connection import Connection
from remit.domain.change import AuditEntry, Message
from remit.domain.errors import Unavailable
from remit.domain.health_state import Verdict
from remit.domain.ids import NewId, is_id
from remit.ports.api_keys import ApiKey
from remit.ports.delivery import Delivery, backoff

# These two take or renew a lease if something waits; if nothing does, or another holds it, they
# write nothing. Who gets it sees what was deleted before: a lease is free only after that.

OUTBOX_PENDING = """
WITH leased AS (
    INSERT INTO leases AS l (name, holder, held_until)
    SELECT 'relay', $2::uuid, now() + $3 * interval '1 second'
    WHERE EXISTS (SELECT FROM outbox) AND NOT EXISTS (
        SELECT FROM leases WHERE name = 'relay' AND holder <> $2::uuid AND held_until > now()
    )
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
    WHERE l.holder = excluded.holder OR l.held_until <= now()
    RETURNING name
)
SELECT coalesce(json_agg(found.message ORDER BY found.id), '[]')::text FROM (
    SELECT id, message FROM outbox WHERE EXISTS (SELECT FROM leased) ORDER BY id LIMIT $1
) found
"""

UNSEALED = """
WITH leased AS (
    INSERT INTO leases AS l (name, holder, held_until)
    SELECT 'seal', $2::uuid, now() + $3 * interval '1 second'
    WHERE EXISTS (SELECT FROM audit_unsealed) AND NOT EXISTS (
        SELECT FROM leases WHERE name = 'seal' AND holder <> $2::uuid AND held_until > now()
    )
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
    WHERE l.holder = excluded.holder OR l.held_until <= now()
    RETURNING name
)
SELECT coalesce(json_agg(found ORDER BY found.id), '[]')::text FROM (
    SELECT * FROM audit_entries WHERE EXISTS (SELECT FROM leased)
    AND id = ANY (ARRAY(SELECT id FROM audit_unsealed ORDER BY id LIMIT $1))
) found
"""

RENEW = """
UPDATE leases SET held_until = now() + $2 * interval '1 second'
WHERE name = 'relay' AND holder = $1::uuid
"""

RELEASE = "UPDATE leases SET held_until = now() WHERE holder = $1::uuid AND held_until > now()"

SEALED = """
WITH sealed AS (DELETE FROM audit_unsealed WHERE id = ANY($1::uuid[]))
INSERT INTO audit_segments (segment, entries) VALUES ($2, cardinality($1::uuid[]))
ON CONFLICT (segment) DO NOTHING
"""

FORGET_RECORDS = """
DELETE FROM idempotency
WHERE ctid = ANY (ARRAY(SELECT ctid FROM idempotency WHERE at < $1 ORDER BY at LIMIT $2))
RETURNING 1
"""

RECEIVE = """
UPDATE queue_messages q
SET receives = receives + 1, receipt = $2::uuid, visible_at = now() + $3 * interval '1 second'
WHERE id IN (
    SELECT id FROM queue_messages
    WHERE dead_at IS NULL AND visible_at <= now()
    ORDER BY visible_at LIMIT $1
    FOR UPDATE SKIP LOCKED
)
RETURNING message::text, receipt::text, receives, last_error
"""

BURY_EXHAUSTED = """
UPDATE queue_messages SET dead_at = now(), receipt = NULL
WHERE dead_at IS NULL AND visible_at <= now() AND receives >= $1
"""

RETRY = """
UPDATE queue_messages
SET last_error = $3, receipt = NULL, visible_at = now() + $5 * interval '1 second',
    dead_at = CASE WHEN receives >= $4 THEN now() END
WHERE id = $1::uuid AND receipt = $2::uuid
"""

EXTEND = """
UPDATE queue_messages SET visible_at = now() + $3 * interval '1 second'
WHERE id = $1::uuid AND receipt = $2::uuid
"""

FAILED = """
SELECT message::text, '' AS receipt, receives, last_error FROM queue_messages
WHERE dead_at IS NULL AND last_error IS NOT NULL ORDER BY visible_at LIMIT $1
"""

DEAD_LETTERS = """
SELECT message::text, '' AS receipt, receives, last_error FROM queue_messages
WHERE dead_at IS NOT NULL ORDER BY dead_at LIMIT $1
"""

COUNT_DEAD = "SELECT count(*) FROM queue_messages WHERE dead_at IS NOT NULL"

REDRIVE = """
UPDATE queue_messages SET dead_at = NULL, receives = 0, visible_at = now(), last_error = NULL
WHERE dead_at IS NOT NULL AND ($1::uuid IS NULL OR id = $1) RETURNING id
"""

ALL_KEYS = "SELECT coalesce(json_agg(k ORDER BY k.id), '[]')::text FROM api_keys k"

FIND_KEY = "SELECT json_agg(k)::text FROM api_keys k WHERE hash = $1"

ADD_KEY = "INSERT INTO api_keys SELECT * FROM json_populate_record(NULL::api_keys, $1::json)"

REVOKE_KEY = """
UPDATE api_keys SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1::uuid RETURNING id
"""

RECORD_VERDICT = """
INSERT INTO health_verdicts AS v (monitor, version, verdict) VALUES ('health', $1, $2::json)
ON CONFLICT (monitor) DO UPDATE SET version = excluded.version, verdict = excluded.verdict
WHERE v.version = excluded.version - 1 RETURNING version
"""

_messages = msgspec.json.Decoder(list[Message])
_message = msgspec.json.Decoder(Message)
_entries = msgspec.json.Decoder(list[AuditEntry])
_keys = msgspec.json.Decoder(list[ApiKey])
_verdict = msgspec.json.Decoder(Verdict)


class PostgresOutbox:
    """Outbox, AuditLog and Retention: rows that the store wrote, until they are done with.

    Of several processes one at a time is told what waits in the outbox, and one what is unsealed:
    the one with the lease, which others can have `lease_seconds` after its last look.
    """

    def __init__(self, connection: Connection, *, holder: str, lease_seconds: float) -> None:
        self._connection = connection
        self._lease = (holder, lease_seconds)
        self._holds = False

    async def pending(self, limit: int) -> list[Message]:
        return _messages.decode(await self._leased(OUTBOX_PENDING, limit))

    async def renew(self) -> None:
        await self._connection.rows(RENEW, *self._lease)

    async def release(self) -> None:
        """Where the database is not available, the leases lapse by themselves."""
        if self._holds:
            self._holds = False
            with suppress(Unavailable):
                await self._connection.rows(RELEASE, self._lease[0])

    async def sent(self, message_ids: Sequence[str]) -> None:
        await self._connection.rows("DELETE FROM outbox WHERE id = ANY($1::uuid[])", message_ids)

    async def oldest(self) -> datetime | None:
        oldest: datetime | None = await self._connection.value("SELECT min(created_at) FROM outbox")
        return oldest

    async def unsealed(self, limit: int) -> list[AuditEntry]:
        return _entries.decode(await self._leased(UNSEALED, limit))

    async def _leased(self, query: str, limit: int) -> str:
        found: str = await self._connection.value(query, limit, *self._lease)
        self._holds = self._holds or found != "[]"
        return found

    async def sealed(self, entry_ids: Sequence[str], segment: int) -> None:
        await self._connection.rows(SEALED, entry_ids, segment)

    async def forget_records(self, before: datetime, limit: int) -> int:
        return len(await self._connection.rows(FORGET_RECORDS, before, limit))


class PostgresQueue:
    """Queue and FailedQueue in one table. A receipt is only good until the message comes back."""

    def __init__(
        self,
        connection: Connection,
        new_id: NewId,
        *,
        max_receives: int,
        visibility_seconds: float,
        retry_seconds: float,
    ) -> None:
        self._connection = connection
        self._new_id = new_id
        self._max_receives = max_receives
        self._visibility_seconds = visibility_seconds
        self._retry_seconds = retry_seconds

    async def send(self, messages: Sequence[Message]) -> None:
        await self._connection.rows(
            "INSERT INTO queue_messages (id, message) "
            "SELECT * FROM unnest($1::uuid[], $2::jsonb[]) ON CONFLICT (id) DO NOTHING",
            [UUID(message.id) for message in messages],
            [msgspec.json.encode(message).decode() for message in messages],
        )

    async def receive(self, limit: int) -> list[Delivery]:
        await self._connection.rows(BURY_EXHAUSTED, self._max_receives)
        return _deliveries(
            await self._connection.rows(RECEIVE, limit, self._new_id(), self._visibility_seconds)
        )

    async def delete(self, delivery: Delivery) -> None:
        await self._connection.rows(
            "DELETE FROM queue_messages WHERE id = $1::uuid AND receipt = $2::uuid",
            delivery.message.id,
            delivery.receipt,
        )

    async def retry(self, delivery: Delivery, error: str, after_seconds: float = 0.0) -> None:
        delay = max(after_seconds, backoff(self._retry_seconds, delivery.receives))
        await self._connection.rows(
            RETRY, delivery.message.id, delivery.receipt, error, self._max_receives, delay
        )

    async def extend(self, delivery: Delivery, seconds: float) -> None:
        await self._connection.rows(EXTEND, delivery.message.id, delivery.receipt, seconds)

    async def failed(self, limit: int) -> list[Delivery]:
        return _deliveries(await self._connection.rows(FAILED, limit))

    async def dead_letters(self, limit: int) -> list[Delivery]:
        return _deliveries(await self._connection.rows(DEAD_LETTERS, limit))

    async def dead(self) -> int:
        dead: int = await self._connection.value(COUNT_DEAD)
        return dead

    async def redrive(self, message_id: str | None) -> int:
        if message_id is not None and not is_id(message_id):
            return 0
        return len(await self._connection.rows(REDRIVE, message_id))


class PostgresKeys:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, key: ApiKey, secret: str) -> None:
        await self._connection.rows(ADD_KEY, msgspec.json.encode(key).decode())

    async def find(self, key_hash: str) -> ApiKey | None:
        found = await self._connection.value(FIND_KEY, key_hash)
        return _keys.decode(found)[0] if found else None

    async def all(self) -> list[ApiKey]:
        return _keys.decode(await self._connection.value(ALL_KEYS))

    async def revoke(self, key_id: str, at: datetime) -> bool:
        if not is_id(key_id):
            return False
        return bool(await self._connection.rows(REVOKE_KEY, key_id, at))


class PostgresVerdicts:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def latest(self) -> Verdict:
        found = await self._connection.value("SELECT verdict::text FROM health_verdicts")
        return _verdict.decode(found) if found else Verdict()

    async def record(self, verdict: Verdict) -> bool:
        data = msgspec.json.encode(verdict).decode()
        return bool(await self._connection.rows(RECORD_VERDICT, verdict.version, data))


def _deliveries(rows: Sequence[tuple[str, str, int, str | None]]) -> list[Delivery]:
    return [
        Delivery(
            message=_message.decode(message),
            receipt=receipt,
            receives=receives,
            last_error=last_error,
        )
        for message, receipt, receives, last_error in rows
    ]
