"""A change: everything that one step writes, as one value.

`store.commit(change)` writes all of it or nothing. So a payment never lacks its audit entry, a
message never speaks of a payment that was not saved, and a result never lacks the idempotency
record that replays it. `delivery/relay.py` sends the messages afterwards.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from remit.domain.caller import KeyScope, Mode
from remit.domain.ledger import Posting, check_balanced
from remit.domain.operation import Operation
from remit.domain.payment import Payment
from remit.domain.refund import Refund


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the audit trail: who took which action, and its outcome. Holds no card data."""

    id: str
    at: datetime
    merchant_id: str
    mode: Mode
    actor: str
    request_id: str
    action: str
    outcome: str
    payment_id: str | None = None
    refund_id: str | None = None
    state: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    code: str | None = None
    param: str | None = None


class Topic(StrEnum):
    """Where a message goes: to our workers, to the merchant, or to the operators."""

    WORK = "work"
    NOTIFICATIONS = "notifications"
    ALERTS = "alerts"


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message, delivered at least once. Consumers recognise a repeat by its `id`.

    In a notification, `kind` is the event and `status` the state, both by the names of `/v1`.
    `payment_version` grows with every change of the payment: of two notifications that come in the
    wrong order, the one with the smaller version is out of date.
    """

    id: str
    topic: Topic
    kind: str
    created_at: datetime
    payment_id: str | None = None
    refund_id: str | None = None
    operation_id: str | None = None
    merchant_id: str | None = None
    mode: Mode | None = None
    payment_version: int | None = None
    status: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    detail: str | None = None


UNREADABLE = "unreadable"
"""The kind given to a message whose body cannot be decoded."""


class KeyUse(StrEnum):
    """What a change does with an idempotency key."""

    CLAIM = "claim"
    COMPLETE = "complete"
    RELEASE = "release"


class IdempotencyRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first request under an idempotency key and, once known, the result to replay.

    A step on a payment is replayed from the payment and refund as they were after it. While
    `payment` is None the step is in flight, and `operation_id` names what it waits for. `queued`
    means that a worker takes the step. A route that stores its response is replayed from
    `response`, which is opaque here and is committed together with the change that it describes.
    """

    scope: KeyScope
    fingerprint: str
    at: datetime
    payment_id: str | None = None
    operation_id: str | None = None
    payment: Payment | None = None
    refund: Refund | None = None
    queued: bool = False
    response: bytes | None = None


class Conflict(StrEnum):
    """Why a change was not written: another change was committed first."""

    STALE = "stale"
    REFERENCE_TAKEN = "reference_taken"
    KEY_TAKEN = "key_taken"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one step writes.

    A payment, refund or operation of version 1 is inserted. Any other version replaces the one
    before it. `follow_up` is a new operation that gives back what `operation` did too late, or for
    a payment that was canceled meanwhile. A key is completed or released only if its record is of
    the same operation. Raises Unbalanced for postings that do not sum to zero.
    """

    audit: tuple[AuditEntry, ...]
    payment: Payment | None = None
    refund: Refund | None = None
    operation: Operation | None = None
    follow_up: Operation | None = None
    postings: tuple[Posting, ...] = ()
    messages: tuple[Message, ...] = ()
    record: IdempotencyRecord | None = None
    record_use: KeyUse = KeyUse.CLAIM

    def __post_init__(self) -> None:
        if self.postings:
            check_balanced(self.postings)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operation and the one that follows, as far as there are any."""
        both = (self.operation, self.follow_up)
        return tuple(operation for operation in both if operation is not None)

    def conflict_keys(self) -> list[object]:
        """What this change needs for itself. Two changes that share a key conflict, so a store
        does not write them in one batch.
        """
        keys: list[object] = []
        if self.payment is not None:
            keys.append(self.payment.id)
            if self.payment.version == 1 and self.payment.reference is not None:
                keys.append((self.payment.merchant_id, self.payment.mode, self.payment.reference))
        if self.refund is not None:
            keys.append(self.refund.id)
        keys.extend(operation.id for operation in self.operations)
        if self.record is not None:
            keys.append(self.record.scope)
        return keys
