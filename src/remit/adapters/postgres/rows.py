"""The rows that a batch of changes writes, as JSON for the store's statements."""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter

import msgspec

from remit.domain.caller import Mode
from remit.domain.change import Change, IdempotencyRecord, KeyUse, Message
from remit.domain.operation import Operation
from remit.domain.payment import Payment

_encode = msgspec.json.Encoder().encode

DEFAULTS = _encode(
    {
        field.name: field.default
        for field in msgspec.structs.fields(Payment)
        if field.default not in (msgspec.NODEFAULT, None)
    }
).decode()
"""The defaults of a payment that are not null. Its JSON leaves them out."""


class _RecordRow(msgspec.Struct, frozen=True):
    use: KeyUse
    merchant_id: str
    mode: Mode
    operation: str
    key: str
    at: datetime
    record: IdempotencyRecord


class _OperationRow(msgspec.Struct, frozen=True):
    id: str
    payment_id: str
    version: int
    due_at: datetime | None
    operation: Operation


class _MessageRow(msgspec.Struct, frozen=True):
    id: str
    created_at: datetime
    message: Message


def tables_of(changes: Sequence[Change]) -> list[str]:
    """The rows that a batch writes into each table, as JSON, in the order of COMMIT's parameters.

    Payments, refunds and operations are sorted by id. Two processes that change the same ones then
    lock them in the same order, and do not meet in a deadlock.
    """
    payments = [change.payment for change in changes if change.payment is not None]
    refunds = [change.refund for change in changes if change.refund is not None]
    operations = [operation for change in changes for operation in change.operations]
    tables = (
        sorted(payments, key=attrgetter("id")),
        sorted(refunds, key=attrgetter("id")),
        [
            _record_row(change.record_use, change.record)
            for change in changes
            if change.record is not None
        ],
        [entry for change in changes for entry in change.audit],
        [posting for change in changes for posting in change.postings],
        [
            _MessageRow(message.id, message.created_at, message)
            for change in changes
            for message in change.messages
        ],
        [
            _OperationRow(o.id, o.payment_id, o.version, o.due_at, o)
            for o in sorted(operations, key=attrgetter("id"))
        ],
    )
    return [_encode(table).decode() for table in tables]


def _record_row(use: KeyUse, record: IdempotencyRecord) -> _RecordRow:
    scope = record.scope
    return _RecordRow(
        use, scope.merchant_id, scope.mode, scope.operation, scope.key, record.at, record
    )
