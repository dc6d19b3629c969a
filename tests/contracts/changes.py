"""Changes to commit: every type with every field set, so that a lost field is noticed."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from remit.domain.caller import Caller, KeyScope
from remit.domain.card import CardSummary
from remit.domain.change import AuditEntry, Change, IdempotencyRecord, Message, Topic
from remit.domain.ledger import Posting
from remit.domain.operation import (
    Approved,
    Declined,
    NextAction,
    NotDone,
    Operation,
    OperationKind,
    OperationState,
    Proposal,
    Reversed,
)
from remit.domain.payment import Payment, PendingOperation, State
from remit.domain.refund import Refund
from remit.ports.app import App
from tests.builders import an_operation

AT = datetime(2026, 11, 20, 12, 0, 0, 123_456, tzinfo=UTC)
CALLER = Caller("acme", "test", "key:k", "request")
BIG = 2**53 + 1
WORDS = 'Grüße "\\ \U0001f600'


def a_payment(app: App, **fields: Any) -> Payment:
    """A new payment with every field that a new payment can have."""
    defaults: dict[str, Any] = {
        "id": app.new_id(),
        "merchant_id": "acme",
        "mode": "test",
        "amount_minor": BIG,
        "currency": "USD",
        "created_at": AT,
        "fingerprint": "f" * 64,
        "customer_id": WORDS,
        "metadata": {WORDS: WORDS, "empty": ""},
        "card": CardSummary("visa", "4242", 12, 2030),
        "encrypted_card": "Y2lwaGVydGV4dA==",
        "due_at": AT + timedelta(days=7),
    }
    return Payment(**defaults | fields)


def a_pending_payment(app: App, **fields: Any) -> Payment:
    """A payment with a pending operation, and every field that such a payment can have."""
    pending = PendingOperation(
        operation_id=app.new_id(), kind=OperationKind.CAPTURE, previous_state=State.AUTHORIZED
    )
    pending_fields: dict[str, Any] = {
        "state": State.UNKNOWN,
        "pending": pending,
        "authorized_minor": 100,
        "captured_minor": 60,
        "refunded_minor": 20,
        "next_action": NextAction("https://issuer.test/3ds", AT),
        "failure": Declined("card_declined", WORDS, "generic_decline"),
        "processor": "scripted",
        "processor_reference": "ref",
        "processed_at": AT,
    }
    return a_payment(app, **pending_fields | fields)


def a_refund(app: App, payment: Payment, **fields: Any) -> Refund:
    defaults: dict[str, Any] = {
        "id": app.new_id(),
        "payment_id": payment.id,
        "merchant_id": payment.merchant_id,
        "mode": payment.mode,
        "amount_minor": 10,
        "currency": payment.currency,
        "created_at": AT,
    }
    return Refund(**defaults | fields)


def a_whole_operation(app: App, payment: Payment, **fields: Any) -> Operation:
    """A queued operation with every field that one can have, its result too."""
    defaults: dict[str, Any] = {
        "id": app.new_id(),
        "amount_minor": BIG,
        "caller": CALLER,
        "action": WORDS,
        "final": False,
        "refund_id": app.new_id(),
        "compensates": app.new_id(),
        "scope": KeyScope("acme", "test", "POST /capture", WORDS),
        "fingerprint": "f" * 64,
        "state": OperationState.QUEUED,
        "attempts": 3,
        "processes": 2,
        "sent_at": AT,
        "reference": WORDS,
        "is_received": True,
        "needs_decision": True,
        "proposal": Proposal("operator:ann", Approved(WORDS)),
        "late_result": NotDone(),
        "reversal": Reversed("failed_later", WORDS),
        "leased_until": AT + timedelta(seconds=15),
        "expires_at": AT + timedelta(days=4),
        "due_at": AT + timedelta(seconds=16),
        "result": Declined("card_declined", WORDS, "generic_decline"),
    }
    return an_operation(payment, OperationKind.CAPTURE, **defaults | fields)


def an_entry(app: App, payment: Payment | None = None, **fields: Any) -> AuditEntry:
    defaults: dict[str, Any] = {
        "id": app.new_id(),
        "at": AT,
        "merchant_id": "acme",
        "mode": "test",
        "actor": "key:k",
        "request_id": "request",
        "action": "validate",
        "outcome": "accepted",
        "payment_id": payment.id if payment else None,
        "state": "validated",
        "amount_minor": BIG,
        "currency": "USD",
        "code": "code",
        "param": "card.number",
    }
    return AuditEntry(**defaults | fields)


def a_message(app: App, topic: Topic = Topic.NOTIFICATIONS, **fields: Any) -> Message:
    defaults: dict[str, Any] = {
        "id": app.new_id(),
        "topic": topic,
        "kind": "payment_intent.created",
        "created_at": AT,
        "payment_id": app.new_id(),
        "operation_id": app.new_id(),
        "merchant_id": "acme",
        "mode": "test",
        "payment_version": 1,
        "status": "requires_confirmation",
        "amount_minor": BIG,
        "currency": "USD",
        "detail": WORDS,
    }
    return Message(**defaults | fields)


def a_record(key: str = "k", payment: Payment | None = None, **fields: Any) -> IdempotencyRecord:
    defaults: dict[str, Any] = {
        "scope": KeyScope("acme", "test", "POST /process", key),
        "fingerprint": "f" * 64,
        "at": AT,
        "payment_id": payment.id if payment else None,
        "payment": payment,
    }
    return IdempotencyRecord(**defaults | fields)


def postings_of(app: App, payment: Payment, amount_minor: int) -> tuple[Posting, Posting]:
    transaction_id = app.new_id()

    def line(number: int, account: str, amount: int) -> Posting:
        return Posting(transaction_id, number, payment.id, account, payment.currency, amount, AT)

    return (
        line(0, "test/processor/scripted", amount_minor),
        line(1, "test/merchant/acme", -amount_minor),
    )


def new(app: App, **fields: Any) -> Change:
    """The change that makes a new payment, with its audit entry."""
    payment = fields.pop("payment", None) or a_payment(app)
    return Change(payment=payment, audit=(an_entry(app, payment),), **fields)


def next_version(record: Payment | Refund | Operation, **fields: Any) -> Any:
    return replace(record, version=record.version + 1, **fields)
