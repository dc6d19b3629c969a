"""The results of a use case, and what every result leaves: an audit entry and a notification.

Results are values. A caller matches them exhaustively.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from msgspec.structs import replace

from remit.domain.caller import Caller
from remit.domain.change import AuditEntry, Change, IdempotencyRecord, Message, Topic
from remit.domain.errors import (
    ConnectionLost,
    InvalidRequest,
    KeyReused,
    RemitError,
    ResultUnknown,
)
from remit.domain.operation import Operation
from remit.domain.payment import EVENTS, V1_STATUSES, Payment
from remit.domain.refund import REFUND_EVENTS, Refund
from remit.ports.app import App


class Accepted(msgspec.Struct, frozen=True):
    """The step was taken. The state of the payment says how it ended: it may be declined."""

    payment: Payment
    refund: Refund | None = None


class Replayed(msgspec.Struct, frozen=True):
    """The step was taken before. The payment and refund are as they were after it."""

    payment: Payment
    refund: Refund | None = None
    queued: bool = False


class Queued(msgspec.Struct, frozen=True):
    """A worker will take the step."""

    payment: Payment


class Rejected(msgspec.Struct, frozen=True):
    """The step was not taken. `error` says why."""

    error: RemitError


StepResult = Accepted | Replayed | Queued | Rejected


def audit_entry(
    app: App,
    caller: Caller,
    action: str,
    outcome: str,
    payment: Payment | None = None,
    refund: Refund | None = None,
) -> AuditEntry:
    """The audit entry of one step, with the amount and failure of the refund or payment."""
    subject = refund or payment
    return AuditEntry(
        id=app.new_id(),
        at=app.clock(),
        merchant_id=caller.merchant_id,
        mode=caller.mode,
        actor=caller.actor,
        request_id=caller.request_id,
        action=action,
        outcome=outcome,
        payment_id=payment.id if payment else None,
        refund_id=refund.id if refund else None,
        state=payment.state if payment else None,
        amount_minor=subject.amount_minor if subject else None,
        currency=subject.currency if subject else None,
        code=subject.failure.code if subject and subject.failure else None,
    )


def with_error(entry: AuditEntry, error: RemitError) -> AuditEntry:
    """The audit entry with the code of an error, and the field that the error names."""
    return replace(
        entry,
        code=error.reason if isinstance(error, InvalidRequest) else error.code,
        param=getattr(error, "param", None),
    )


def notification(app: App, payment: Payment, refund: Refund | None = None) -> Message:
    """The message that notifies the merchant of the new status of a payment or refund."""
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
        payment_version=payment.version,
        status=refund.state if refund else V1_STATUSES[payment.state],
        amount_minor=subject.amount_minor,
        currency=subject.currency,
    )


def alert(app: App, kind: str, detail: str, operation: Operation | None = None) -> Message:
    """The message that alerts the operators, of an operation or of none that is known."""
    return Message(
        id=app.new_id(),
        topic=Topic.ALERTS,
        kind=kind,
        created_at=app.clock(),
        payment_id=operation.payment_id if operation else None,
        operation_id=operation.id if operation else None,
        detail=detail,
    )


@contextmanager
def may_be_written() -> Iterator[None]:
    """For the commit of a step. Raises ResultUnknown if it may be written though its connection was
    lost: then a worker finishes the step, and the same request under the same key finds it.
    """
    try:
        yield
    except ConnectionLost as error:
        raise ResultUnknown from error


async def reject(
    app: App, caller: Caller, action: str, error: RemitError, *, payment_id: str | None = None
) -> Rejected:
    """Rejects a step: commits its audit entry and nothing else."""
    entry = replace(audit_entry(app, caller, action, "refused"), payment_id=payment_id)
    await app.store.commit(Change(audit=(with_error(entry, error),)))
    return Rejected(error)


def check_same_request(record: IdempotencyRecord, fingerprint: str) -> None:
    """Raises KeyReused if the key was first used with another request."""
    if record.fingerprint != fingerprint:
        raise KeyReused("This Idempotency-Key was first used with a different request.")
