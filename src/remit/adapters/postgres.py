"""The store on PostgreSQL 14 or later.

Rows travel as JSON both ways: the service's types are encoded and decoded by msgspec, and
PostgreSQL maps the fields onto columns of the same names. That costs the event loop a few
microseconds a change, where binding columns one by one costs tens.

All changes of a batch are written by one statement, so by one transaction and one disk flush. The
statement first finds the changes that lost a race, by reading what is there (payment rows under a
lock), and leaves them out of every write.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

import asyncpg
import msgspec

from remit.adapters.batch import Batcher
from remit.adapters.postgres_connection import Connection
from remit.change import (
    AuditEntry,
    Change,
    Conflict,
    IdempotencyRecord,
    KeyScope,
    Message,
)
from remit.errors import Unavailable
from remit.ledger import Posting
from remit.payment import Mode, Payment, Refund
from remit.ports import PageQuery

Row = TypeVar("Row")

COMMIT = """
WITH payment AS MATERIALIZED (
    SELECT (e->>0)::int AS n, p.*
    FROM jsonb_array_elements($1::jsonb->'payments') e,
         LATERAL jsonb_populate_record(NULL::payments, e->1) p
), refund AS MATERIALIZED (
    SELECT (e->>0)::int AS n, r.*
    FROM jsonb_array_elements($1::jsonb->'refunds') e,
         LATERAL jsonb_populate_record(NULL::refunds, e->1) r
), record AS MATERIALIZED (
    SELECT (e->>0)::int AS n, e->>1 AS use, e->2 AS record, (e->2->>'at')::timestamptz AS at,
           s.merchant_id, s.mode, s.operation, s.key
    FROM jsonb_array_elements($1::jsonb->'records') e,
         LATERAL jsonb_populate_record(NULL::idempotency, e->2->'scope') s
), held_payment AS MATERIALIZED (
    SELECT p.n, s.version
    FROM payment p JOIN payments s ON s.id = p.id
    WHERE p.version > 1
    ORDER BY s.id
    FOR UPDATE OF s
), held_refund AS MATERIALIZED (
    SELECT r.n, s.version
    FROM refund r JOIN refunds s ON s.id = r.id
    WHERE r.version > 1
    ORDER BY s.id
    FOR UPDATE OF s
), lost AS MATERIALIZED (
    SELECT r.n, 'key_taken' AS conflict
    FROM record r JOIN idempotency s USING (merchant_id, mode, operation, key)
    WHERE r.use = 'claim'
    UNION ALL
    SELECT p.n, 'stale'
    FROM payment p LEFT JOIN held_payment h USING (n)
    WHERE p.version > 1 AND h.version IS DISTINCT FROM p.version - 1
    UNION ALL
    SELECT r.n, 'stale'
    FROM refund r LEFT JOIN held_refund h USING (n)
    WHERE r.version > 1 AND h.version IS DISTINCT FROM r.version - 1
    UNION ALL
    SELECT p.n, 'reference_taken'
    FROM payment p JOIN payments s
      ON (s.merchant_id, s.mode, s.reference) = (p.merchant_id, p.mode, p.reference)
    WHERE p.version = 1
), new_payments AS (
    INSERT INTO payments
    SELECT id, merchant_id, mode, amount_minor, currency, created_at, fingerprint, state, version,
           attempt, customer_id, reference, metadata, card, sealed_card, pending, authorized_minor,
           captured_minor, refunded_minor, failure, processor_reference, processed_at, due_at
    FROM payment WHERE version = 1 AND n NOT IN (SELECT n FROM lost)
), changed_payments AS (
    UPDATE payments s
    SET state = p.state, version = p.version, attempt = p.attempt, card = p.card,
        sealed_card = p.sealed_card, pending = p.pending, authorized_minor = p.authorized_minor,
        captured_minor = p.captured_minor, refunded_minor = p.refunded_minor, failure = p.failure,
        processor_reference = p.processor_reference, processed_at = p.processed_at,
        due_at = p.due_at
    FROM payment p
    WHERE s.id = p.id AND p.version > 1 AND p.n NOT IN (SELECT n FROM lost)
), new_refunds AS (
    INSERT INTO refunds
    SELECT id, payment_id, merchant_id, mode, amount_minor, currency, created_at, state, version,
           failure, due_at
    FROM refund WHERE version = 1 AND n NOT IN (SELECT n FROM lost)
), changed_refunds AS (
    UPDATE refunds s
    SET state = r.state, version = r.version, failure = r.failure, due_at = r.due_at
    FROM refund r
    WHERE s.id = r.id AND r.version > 1 AND r.n NOT IN (SELECT n FROM lost)
), written_audit AS (
    INSERT INTO audit_entries
    SELECT a.id, a.at, a.merchant_id, a.mode, a.actor, a.request_id, a.action, a.outcome,
           a.payment_id, a.refund_id, a.state, a.amount_minor, a.currency, a.code, a.param
    FROM jsonb_array_elements($1::jsonb->'audit') e,
         LATERAL jsonb_populate_record(NULL::audit_entries, e->1) a
    WHERE (e->>0)::int NOT IN (SELECT n FROM lost)
), written_postings AS (
    INSERT INTO postings
    SELECT p.transaction_id, p.line, p.payment_id, p.account, p.currency, p.amount_minor, p.at
    FROM jsonb_array_elements($1::jsonb->'postings') e,
         LATERAL jsonb_populate_record(NULL::postings, e->1) p
    WHERE (e->>0)::int NOT IN (SELECT n FROM lost)
), written_messages AS (
    INSERT INTO outbox
    SELECT (e->1->>'id')::uuid, (e->1->>'created_at')::timestamptz, e->1
    FROM jsonb_array_elements($1::jsonb->'messages') e
    WHERE (e->>0)::int NOT IN (SELECT n FROM lost)
), claimed_keys AS (
    INSERT INTO idempotency
    SELECT merchant_id, mode, operation, key, at, record
    FROM record WHERE use = 'claim' AND n NOT IN (SELECT n FROM lost)
), completed_keys AS (
    INSERT INTO idempotency
    SELECT merchant_id, mode, operation, key, at, record
    FROM record WHERE use = 'complete' AND n NOT IN (SELECT n FROM lost)
    ON CONFLICT (merchant_id, mode, operation, key) DO UPDATE SET record = EXCLUDED.record
), released_keys AS (
    DELETE FROM idempotency s USING record r
    WHERE r.use = 'release' AND r.n NOT IN (SELECT n FROM lost)
      AND (s.merchant_id, s.mode, s.operation, s.key)
        = (r.merchant_id, r.mode, r.operation, r.key)
)
SELECT n, conflict FROM lost
"""
"""Writes a batch and returns the changes that lost a race, which it did not write."""

PAYMENTS = "SELECT coalesce(json_agg(p), '[]')::text FROM payments p WHERE id = ANY($1::uuid[])"

PAYMENT_BY_REFERENCE = """
SELECT json_agg(p)::text FROM payments p
WHERE merchant_id = $1 AND mode = $2 AND reference = $3
"""

REFUND = "SELECT json_agg(r)::text FROM refunds r WHERE id = $1::uuid"

RECORD = """
SELECT record::text FROM idempotency
WHERE merchant_id = $1 AND mode = $2 AND operation = $3 AND key = $4
"""

PAGE = """
SELECT coalesce(json_agg(found ORDER BY found.id DESC), '[]')::text FROM (
    SELECT * FROM payments
    WHERE merchant_id = $1 AND mode = $2
      AND ($3::uuid IS NULL OR id < $3)
      AND ($4::text IS NULL OR state = $4)
      AND ($5::text IS NULL OR customer_id = $5)
      AND ($6::text IS NULL OR reference = $6)
    ORDER BY id DESC
    LIMIT $7
) found
"""

REFUNDS = """
SELECT coalesce(json_agg(r ORDER BY r.id), '[]')::text FROM refunds r WHERE payment_id = $1::uuid
"""

HISTORY = """
SELECT coalesce(json_agg(a ORDER BY a.id), '[]')::text FROM audit_entries a
WHERE payment_id = $1::uuid
"""

DUE = """
SELECT coalesce(json_agg(found), '[]')::text FROM (
    SELECT * FROM payments WHERE due_at <= $1 ORDER BY due_at LIMIT $2
) found
"""

DUE_REFUNDS = """
SELECT coalesce(json_agg(found), '[]')::text FROM (
    SELECT * FROM refunds WHERE due_at <= $1 ORDER BY due_at LIMIT $2
) found
"""


class _Batch(msgspec.Struct):
    """The statement's one parameter: every row with the number of the change it belongs to."""

    payments: list[tuple[int, Payment]] = []
    refunds: list[tuple[int, Refund]] = []
    records: list[tuple[int, str, IdempotencyRecord]] = []
    audit: list[tuple[int, AuditEntry]] = []
    postings: list[tuple[int, Posting]] = []
    messages: list[tuple[int, Message]] = []


_encoder = msgspec.json.Encoder()
_payments = msgspec.json.Decoder(list[Payment])
_refunds = msgspec.json.Decoder(list[Refund])
_entries = msgspec.json.Decoder(list[AuditEntry])
_record = msgspec.json.Decoder(IdempotencyRecord)


class PostgresStore:
    """Store and Reader. Commits and look-ups travel in batches, each over its own connection."""

    def __init__(self, url: str, *, batch_limit: int = 256) -> None:
        self._writing = Connection(url, for_commits=True)
        self._reading = Connection(url)
        self._commits: Batcher[Change, Conflict | None] = Batcher(
            self._commit_batch, limit=batch_limit, contended=Change.contended
        )
        self._lookups: Batcher[str, Payment | None] = Batcher(self._find_batch, limit=batch_limit)

    async def close(self) -> None:
        await self._writing.close()
        await self._reading.close()

    async def ping(self) -> None:
        await self._reading.value("SELECT 'up'")

    async def commit(self, change: Change) -> Conflict | None:
        return await self._commits.submit(change)

    async def _commit_batch(self, changes: Sequence[Change]) -> list[Conflict | Exception | None]:
        try:
            return list(await self._write(changes))
        except asyncpg.PostgresError as error:
            if len(changes) == 1 and not isinstance(error, _LOST_RACE):
                return [error]
            return [await self._commit_alone(change) for change in changes]

    async def _commit_alone(self, change: Change) -> Conflict | Exception | None:
        """One change by itself, so that what is wrong with one fails no other.

        A race that two processes run to the same unique key ends in an error for one of them; its
        second try reads what the winner wrote, and says so.
        """
        for _ in range(5):
            try:
                return (await self._write([change]))[0]
            except _LOST_RACE:
                continue
            except asyncpg.PostgresError as error:
                return error
        return Unavailable("The database is too busy with the same records. Try again.")

    async def _write(self, changes: Sequence[Change]) -> Sequence[Conflict | None]:
        batch = _Batch()
        for n, change in enumerate(changes):
            if change.payment is not None:
                batch.payments.append((n, change.payment))
            if change.refund is not None:
                batch.refunds.append((n, change.refund))
            if change.record is not None:
                batch.records.append((n, change.record_use, change.record))
            batch.audit.extend([(n, entry) for entry in change.audit])
            batch.postings.extend([(n, posting) for posting in change.postings])
            batch.messages.extend([(n, message) for message in change.messages])
        answers: list[Conflict | None] = [None] * len(changes)
        for n, conflict in await self._writing.rows(COMMIT, _encoder.encode(batch).decode()):
            answers[n] = answers[n] or Conflict(conflict)
        return answers

    async def payment(self, payment_id: str) -> Payment | None:
        return await self._lookups.submit(payment_id)

    async def _find_batch(self, ids: Sequence[str]) -> list[Payment | None]:
        found = _payments.decode(await self._reading.value(PAYMENTS, ids))
        by_id = {payment.id: payment for payment in found}
        return [by_id.get(payment_id) for payment_id in ids]

    async def refund(self, refund_id: str) -> Refund | None:
        found = await self._reading.value(REFUND, refund_id)
        return _refunds.decode(found)[0] if found else None

    async def payment_by_reference(
        self, merchant_id: str, mode: Mode, reference: str
    ) -> Payment | None:
        found = await self._reading.value(PAYMENT_BY_REFERENCE, merchant_id, mode, reference)
        return _payments.decode(found)[0] if found else None

    async def record(self, scope: KeyScope) -> IdempotencyRecord | None:
        found = await self._reading.value(
            RECORD, scope.merchant_id, scope.mode, scope.operation, scope.key
        )
        return _record.decode(found) if found else None

    async def page(self, query: PageQuery) -> list[Payment]:
        found = await self._reading.value(
            PAGE,
            query.merchant_id,
            query.mode,
            query.cursor,
            query.state,
            query.customer_id,
            query.reference,
            query.limit,
        )
        return _payments.decode(found)

    async def refunds(self, payment_id: str) -> list[Refund]:
        return _refunds.decode(await self._reading.value(REFUNDS, payment_id))

    async def history(self, payment_id: str) -> list[AuditEntry]:
        return _entries.decode(await self._reading.value(HISTORY, payment_id))

    async def due(self, now: datetime, limit: int) -> list[Payment]:
        return _payments.decode(await self._reading.value(DUE, now, limit))

    async def due_refunds(self, now: datetime, limit: int) -> list[Refund]:
        return _refunds.decode(await self._reading.value(DUE_REFUNDS, now, limit))


_LOST_RACE = (
    asyncpg.UniqueViolationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)
