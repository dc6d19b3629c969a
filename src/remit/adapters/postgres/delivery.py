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
from remit.domain.health_state import HealthState
from remit.domain.ids import NewId, is_id
from remit.ports.api_keys import ApiKey
from remit.ports.delivery import ReceivedMessage, backoff

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

UNARCHIVED = """
WITH leased AS (
    INSERT INTO leases AS l (name, holder, held_until)
    SELECT 'archive', $2::uuid, now() + $3 * interval '1 second'
    WHERE EXISTS (SELECT FROM audit_unarchived) AND NOT EXISTS (
        SELECT FROM leases WHERE name = 'archive' AND holder <> $2::uuid AND held_until > now()
    )
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
    WHERE l.holder = excluded.holder OR l.held_until <= now()
    RETURNING name
)
SELECT coalesce(json_agg(found ORDER BY found.id), '[]')::text FROM (
    SELECT * FROM audit_entries WHERE EXISTS (SELECT FROM leased)
    AND id = ANY (ARRAY(SELECT id FROM audit_unarchived ORDER BY id LIMIT $1))
) found
"""

RENEW = """
UPDATE leases SET held_until = now() + $2 * interval '1 second'
WHERE name = 'relay' AND holder = $1::uuid
"""

RELEASE = "UPDATE leases SET held_until = now() WHERE holder = $1::uuid AND held_until > now()"

MARK_ARCHIVED = """
WITH archived AS (DELETE FROM audit_unarchived WHERE id = ANY($1::uuid[]))
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

RECORD_HEALTH_STATE = """
INSERT INTO health_states AS s (monitor, version, state) VALUES ('health', $1, $2::json)
ON CONFLICT (monitor) DO UPDATE SET version = excluded.version, state = excluded.state
WHERE s.version = excluded.version - 1 RETURNING version
"""

_messages = msgspec.json.Decoder(list[Message])
_message = msgspec.json.Decoder(Message)
_entries = msgspec.json.Decoder(list[AuditEntry])
_keys = msgspec.json.Decoder(list[ApiKey])
_health_state = msgspec.json.Decoder(HealthState)


class PostgresOutbox:
    """Outbox, AuditLog and Retention: rows that the store wrote, until they are done with.

    One process at a time gets what waits in the outbox, and one the entries to archive: whichever
    holds the lease. Another can take it `lease_seconds` after it was last renewed.
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

    async def unarchived(self, limit: int) -> list[AuditEntry]:
        return _entries.decode(await self._leased(UNARCHIVED, limit))

    async def _leased(self, query: str, limit: int) -> str:
        found: str = await self._connection.value(query, limit, *self._lease)
        self._holds = self._holds or found != "[]"
        return found

    async def mark_archived(self, entry_ids: Sequence[str], segment: int) -> None:
        await self._connection.rows(MARK_ARCHIVED, entry_ids, segment)

    async def delete_records(self, before: datetime, limit: int) -> int:
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

    async def receive(self, limit: int) -> list[ReceivedMessage]:
        await self._connection.rows(BURY_EXHAUSTED, self._max_receives)
        return _received_messages(
            await self._connection.rows(RECEIVE, limit, self._new_id(), self._visibility_seconds)
        )

    async def delete(self, delivery: ReceivedMessage) -> None:
        await self._connection.rows(
            "DELETE FROM queue_messages WHERE id = $1::uuid AND receipt = $2::uuid",
            delivery.message.id,
            delivery.receipt,
        )

    async def retry(
        self, delivery: ReceivedMessage, error: str, after_seconds: float = 0.0
    ) -> None:
        delay = max(after_seconds, backoff(self._retry_seconds, delivery.receives))
        await self._connection.rows(
            RETRY, delivery.message.id, delivery.receipt, error, self._max_receives, delay
        )

    async def extend(self, delivery: ReceivedMessage, seconds: float) -> None:
        await self._connection.rows(EXTEND, delivery.message.id, delivery.receipt, seconds)

    async def failed(self, limit: int) -> list[ReceivedMessage]:
        return _received_messages(await self._connection.rows(FAILED, limit))

    async def dead_letters(self, limit: int) -> list[ReceivedMessage]:
        return _received_messages(await self._connection.rows(DEAD_LETTERS, limit))

    async def dead(self) -> int:
        dead: int = await self._connection.value(COUNT_DEAD)
        return dead

    async def redrive(self, message_id: str | None) -> int:
        if message_id is not None and not is_id(message_id):
            return 0
        return len(await self._connection.rows(REDRIVE, message_id))


class PostgresApiKeys:
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


class PostgresHealthStates:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def latest(self) -> HealthState:
        found = await self._connection.value("SELECT state::text FROM health_states")
        return _health_state.decode(found) if found else HealthState()

    async def record(self, state: HealthState) -> bool:
        data = msgspec.json.encode(state).decode()
        return bool(await self._connection.rows(RECORD_HEALTH_STATE, state.version, data))


def _received_messages(rows: Sequence[tuple[str, str, int, str | None]]) -> list[ReceivedMessage]:
    return [
        ReceivedMessage(
            message=_message.decode(message),
            receipt=receipt,
            receives=receives,
            last_error=last_error,
        )
        for message, receipt, receives, last_error in rows
    ]
