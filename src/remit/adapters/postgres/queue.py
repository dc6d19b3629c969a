"""The work queue on PostgreSQL, with the rules of SQS, for topologies without SQS."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from remit.adapters.postgres.connection import Connection
from remit.domain.change import Message
from remit.domain.ids import NewId, is_id
from remit.ports.delivery import ReceivedMessage, backoff

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

_message = msgspec.json.Decoder(Message)


class PostgresQueue:
    """Queue and FailedQueue in one table. A receipt is valid until the message is visible again."""

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

    async def delete(self, received: ReceivedMessage) -> None:
        await self._connection.rows(
            "DELETE FROM queue_messages WHERE id = $1::uuid AND receipt = $2::uuid",
            received.message.id,
            received.receipt,
        )

    async def retry(
        self, received: ReceivedMessage, error: str, after_seconds: float = 0.0
    ) -> None:
        pause_seconds = max(after_seconds, backoff(self._retry_seconds, received.receives))
        await self._connection.rows(
            RETRY, received.message.id, received.receipt, error, self._max_receives, pause_seconds
        )

    async def extend(self, received: ReceivedMessage, seconds: float) -> None:
        await self._connection.rows(EXTEND, received.message.id, received.receipt, seconds)

    async def failed(self, limit: int) -> list[ReceivedMessage]:
        return _received_messages(await self._connection.rows(FAILED, limit))

    async def dead_letters(self, limit: int) -> list[ReceivedMessage]:
        return _received_messages(await self._connection.rows(DEAD_LETTERS, limit))

    async def count_dead_letters(self) -> int:
        count: int = await self._connection.value(COUNT_DEAD)
        return count

    async def redrive(self, message_id: str | None) -> int:
        if message_id is not None and not is_id(message_id):
            return 0
        return len(await self._connection.rows(REDRIVE, message_id))


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
