"""The books on PostgreSQL: whole tables, read in pages, for `oversight/reconcile.py`."""

from collections.abc import AsyncIterator, Sequence

import msgspec

from remit.adapters.postgres.connection import Connection
from remit.domain.change import AuditEntry
from remit.ports.audit import ArchivedSegment
from remit.ports.store import BookedPayment

PAGE = 2_000
FIRST_ID = "00000000-0000-0000-0000-000000000000"

UNBALANCED = """
SELECT transaction_id::text FROM postings
GROUP BY transaction_id, currency HAVING sum(amount_minor) <> 0 LIMIT 1
"""

ORPHAN = """
SELECT 'posting ' || g.transaction_id FROM postings g
WHERE NOT EXISTS (SELECT FROM payments p WHERE p.id = g.payment_id)
UNION ALL
SELECT 'payment ' || p.id FROM payments p
WHERE NOT EXISTS (SELECT FROM audit_entries a WHERE a.payment_id = p.id)
LIMIT 1
"""

BOOKED_PAYMENTS = """
SELECT coalesce(json_agg(json_build_object(
    'payment', p,
    'balances', (
        SELECT coalesce(json_agg(json_build_array(g.account, g.currency, g.amount_minor)), '[]')
        FROM (SELECT account, currency, sum(amount_minor) AS amount_minor FROM postings
              WHERE payment_id = p.id GROUP BY account, currency) g),
    'refunds_minor', (
        SELECT coalesce(sum(r.amount_minor), 0) FROM refunds r
        WHERE r.payment_id = p.id AND r.state = 'succeeded'),
    'processors', (
        SELECT coalesce(json_agg(DISTINCT o.operation ->> 'processor'), '[]') FROM operations o
        WHERE o.payment_id = p.id),
    'has_open_operation', EXISTS (
        SELECT FROM operations o WHERE o.payment_id = p.id AND o.due_at IS NOT NULL)
) ORDER BY p.id), '[]')::text
FROM (SELECT * FROM payments WHERE id > $1::uuid ORDER BY id LIMIT $2) p
"""

LAST_SEGMENT = "SELECT segment, archived_at FROM audit_segments ORDER BY segment DESC LIMIT 1"

AUDIT_ENTRIES = """
SELECT coalesce(json_agg(a), '[]')::text FROM audit_entries a WHERE id = ANY($1::uuid[])
"""

_entries = msgspec.json.Decoder(list[AuditEntry])
_page = msgspec.json.Decoder(list[BookedPayment])


class PostgresBooks:
    """Books. It reads without a transaction, so a discrepancy under load needs a second run."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find_unbalanced(self) -> str | None:
        transaction_id: str | None = await self._connection.value(UNBALANCED)
        return transaction_id

    async def find_orphan(self) -> str | None:
        record: str | None = await self._connection.value(ORPHAN)
        return record

    async def booked_payments(self) -> AsyncIterator[BookedPayment]:
        after = FIRST_ID
        while page := _page.decode(await self._connection.value(BOOKED_PAYMENTS, after, PAGE)):
            for booked in page:
                yield booked
            after = page[-1].payment.id

    async def count(self) -> int:
        count: int = await self._connection.value("SELECT count(*) FROM payments")
        return count

    async def last_segment(self) -> ArchivedSegment | None:
        rows = await self._connection.rows(LAST_SEGMENT)
        return ArchivedSegment(*rows[0]) if rows else None

    async def audit_entries(self, entry_ids: Sequence[str]) -> list[AuditEntry]:
        return _entries.decode(await self._connection.value(AUDIT_ENTRIES, entry_ids))
