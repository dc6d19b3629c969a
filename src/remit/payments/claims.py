"""Claims: an operation with the payment, and the refund, that wait for it.

A claim is committed before the processor is called. So if the service dies at any moment after
that, the store says what may have been sent.
"""

from datetime import timedelta
from typing import NamedTuple

from msgspec.structs import replace

from remit.domain.caller import Caller
from remit.domain.change import IdempotencyRecord, Message, Topic
from remit.domain.errors import Unavailable
from remit.domain.operation import Operation, OperationKind, OperationState
from remit.domain.payment import Payment
from remit.domain.refund import Refund, RefundState
from remit.ports.app import App

MAX_WAIT = timedelta(hours=1)
"""The longest wait before an operation without a result is taken up again."""

MAX_RACES = 20
"""How often a step is taken again after another step changed the same records first."""


class Claim(NamedTuple):
    """An operation with the payment, and the refund, that wait for it, as last read or written."""

    operation: Operation
    payment: Payment
    refund: Refund | None = None


def new_operation(
    app: App,
    caller: Caller,
    payment: Payment,
    *,
    kind: OperationKind,
    action: str,
    amount_minor: int,
    **fields: object,
) -> Operation:
    """An operation that this process is about to send, to the processor that has the payment's
    money, or with a card to the configured one.
    """
    now = app.clock()
    until = now + app.settings.claim_lease
    operation = Operation(
        id=app.new_id(),
        kind=kind,
        payment_id=payment.id,
        processor=payment.processor or app.processor.name,
        amount_minor=amount_minor,
        currency=payment.currency,
        created_at=now,
        caller=caller,
        action=action,
        attempts=1,
        processes=1,
        sent_at=now,
        leased_until=until,
        due_at=until,
    )
    return replace(operation, **fields)


def queued_operation(app: App, operation: Operation) -> Operation:
    """The new operation for a worker instead, which sends it until it expires.

    Its message can be lost to the dead letters. The sweep sends another one.
    """
    expires_at = operation.created_at + timedelta(seconds=app.settings.queue_retention_seconds)
    due_at = min(operation.created_at + MAX_WAIT, expires_at)
    return replace(_unsent(operation), expires_at=expires_at, due_at=due_at)


def compensation_of(app: App, caller: Caller, claim: Claim, reference: str) -> Operation | None:
    """The operation that gives back what `claim` did too late, as the processor's `reference`.

    None if nothing can be given back: a refund is with the payer, and a void is done.
    """
    late = claim.operation
    match late.kind:
        case OperationKind.CHARGE | OperationKind.CAPTURE:
            kind = OperationKind.REFUND
        case OperationKind.AUTHORIZE:
            kind = OperationKind.VOID
        case _:
            return None
    operation = new_operation(
        app,
        replace(caller, merchant_id=claim.payment.merchant_id, mode=claim.payment.mode),
        claim.payment,
        kind=kind,
        action="compensate",
        amount_minor=late.amount_minor,
        processor=late.processor,
        compensates=late.id,
        reference=claim.payment.processor_reference or reference,
    )
    return _unsent(operation)


def cancellation_of(
    app: App, caller: Caller, payment: Payment, kind: OperationKind
) -> tuple[Operation, Payment, Refund | None]:
    """What cancels a payment whose operation of this kind was approved after the cancel had come:
    the void of its authorization or the refund of its charge, and the payment that waits for it.
    """
    if kind is OperationKind.AUTHORIZE:
        amount_minor = payment.amount_of(OperationKind.VOID)
        void = new_operation(
            app,
            caller,
            payment,
            kind=OperationKind.VOID,
            action="cancel",
            amount_minor=amount_minor,
        )
        return _unsent(void), payment.claim(void), None
    amount_minor = payment.refundable_minor
    refund = new_refund(app, payment, amount_minor)
    operation = new_operation(
        app,
        caller,
        payment,
        kind=OperationKind.REFUND,
        action="cancel",
        amount_minor=amount_minor,
        refund_id=refund.id,
    )
    return _unsent(operation), payment.reserve_refund(amount_minor), refund


def new_refund(app: App, payment: Payment, amount_minor: int) -> Refund:
    return Refund(
        id=app.new_id(),
        payment_id=payment.id,
        merchant_id=payment.merchant_id,
        mode=payment.mode,
        amount_minor=amount_minor,
        currency=payment.currency,
        created_at=app.clock(),
    )


def _unsent(operation: Operation) -> Operation:
    """The new operation as one that no process has taken, and that is promised."""
    return replace(
        operation,
        is_promised=True,
        state=OperationState.QUEUED,
        attempts=0,
        processes=0,
        sent_at=None,
        leased_until=None,
    )


def key_record(operation: Operation, after: Claim | None = None) -> IdempotencyRecord | None:
    """The record of the caller's idempotency key: in flight, or with the result to replay."""
    if operation.scope is None:
        return None
    return IdempotencyRecord(
        scope=operation.scope,
        fingerprint=operation.fingerprint,
        at=operation.created_at,
        payment_id=operation.payment_id,
        operation_id=operation.id,
        payment=after and replace(after.payment, encrypted_card=None),
        refund=after and after.refund,
    )


def operation_message(app: App, operation: Operation) -> Message:
    """A message that makes a worker send the operation. It names the operation, so that one that
    comes late or twice finds out that it has ended.
    """
    return Message(
        id=app.new_id(),
        topic=Topic.WORK,
        kind="operation",
        created_at=app.clock(),
        payment_id=operation.payment_id,
        refund_id=operation.refund_id,
        operation_id=operation.id,
        merchant_id=operation.caller.merchant_id,
        mode=operation.caller.mode,
    )


async def read_claim(app: App, operation_id: str) -> Claim | None:
    """The operation with what waits for it, or None if there is none.

    They are read one after the other, and read again if the operation ended in between.
    """
    for _ in range(MAX_RACES):
        operation = await app.store.operation(operation_id)
        if operation is None:
            return None
        payment = await app.store.payment(operation.payment_id)
        if payment is None:
            raise AssertionError("payments are never deleted")
        refund = None
        is_awaited = payment.awaits(operation) or operation.compensates is not None
        if operation.refund_id is not None:
            refund = await app.store.refund(operation.refund_id)
            is_awaited = refund is not None and refund.state is RefundState.PENDING
        if is_awaited or not operation.is_open:
            return Claim(operation, payment, refund)
    raise Unavailable("The payment is changing too fast. Try again.")


async def read_again(app: App, claim: Claim) -> Claim:
    """The claim as it is by now."""
    current = await read_claim(app, claim.operation.id)
    if current is None:
        raise AssertionError("operations are never deleted")
    return current
