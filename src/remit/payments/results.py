"""How a use case ends, as values: whoever called matches them exhaustively.

Also the two things every ending needs: the audit entry that records it, and the idempotency
record's answer to "has this been asked before".
"""

import msgspec

from remit.domain.change import AuditEntry, Caller, Change, IdempotencyRecord, Message, Topic
from remit.domain.errors import InvalidRequest, KeyReused, RemitError
from remit.domain.payment import EVENTS, REFUND_EVENTS, V1_STATUSES, Payment, Refund
from remit.ports.app import App


class Accepted(msgspec.Struct, frozen=True):
    """The step was taken. The payment's state says what came of it: it may be declined."""

    payment: Payment
    refund: Refund | None = None


class Replayed(msgspec.Struct, frozen=True):
    """The step had been taken before; this is how it ended then."""

    payment: Payment
    refund: Refund | None = None
    queued: bool = False


class Queued(msgspec.Struct, frozen=True):
    """A worker will take the step."""

    payment: Payment


class Rejected(msgspec.Struct, frozen=True):
    """Nothing was done, and why."""

    error: RemitError


StepResult = Accepted | Replayed | Queued | Rejected


def audit_entry(
    app: App,
    caller: Caller,
    action: str,
    outcome: str,
    payment: Payment | None = None,
    *,
    refund: Refund | None = None,
    error: RemitError | None = None,
    payment_id: str | None = None,
) -> AuditEntry:
    """The audit entry of one step: who tried what, what came of it, and never a card number."""
    subject = refund or payment
    failure = subject.failure if subject else None
    code = failure.code if failure else None
    param = None
    if error is not None:
        code = error.reason if isinstance(error, InvalidRequest) else error.code
        param = getattr(error, "param", None)
    return AuditEntry(
        id=app.new_id(),
        at=app.clock(),
        merchant_id=caller.merchant_id,
        mode=caller.mode,
        actor=caller.actor,
        request_id=caller.request_id,
        action=action,
        outcome=outcome,
        payment_id=payment.id if payment else payment_id,
        refund_id=refund.id if refund else None,
        state=payment.state if payment else None,
        amount_minor=subject.amount_minor if subject else None,
        currency=subject.currency if subject else None,
        code=code,
        param=param,
    )


def notification(app: App, payment: Payment, refund: Refund | None = None) -> Message:
    """The message that tells the merchant's side of a new status."""
    kind = REFUND_EVENTS[refund.state] if refund else EVENTS[payment.state]
    subject = refund or payment
    return Message(
        id=app.new_id(),
        topic=Topic.NOTIFICATIONS,
        kind=kind,
        created_at=app.clock(),
        payment_id=payment.id,
        refund_id=refund.id if refund else None,
        merchant_id=payment.merchant_id,
        mode=payment.mode,
        status=refund.state if refund else V1_STATUSES[payment.state],
        amount_minor=subject.amount_minor,
        currency=subject.currency,
    )


async def reject(
    app: App, caller: Caller, action: str, error: RemitError, *, payment_id: str | None = None
) -> Rejected:
    """Writes the refusal to the audit trail, and nothing else anywhere."""
    audit = audit_entry(app, caller, action, "refused", error=error, payment_id=payment_id)
    await app.store.commit(Change(audit=(audit,)))
    return Rejected(error)


def check_same_request(record: IdempotencyRecord, fingerprint: str) -> None:
    """Raises KeyReused when the key first came with another request."""
    if record.fingerprint != fingerprint:
        raise KeyReused("This Idempotency-Key was first used with a different request.")
