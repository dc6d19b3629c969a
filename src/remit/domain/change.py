"""What one step writes, as one value: `store.commit(change)` writes all of it or nothing.

No payment without its audit entry, no message for an unsaved payment, no outcome without the
idempotency record that replays it. Delivery of the messages is elsewhere (`deliver.py`).
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from remit.domain.ledger import Posting, check_balanced
from remit.domain.payment import Mode, Payment, Refund


class Caller(msgspec.Struct, frozen=True):
    """Who asks: an API key of a merchant, or one of our own processes acting for it."""

    merchant_id: str
    mode: Mode
    actor: str
    request_id: str


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was tried, by whom, and what came of it. Never holds card data."""

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
    """Where a message goes: to our own workers, to the merchant's side, or to the operators."""

    WORK = "work"
    NOTIFICATIONS = "notifications"
    ALERTS = "alerts"


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something to deliver at least once. Consumers recognise a repeat by `id`.

    In a notification, `kind` is the event and `status` the state, both by the names of `/v1`.
    """

    id: str
    topic: Topic
    kind: str
    created_at: datetime
    payment_id: str | None = None
    refund_id: str | None = None
    merchant_id: str | None = None
    mode: Mode | None = None
    status: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    detail: str | None = None


UNREADABLE = "unreadable"
"""The kind that stands for a message whose body nobody can read."""


class KeyScope(msgspec.Struct, frozen=True):
    """What an idempotency key is unique within: one merchant, one mode, one operation."""

    merchant_id: str
    mode: Mode
    operation: str
    key: str


class KeyUse(StrEnum):
    """What a change does with an idempotency key."""

    CLAIM = "claim"
    COMPLETE = "complete"
    RELEASE = "release"


class IdempotencyRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first request under a key and, once known, its outcome as it is to be replayed.

    A step on a payment is replayed from the payment and refund as they were then, and is in flight
    while `payment` is None. `queued` says that it was accepted for later. Anything else is replayed
    from `response`, which is opaque here and was committed with what it tells of.
    """

    scope: KeyScope
    fingerprint: str
    at: datetime
    payment_id: str | None = None
    payment: Payment | None = None
    refund: Refund | None = None
    queued: bool = False
    response: bytes | None = None


class Conflict(StrEnum):
    """Why a change was not written: somebody else was first."""

    STALE = "stale"
    REFERENCE_TAKEN = "reference_taken"
    KEY_TAKEN = "key_taken"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one step writes. A version of 1 is new; any other replaces the one before it."""

    audit: tuple[AuditEntry, ...]
    payment: Payment | None = None
    refund: Refund | None = None
    postings: tuple[Posting, ...] = ()
    messages: tuple[Message, ...] = ()
    record: IdempotencyRecord | None = None
    record_use: KeyUse = KeyUse.CLAIM

    def __post_init__(self) -> None:
        if self.postings:
            check_balanced(self.postings)

    def conflict_keys(self) -> list[object]:
        """What this change wants to itself: two that share one cannot be written together."""
        wanted: list[object] = []
        if self.payment is not None:
            wanted.append(self.payment.id)
            if self.payment.version == 1 and self.payment.reference is not None:
                wanted.append((self.payment.merchant_id, self.payment.mode, self.payment.reference))
        if self.refund is not None:
            wanted.append(self.refund.id)
        if self.record is not None:
            wanted.append(self.record.scope)
        return wanted
