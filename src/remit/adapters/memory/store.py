"""Every database port in memory, for tests. It is also the simplest example of a store.

No method awaits between its reads and its writes, so each call is atomic in one event loop.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime

from remit.domain.caller import KeyScope, Mode
from remit.domain.change import (
    AuditEntry,
    Change,
    Conflict,
    IdempotencyRecord,
    KeyUse,
    Message,
    Topic,
)
from remit.domain.ledger import Posting
from remit.domain.operation import Operation
from remit.domain.payment import Payment, State
from remit.domain.refund import Refund, RefundState
from remit.ports.api_keys import ApiKey
from remit.ports.audit import ArchivedSegment
from remit.ports.store import BookedPayment, OnCommit, PageQuery, balances_of


class MemoryStore:
    """Store, Reader, Books, ApiKeys, Outbox, AuditLog and Retention, in dictionaries."""

    def __init__(self, on_commit: Sequence[OnCommit] = ()) -> None:
        self._on_commit = on_commit
        self.payments: dict[str, Payment] = {}
        self.refunds_by_id: dict[str, Refund] = {}
        self.operations_by_id: dict[str, Operation] = {}
        self.references: dict[tuple[str, Mode, str], str] = {}
        self.records: dict[KeyScope, IdempotencyRecord] = {}
        self.audit: list[AuditEntry] = []
        self.segments: dict[str, ArchivedSegment] = {}
        self.postings: list[Posting] = []
        self.messages: dict[str, Message] = {}
        self.api_keys: dict[str, ApiKey] = {}

    async def commit(self, change: Change) -> Conflict | None:
        if (conflict := self._conflict(change)) is not None:
            return conflict
        if (payment := change.payment) is not None:
            self.payments[payment.id] = payment
            if payment.reference is not None:
                self.references[payment.merchant_id, payment.mode, payment.reference] = payment.id
        if change.refund is not None:
            self.refunds_by_id[change.refund.id] = change.refund
        for operation in change.operations:
            self.operations_by_id[operation.id] = operation
        if change.record is not None:
            self._write_record(change.record, change.record_use)
        self.audit.extend(change.audit)
        self.postings.extend(change.postings)
        self.messages.update((message.id, message) for message in change.messages)
        for notify in self._on_commit:
            await notify(change)
        return None

    def _write_record(self, record: IdempotencyRecord, use: KeyUse) -> None:
        stored = self.records.get(record.scope, record)
        if use is not KeyUse.CLAIM and stored.operation_id != record.operation_id:
            return  # another request has the key by now
        if use is KeyUse.RELEASE:
            self.records.pop(record.scope, None)
        else:
            self.records[record.scope] = record

    async def ping(self) -> None:
        """Never fails."""

    def _conflict(self, change: Change) -> Conflict | None:
        record, payment, refund = change.record, change.payment, change.refund
        if record and change.record_use is KeyUse.CLAIM and record.scope in self.records:
            return Conflict.KEY_TAKEN
        if payment is not None:
            stored = self.payments.get(payment.id)
            if (stored.version if stored else 0) != payment.version - 1:
                return Conflict.STALE
            reference = (payment.merchant_id, payment.mode, payment.reference or "")
            if payment.version == 1 and payment.reference and reference in self.references:
                return Conflict.REFERENCE_TAKEN
        if refund is not None:
            earlier = self.refunds_by_id.get(refund.id)
            if (earlier.version if earlier else 0) != refund.version - 1:
                return Conflict.STALE
        for operation in change.operations:
            before = self.operations_by_id.get(operation.id)
            if (before.version if before else 0) != operation.version - 1:
                return Conflict.STALE
        return None

    async def payment(self, payment_id: str) -> Payment | None:
        return self.payments.get(payment_id)

    async def refund(self, refund_id: str) -> Refund | None:
        return self.refunds_by_id.get(refund_id)

    async def operation(self, operation_id: str) -> Operation | None:
        return self.operations_by_id.get(operation_id)

    async def payment_by_reference(
        self, merchant_id: str, mode: Mode, reference: str
    ) -> Payment | None:
        return self.payments.get(self.references.get((merchant_id, mode, reference), ""))

    async def record(self, scope: KeyScope) -> IdempotencyRecord | None:
        return self.records.get(scope)

    async def page(self, query: PageQuery) -> list[Payment]:
        payments = [
            payment
            for payment in sorted(self.payments.values(), key=lambda p: p.id, reverse=True)
            if (payment.merchant_id, payment.mode) == (query.merchant_id, query.mode)
            and (query.cursor is None or payment.id < query.cursor)
            and (query.state is None or payment.state is query.state)
            and (query.customer_id is None or payment.customer_id == query.customer_id)
            and (query.reference is None or payment.reference == query.reference)
        ]
        return payments[: query.limit]

    async def newest(self, mode: Mode, *, limit: int, state: State | None = None) -> list[Payment]:
        payments = [
            payment
            for payment in sorted(self.payments.values(), key=lambda p: p.id, reverse=True)
            if payment.mode == mode and (state is None or payment.state is state)
        ]
        return payments[:limit]

    async def refunds(self, payment_id: str) -> list[Refund]:
        refunds = [r for r in self.refunds_by_id.values() if r.payment_id == payment_id]
        return sorted(refunds, key=lambda refund: refund.id)

    async def history(self, payment_id: str) -> list[AuditEntry]:
        return [entry for entry in self.audit if entry.payment_id == payment_id]

    async def due(self, now: datetime, limit: int) -> list[Payment]:
        return [p for p in self.payments.values() if p.due_at and p.due_at <= now][:limit]

    async def due_operations(self, now: datetime, limit: int) -> list[Operation]:
        return [o for o in self.operations_by_id.values() if o.due_at and o.due_at <= now][:limit]

    async def open_operations(self, limit: int, *, needs_decision: bool = False) -> list[Operation]:
        found = [
            operation
            for operation in sorted(self.operations_by_id.values(), key=lambda o: str(o.due_at))
            if operation.is_open and (operation.needs_decision or not needs_decision)
        ]
        return found[:limit]

    async def operations(self, payment_id: str) -> list[Operation]:
        found = [o for o in self.operations_by_id.values() if o.payment_id == payment_id]
        return sorted(found, key=lambda operation: operation.id)

    async def add(self, key: ApiKey, secret: str) -> None:
        self.api_keys[key.id] = key

    async def find(self, key_hash: str) -> ApiKey | None:
        return next((key for key in self.api_keys.values() if key.hash == key_hash), None)

    async def all(self) -> list[ApiKey]:
        return sorted(self.api_keys.values(), key=lambda key: key.id)

    async def revoke(self, key_id: str, at: datetime) -> bool:
        key = self.api_keys.get(key_id)
        if key is None:
            return False
        if key.revoked_at is None:
            self.api_keys[key_id] = ApiKey(
                **{name: getattr(key, name) for name in key.__struct_fields__} | {"revoked_at": at}
            )
        return True

    async def pending(self, limit: int, without: Collection[Topic] = ()) -> list[Message]:
        waiting = sorted(self.messages.items())
        return [message for _, message in waiting if message.topic not in without][:limit]

    async def renew(self) -> None:
        """Does nothing: no other process sends these messages."""

    async def release(self) -> None:
        """Does nothing, as `renew`."""

    async def mark_sent(self, message_ids: Sequence[str]) -> None:
        for message_id in message_ids:
            self.messages.pop(message_id, None)

    async def oldest_created_at(self) -> datetime | None:
        return min((message.created_at for message in self.messages.values()), default=None)

    async def unarchived(self, limit: int) -> list[AuditEntry]:
        return [entry for entry in self.audit if entry.id not in self.segments][:limit]

    async def restore(self, entries: Sequence[AuditEntry]) -> None:
        known = {entry.id for entry in self.audit}
        self.audit += [entry for entry in entries if entry.id not in known]

    async def mark_archived(self, entry_ids: Sequence[str], segment: ArchivedSegment) -> None:
        self.segments.update(dict.fromkeys(entry_ids, segment))

    async def delete_records(self, before: datetime, limit: int) -> int:
        old = [scope for scope, record in self.records.items() if record.at < before][:limit]
        for scope in old:
            del self.records[scope]
        return len(old)

    async def find_unbalanced(self) -> str | None:
        sums: dict[tuple[str, str], int] = defaultdict(int)
        for posting in self.postings:
            sums[posting.transaction_id, posting.currency] += posting.amount_minor
        return next((transaction_id for (transaction_id, _), total in sums.items() if total), None)

    async def find_orphan(self) -> str | None:
        audited = {entry.payment_id for entry in self.audit}
        for posting in self.postings:
            if posting.payment_id not in self.payments:
                return f"posting {posting.transaction_id}"
        return next((f"payment {id_}" for id_ in self.payments if id_ not in audited), None)

    async def booked_payments(self) -> AsyncIterator[BookedPayment]:
        for payment in sorted(self.payments.values(), key=lambda payment: payment.id):
            operations = await self.operations(payment.id)
            refunds_minor = sum(
                refund.amount_minor
                for refund in await self.refunds(payment.id)
                if refund.state is RefundState.SUCCEEDED
            )
            yield BookedPayment(
                payment=payment,
                balances=balances_of(p for p in self.postings if p.payment_id == payment.id),
                refunds_minor=refunds_minor,
                processors=frozenset(operation.processor for operation in operations),
                has_open_operation=any(operation.is_open for operation in operations),
            )

    async def count(self) -> int:
        return len(self.payments)

    async def last_segment(self) -> ArchivedSegment | None:
        return max(self.segments.values(), default=None)

    async def audit_entries(self, entry_ids: Sequence[str]) -> list[AuditEntry]:
        wanted = set(entry_ids)
        return [entry for entry in self.audit if entry.id in wanted]
