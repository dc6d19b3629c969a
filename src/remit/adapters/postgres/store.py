"""The store on PostgreSQL 14 or later.

Rows are sent and received as JSON. msgspec encodes and decodes the service's types, and PostgreSQL
maps the fields to columns of the same names. This costs the event loop a few microseconds for each
change, and to bind the columns one by one costs tens.

One statement writes all changes of a batch, in one transaction and with one flush to disk. If any
of them conflicts with an earlier commit, the statement fails as a whole. A second statement then
finds the changes that conflict, and the batch is written again without them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import asyncpg
import msgspec

from remit.adapters.postgres.connection import Connection
from remit.adapters.postgres.group_commit import GroupCommit
from remit.adapters.postgres.rows import DEFAULTS, tables_of
from remit.domain.caller import KeyScope, Mode
from remit.domain.change import AuditEntry, Change, Conflict, IdempotencyRecord
from remit.domain.errors import Unavailable
from remit.domain.operation import Operation
from remit.domain.payment import Payment, State
from remit.domain.refund import Refund
from remit.ports.store import OnCommit, PageQuery

COMMIT = """
WITH payment AS MATERIALIZED (
    SELECT * FROM json_populate_recordset(json_populate_record(NULL::payments, $7::json), $1::json)
), refund AS MATERIALIZED (
    SELECT * FROM json_populate_recordset(NULL::refunds, $2::json)
), operation AS MATERIALIZED (
    SELECT * FROM json_populate_recordset(NULL::operations, $8::json)
), record AS MATERIALIZED (
    SELECT * FROM json_to_recordset($3::json) AS r (
        use text, merchant_id text, mode text, operation text, key text, at timestamptz, record json
    )
), new_payments AS (
    INSERT INTO payments
    SELECT id, merchant_id, mode, amount_minor, currency, created_at, fingerprint, state, version,
           customer_id, reference, metadata, card, encrypted_card, pending,
           authorized_minor, captured_minor, refunded_minor, failure, processor_reference,
           processed_at, due_at, processor, next_action
    FROM payment WHERE version = 1
), changed_payments AS (
    UPDATE payments s
    SET state = p.state, version = p.version, card = p.card,
        encrypted_card = p.encrypted_card, pending = p.pending,
        authorized_minor = p.authorized_minor,
        captured_minor = p.captured_minor, refunded_minor = p.refunded_minor, failure = p.failure,
        processor_reference = p.processor_reference, processed_at = p.processed_at,
        due_at = p.due_at, processor = p.processor, next_action = p.next_action
    FROM payment p
    WHERE s.id = p.id AND p.version > 1 AND s.version = p.version - 1
    RETURNING s.id
), new_refunds AS (
    INSERT INTO refunds
    SELECT id, payment_id, merchant_id, mode, amount_minor, currency, created_at, state, version,
           failure
    FROM refund WHERE version = 1
), changed_refunds AS (
    UPDATE refunds s
    SET state = r.state, version = r.version, failure = r.failure
    FROM refund r
    WHERE s.id = r.id AND r.version > 1 AND s.version = r.version - 1
    RETURNING s.id
), new_operations AS (
    INSERT INTO operations SELECT id, payment_id, version, due_at, operation
    FROM operation WHERE version = 1
), changed_operations AS (
    UPDATE operations s
    SET version = o.version, due_at = o.due_at, operation = o.operation
    FROM operation o
    WHERE s.id = o.id AND o.version > 1 AND s.version = o.version - 1
    RETURNING s.id
), written_audit AS (
    INSERT INTO audit_entries
    SELECT id, at, merchant_id, mode, actor, request_id, action, outcome, payment_id, refund_id,
           state, amount_minor, currency, code, param
    FROM json_populate_recordset(NULL::audit_entries, $4::json)
    RETURNING id
), unarchived AS (
    INSERT INTO audit_unarchived SELECT id FROM written_audit
), written_postings AS (
    INSERT INTO postings
    SELECT transaction_id, line, payment_id, account, currency, amount_minor, at
    FROM json_populate_recordset(NULL::postings, $5::json)
), written_messages AS (
    INSERT INTO outbox
    SELECT id, created_at, message FROM json_populate_recordset(NULL::outbox, $6::json)
), claimed_keys AS (
    INSERT INTO idempotency
    SELECT merchant_id, mode, operation, key, at, record FROM record WHERE use = 'claim'
), completed_keys AS (
    INSERT INTO idempotency
    SELECT merchant_id, mode, operation, key, at, record FROM record WHERE use = 'complete'
    ON CONFLICT (merchant_id, mode, operation, key) DO UPDATE SET record = EXCLUDED.record
    WHERE idempotency.record ->> 'operation_id' IS NOT DISTINCT FROM
          EXCLUDED.record ->> 'operation_id'
), released_keys AS (
    DELETE FROM idempotency s USING record r
    WHERE r.use = 'release'
      AND (s.merchant_id, s.mode, s.operation, s.key)
        = (r.merchant_id, r.mode, r.operation, r.key)
      AND s.record ->> 'operation_id' IS NOT DISTINCT FROM r.record ->> 'operation_id'
)
SELECT require_all(
    (SELECT count(*) FROM payment WHERE version > 1) - (SELECT count(*) FROM changed_payments)
    + (SELECT count(*) FROM refund WHERE version > 1) - (SELECT count(*) FROM changed_refunds)
    + (SELECT count(*) FROM operation WHERE version > 1)
    - (SELECT count(*) FROM changed_operations)
)
"""
"""Writes all changes of a batch. It fails, and writes nothing, if any of them conflicts."""

CONFLICTS = """
SELECT ARRAY[s.merchant_id, s.mode, s.operation, s.key] AS subject, 'key_taken' AS conflict
FROM json_to_recordset($3::json)
       AS r (use text, merchant_id text, mode text, operation text, key text)
     JOIN idempotency s USING (merchant_id, mode, operation, key)
WHERE r.use = 'claim'
UNION ALL
SELECT ARRAY[p.id::text], 'stale'
FROM json_populate_recordset(json_populate_record(NULL::payments, $4::json), $1::json) p
     LEFT JOIN payments s USING (id)
WHERE s.version IS DISTINCT FROM nullif(p.version - 1, 0)
UNION ALL
SELECT ARRAY[r.id::text], 'stale'
FROM json_populate_recordset(NULL::refunds, $2::json) r LEFT JOIN refunds s USING (id)
WHERE s.version IS DISTINCT FROM nullif(r.version - 1, 0)
UNION ALL
SELECT ARRAY[o.id::text], 'stale'
FROM json_populate_recordset(NULL::operations, $5::json) o LEFT JOIN operations s USING (id)
WHERE s.version IS DISTINCT FROM nullif(o.version - 1, 0)
UNION ALL
SELECT ARRAY[p.id::text], 'reference_taken'
FROM json_populate_recordset(json_populate_record(NULL::payments, $4::json), $1::json) p
     JOIN payments s
       ON s.merchant_id || '/' || s.mode || '/' || s.reference
        = p.merchant_id || '/' || p.mode || '/' || p.reference
WHERE p.version = 1
"""
"""The changes of a batch that conflict with an earlier commit, by what identifies them."""

PAYMENTS = "SELECT coalesce(json_agg(p), '[]')::text FROM payments p WHERE id = ANY($1::uuid[])"

PAYMENT_BY_REFERENCE = """
SELECT json_agg(p)::text FROM payments p WHERE merchant_id || '/' || mode || '/' || reference = $1
"""

OPERATION = "SELECT operation::text FROM operations WHERE id = $1::uuid"

REFUND = "SELECT json_agg(r)::text FROM refunds r WHERE id = $1::uuid"

RECORD = """
SELECT record::text FROM idempotency
WHERE merchant_id = $1 AND mode = $2 AND operation = $3 AND key = $4
"""

PAGE = """
SELECT coalesce(json_agg(found ORDER BY found.id DESC), '[]')::text FROM (
    SELECT * FROM payments WHERE {conditions} ORDER BY id DESC LIMIT $1
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

DUE_OPERATIONS = """
SELECT coalesce(json_agg(found.operation), '[]')::text FROM (
    SELECT operation FROM operations WHERE due_at <= $1 ORDER BY due_at LIMIT $2
) found
"""

OPEN_OPERATIONS = """
SELECT coalesce(json_agg(found.operation), '[]')::text FROM (
    SELECT operation FROM operations
    WHERE due_at IS NOT NULL AND (operation ->> 'needs_decision' = 'true' OR NOT $2)
    ORDER BY due_at LIMIT $1
) found
"""

OPERATIONS = """
SELECT coalesce(json_agg(operation ORDER BY id), '[]')::text
FROM operations WHERE payment_id = $1::uuid
"""

MAX_TRIES = 5
"""How often a batch is written again without the changes that conflict."""

_payments = msgspec.json.Decoder(list[Payment])
_refunds = msgspec.json.Decoder(list[Refund])
_operation = msgspec.json.Decoder(Operation)
_operations = msgspec.json.Decoder(list[Operation])
_entries = msgspec.json.Decoder(list[AuditEntry])
_record = msgspec.json.Decoder(IdempotencyRecord)


class PostgresStore:
    """Store and Reader. Commits and look-ups go in batches, over a connection for each.

    A process that answers one request at a time uses one connection for both.
    """

    def __init__(
        self,
        writing: Connection,
        reading: Connection,
        *,
        batch_limit: int = 256,
        on_commit: Sequence[OnCommit] = (),
    ) -> None:
        self._on_commit = on_commit
        self._writing = writing
        self._reading = reading
        self._commits: GroupCommit[Change, Conflict | None] = GroupCommit(
            self._commit_batch, limit=batch_limit, conflict_keys=Change.conflict_keys
        )
        self._lookups: GroupCommit[str, Payment | None] = GroupCommit(
            self._find_batch, limit=batch_limit
        )

    async def ping(self) -> None:
        await self._reading.value("SELECT 'up'")

    async def commit(self, change: Change) -> Conflict | None:
        conflict = await self._commits.submit(change)
        if conflict is None:
            for notify in self._on_commit:
                await notify(change)
        return conflict

    async def _commit_batch(self, changes: Sequence[Change]) -> list[Conflict | Exception | None]:
        """Writes every change that does not conflict. A change that the database rejects for
        another reason does not make the others fail.
        """
        results: list[Conflict | Exception | None] = [None] * len(changes)
        left = list(range(len(changes)))
        failure: Exception = Unavailable("The same records are changing too fast. Try again.")
        for _ in range(MAX_TRIES):
            tables = tables_of([changes[n] for n in left])
            try:
                await self._writing.rows(COMMIT, *tables[:-1], DEFAULTS, tables[-1])
                return results
            except _CONFLICT_ERRORS:
                conflicts = await self._conflicts([changes[n] for n in left], tables)
            except asyncpg.PostgresError as error:
                failure = error
                break
            for index, conflict in conflicts.items():
                results[left[index]] = conflict
            left = [n for index, n in enumerate(left) if index not in conflicts]
            if not left:
                return results
        for n in left:
            results[n] = (
                failure if len(changes) == 1 else (await self._commit_batch([changes[n]]))[0]
            )
        return results

    async def _conflicts(
        self, changes: Sequence[Change], tables: Sequence[str]
    ) -> dict[int, Conflict]:
        """The conflicts of these changes, each by the index of its change."""
        indexes: dict[tuple[str, ...], int] = {}
        for index, change in enumerate(changes):
            if change.payment is not None:
                indexes[(change.payment.id,)] = index
            if change.refund is not None:
                indexes[(change.refund.id,)] = index
            for operation in change.operations:
                indexes[(operation.id,)] = index
            if change.record is not None:
                scope = change.record.scope
                indexes[scope.merchant_id, scope.mode, scope.operation, scope.key] = index
        rows = await self._writing.rows(CONFLICTS, *tables[:3], DEFAULTS, tables[-1])
        conflicts: dict[int, Conflict] = {}
        for subject, conflict in rows:
            # A change can have two. The key's comes first in the rows, and is the one to return.
            conflicts.setdefault(indexes[tuple(subject)], Conflict(conflict))
        return conflicts

    async def payment(self, payment_id: str) -> Payment | None:
        return await self._lookups.submit(payment_id)

    async def _find_batch(self, ids: Sequence[str]) -> list[Payment | None]:
        payments = _payments.decode(await self._reading.value(PAYMENTS, ids))
        by_id = {payment.id: payment for payment in payments}
        return [by_id.get(payment_id) for payment_id in ids]

    async def refund(self, refund_id: str) -> Refund | None:
        rows = await self._reading.value(REFUND, refund_id)
        return _refunds.decode(rows)[0] if rows else None

    async def operation(self, operation_id: str) -> Operation | None:
        found = await self._reading.value(OPERATION, operation_id)
        return _operation.decode(found) if found else None

    async def payment_by_reference(
        self, merchant_id: str, mode: Mode, reference: str
    ) -> Payment | None:
        rows = await self._reading.value(PAYMENT_BY_REFERENCE, f"{merchant_id}/{mode}/{reference}")
        return _payments.decode(rows)[0] if rows else None

    async def record(self, scope: KeyScope) -> IdempotencyRecord | None:
        record = await self._reading.value(
            RECORD, scope.merchant_id, scope.mode, scope.operation, scope.key
        )
        return _record.decode(record) if record else None

    async def page(self, query: PageQuery) -> list[Payment]:
        conditions: dict[str, object] = {
            "merchant_id =": query.merchant_id,
            "mode =": query.mode,
            "id <": query.cursor,
            "state =": query.state,
            "customer_id =": query.customer_id,
            "reference =": query.reference,
        }
        return await self._page(conditions, query.limit)

    async def newest(self, mode: Mode, *, limit: int, state: State | None = None) -> list[Payment]:
        return await self._page({"mode =": mode, "state =": state}, limit)

    async def _page(self, conditions: Mapping[str, object], limit: int) -> list[Payment]:
        # The statement has only the conditions with a value, so that each can use its index.
        used = {test: value for test, value in conditions.items() if value is not None}
        where = " AND ".join(f"{test} ${n}" for n, test in enumerate(used, 2))
        statement = PAGE.format(conditions=where)
        return _payments.decode(await self._reading.value(statement, limit, *used.values()))

    async def refunds(self, payment_id: str) -> list[Refund]:
        return _refunds.decode(await self._reading.value(REFUNDS, payment_id))

    async def history(self, payment_id: str) -> list[AuditEntry]:
        return _entries.decode(await self._reading.value(HISTORY, payment_id))

    async def due(self, now: datetime, limit: int) -> list[Payment]:
        return _payments.decode(await self._reading.value(DUE, now, limit))

    async def due_operations(self, now: datetime, limit: int) -> list[Operation]:
        return _operations.decode(await self._reading.value(DUE_OPERATIONS, now, limit))

    async def open_operations(self, limit: int, *, needs_decision: bool = False) -> list[Operation]:
        rows = await self._reading.value(OPEN_OPERATIONS, limit, needs_decision)
        return _operations.decode(rows)

    async def operations(self, payment_id: str) -> list[Operation]:
        return _operations.decode(await self._reading.value(OPERATIONS, payment_id))


_CONFLICT_ERRORS = (
    asyncpg.UniqueViolationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)
