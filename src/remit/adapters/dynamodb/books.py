"""The books on DynamoDB, read by scans, page after page, for `oversight/reconcile.py`."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import msgspec

from remit.adapters.dynamodb.outbox import SEGMENTS
from remit.adapters.dynamodb.table import BY_PAYMENT, Table
from remit.domain.change import AuditEntry
from remit.domain.ledger import Posting, Unbalanced, check_balanced
from remit.domain.operation import Operation
from remit.domain.payment import Payment
from remit.domain.refund import Refund, RefundState
from remit.ports.audit import ArchivedSegment
from remit.ports.store import BookedPayment, balances_of

_entry = msgspec.json.Decoder(AuditEntry)
_operation = msgspec.json.Decoder(Operation)
_payment = msgspec.json.Decoder(Payment)
_postings = msgspec.json.Decoder(list[Posting])
_refund = msgspec.json.Decoder(Refund)


class DynamoBooks:
    """Books. It reads the table consistently, and its indexes as they are.

    An index may lag behind, so a discrepancy under load needs a second run.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    async def find_unbalanced(self) -> str | None:
        async for item in self._table.scan("ledger"):
            postings = _postings.decode(item["data"])
            try:
                check_balanced(postings)
            except Unbalanced:
                return postings[0].transaction_id
        return None

    async def find_orphan(self) -> str | None:
        async for item in self._table.scan("ledger"):
            if await self._table.get(item["payment_id"]) is None:
                return f"posting {item['transaction_id'].removeprefix('ledger#')}"
        async for item in self._table.scan("payment"):
            payment_id = item["transaction_id"]
            if not [entry async for entry in self._of_payment(payment_id, "audit#")]:
                return f"payment {payment_id}"
        return None

    async def booked_payments(self) -> AsyncIterator[BookedPayment]:
        async for item in self._table.scan("payment"):
            payment = _payment.decode(item["data"])
            postings = [
                posting
                async for data in self._of_payment(payment.id, "ledger#")
                for posting in _postings.decode(data)
            ]
            operations = [
                _operation.decode(data) async for data in self._of_payment(payment.id, "operation#")
            ]
            refunds = [_refund.decode(d) async for d in self._of_payment(payment.id, "refund#")]
            refunds_minor = sum(
                refund.amount_minor for refund in refunds if refund.state is RefundState.SUCCEEDED
            )
            yield BookedPayment(
                payment=payment,
                balances=balances_of(postings),
                refunds_minor=refunds_minor,
                processors=frozenset(operation.processor for operation in operations),
                has_open_operation=any(operation.is_open for operation in operations),
            )

    async def count(self) -> int:
        return sum([1 async for _ in self._table.scan("payment")])

    async def last_segment(self) -> ArchivedSegment | None:
        item = await self._table.get(SEGMENTS)
        if item is None:
            return None
        return ArchivedSegment(int(item["newest"]), datetime.fromisoformat(item["archived_at"]))

    async def audit_entries(self, entry_ids: Sequence[str]) -> list[AuditEntry]:
        items = await self._table.get_all([f"audit#{entry_id}" for entry_id in entry_ids])
        return [_entry.decode(item["data"]) for item in items]

    async def _of_payment(self, payment_id: str, kind: str) -> AsyncIterator[str]:
        async for item in self._table.query(
            BY_PAYMENT,
            "payment_id = :payment AND begins_with(transaction_id, :kind)",
            {":payment": payment_id, ":kind": kind},
        ):
            yield item["data"]
