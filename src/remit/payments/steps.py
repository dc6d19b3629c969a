"""The steps of a payment: claimed and sent to the processor, or replayed, or rejected.

Of two steps at once on one payment, one commits its claim. The other reads the payment again and
finds the result of the first.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import msgspec
from msgspec.structs import replace

from remit.domain.caller import Caller, KeyScope
from remit.domain.card import Card
from remit.domain.change import Change, Conflict, IdempotencyRecord
from remit.domain.errors import (
    CardUnreadable,
    InvalidState,
    NotFound,
    ProcessorUnavailable,
    ResultUnknown,
    Unavailable,
)
from remit.domain.ids import is_id
from remit.domain.operation import (
    NEEDS_CARD,
    NotDone,
    Operation,
    OperationKind,
    OperationState,
)
from remit.domain.payment import Payment, State
from remit.payments.claims import MAX_RACES, Claim, key_record, new_operation, read_claim
from remit.payments.operations import advance, send
from remit.payments.replay import replay_key, replay_payment
from remit.payments.results import (
    Accepted,
    Queued,
    Rejected,
    StepResult,
    audit_entry,
    may_be_written,
    notification,
    reject,
)
from remit.ports.app import App
from remit.ports.processor import Capabilities

FindEarlier = Callable[[Payment, "Step"], Payment | None]
"""Returns the payment if it already has the result of this step."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step that a caller takes on a payment, and its idempotency key."""

    action: str
    kind: OperationKind
    payment_id: str
    card: Card | None = None
    amount_minor: int | None = None
    final: bool = True
    scope: KeyScope | None = None
    fingerprint: str = ""


async def replay_pending_charge(
    app: App, caller: Caller, payment: Payment, step: Step
) -> StepResult:
    """A charge that is on its way already is the one that is asked for."""
    pending = payment.pending
    if pending is None or pending.kind is not OperationKind.CHARGE or step.card is not None:
        if (result := await replay_key_of(app, caller, step)) is not None:
            return result
        return await _reject_in_progress(app, caller, step)
    return await replay_step(app, caller, step, payment, queued=True)


async def run_step(app: App, caller: Caller, step: Step, find_earlier: FindEarlier) -> StepResult:
    """Runs the step: claims the payment and calls the processor, or replays or rejects.

    Nothing is rejected for the payment's state before the step's key was looked up. Raises
    ResultUnknown if the database fails when the step may have been taken.
    """
    is_sent = False
    try:
        for _ in range(MAX_RACES):
            taken = await _take_step(app, caller, step, find_earlier)
            if isinstance(taken, Claim):
                # Another process ended the operation, and the payment has changed since.
                is_sent = True
            elif taken is not None:
                return taken
    except Unavailable as error:
        if is_sent:
            raise ResultUnknown from error
        raise
    if is_sent:
        raise ResultUnknown
    raise Unavailable("The payment is changing too fast. Try again.")


async def _take_step(
    app: App, caller: Caller, step: Step, find_earlier: FindEarlier
) -> StepResult | Claim | None:
    """The step's result. None if another step was first, and the claim if it was sent and is to be
    found as any earlier request is.
    """
    payment = await find_payment(app, caller, step)
    if isinstance(payment, Rejected):
        return payment
    if (earlier := find_earlier(payment, step)) is not None:
        return await replay_step(app, caller, step, earlier)
    if payment.pending is not None:
        return await _meet_pending(app, caller, payment, step)
    try:
        if step.kind is OperationKind.VOID and payment.state is not State.AUTHORIZED:
            return await _cancel(app, caller, step, payment.cancel())
        claimed, card = await with_card(app, payment, step)
        operation = operation_of(app, caller, claimed, step)
        claimed = claimed.claim(operation)
    except InvalidState as error:
        return await replay_or_reject(app, caller, step, error)
    change = Change(
        payment=claimed,
        operation=operation,
        audit=(audit_entry(app, caller, step.action, "claimed", claimed),),
        record=key_record(operation),
    )
    with may_be_written():
        conflict = await app.store.commit(change)
    match conflict:
        case None:
            return await _send(app, caller, Claim(operation, claimed), card)
        case Conflict.KEY_TAKEN:
            return await replay_key_of(app, caller, step)
        case _:
            return None


async def _send(app: App, caller: Caller, claim: Claim, card: Card | None) -> StepResult | Claim:
    """What the step came to. The claim if another process ended its operation and the payment has
    changed since.
    """
    try:
        after = await send(app, caller, claim, card)
    except Unavailable as error:
        raise ResultUnknown from error
    if after.operation.state is OperationState.NOT_DONE:
        return Rejected(ProcessorUnavailable("The processor cannot be reached. Try again."))
    is_next = after.payment.version <= claim.payment.version + 1
    return Accepted(after.payment, after.refund) if after.operation.is_open or is_next else after


async def _meet_pending(
    app: App, caller: Caller, payment: Payment, step: Step
) -> StepResult | None:
    """What a step comes to while an operation is pending on its payment. None to try again.

    The operation is sent again if no process is on it. A payment whose operation is still queued is
    canceled with it. If its charge or authorization was sent, the cancel is remembered.
    """
    if payment.pending is None:
        raise AssertionError("an operation is pending")
    if (result := await replay_key_of(app, caller, step)) is not None:
        return result
    claim = await read_claim(app, payment.pending.operation_id)
    if claim is None:
        raise AssertionError("operations are never deleted")
    operation = claim.operation
    if not claim.payment.awaits(operation):
        return None
    if step.kind is OperationKind.VOID and operation.state is OperationState.QUEUED:
        canceled = claim.payment.cancel_queued(operation)
        return await _cancel(app, caller, step, canceled, operation.end(NotDone()))
    if step.kind is OperationKind.VOID and operation.kind in NEEDS_CARD:
        return await _remember_cancel(app, caller, step, claim)
    if not operation.is_leased(app.clock()):
        try:
            after = await advance(app, caller, operation.id)
        except Unavailable as error:
            raise ResultUnknown from error
        if after is not None and after.payment.pending is None:
            return None
    if claim.payment.next_action is not None and step.kind is operation.kind and not step.card:
        # Nothing is kept under a new key of the request: it will be answered with the result.
        return await replay_payment(app, caller, step.action, claim.payment, None)
    return await _reject_in_progress(app, caller, step)


def operation_of(app: App, caller: Caller, payment: Payment, step: Step) -> Operation:
    """The operation of the step. Raises InvalidState if the payment or the processor does not allow
    it.
    """
    _check_capable(app.processor.capabilities, payment, step)
    return new_operation(
        app,
        caller,
        payment,
        kind=step.kind,
        action=step.action,
        amount_minor=payment.amount_of(step.kind, step.amount_minor),
        final=step.final,
        scope=step.scope,
        fingerprint=step.fingerprint,
    )


def _check_capable(capabilities: Capabilities, payment: Payment, step: Step) -> None:
    currencies = capabilities.currencies
    if step.kind in NEEDS_CARD and currencies is not None and payment.currency not in currencies:
        raise InvalidState(f"The processor takes no payments in {payment.currency}.")
    if step.kind is OperationKind.CAPTURE and not step.final and not capabilities.multi_capture:
        raise InvalidState("The processor captures an authorization once: a capture must be final.")


async def with_card(app: App, payment: Payment, step: Step) -> tuple[Payment, Card | None]:
    """The payment with the card of the step, if it has one; and the card to charge.

    Raises InvalidState.
    """
    if step.kind not in NEEDS_CARD:
        return payment, None
    if step.card is None:
        return payment, await _decrypt_card(app, payment)
    encrypted = await app.vault.encrypt(step.card, payment.id)
    erase_at: datetime = app.clock() + app.settings.card_retention
    return payment.with_card(step.card.summary(), encrypted, due_at=erase_at), step.card


async def _decrypt_card(app: App, payment: Payment) -> Card | None:
    """The payment's stored card, or None if it never had one. Raises InvalidState if it is lost."""
    if payment.card is None:
        return None
    if payment.encrypted_card is None:
        raise InvalidState(
            "The card of this payment has been erased. Send it again with the request."
        )
    try:
        return await app.vault.decrypt(payment.encrypted_card, payment.id)
    except CardUnreadable as error:
        raise InvalidState(
            "The card of this payment can no longer be read. Send it again with the request."
        ) from error


async def _cancel(
    app: App, caller: Caller, step: Step, canceled: Payment, ended: Operation | None = None
) -> StepResult | None:
    """Cancels a payment of which the processor holds no money, and ends its queued operation if it
    has one. None to try again.
    """
    record = None
    if step.scope is not None:
        record = IdempotencyRecord(
            scope=step.scope,
            fingerprint=step.fingerprint,
            at=app.clock(),
            payment_id=canceled.id,
            payment=canceled,
        )
    change = Change(
        payment=canceled,
        operation=ended,
        audit=(audit_entry(app, caller, step.action, "done", canceled),),
        messages=(notification(app, canceled),),
        record=record,
    )
    with may_be_written():
        conflict = await app.store.commit(change)
    match conflict:
        case None:
            return Accepted(canceled)
        case Conflict.KEY_TAKEN:
            return await replay_key_of(app, caller, step)
        case _:
            return None


async def _remember_cancel(app: App, caller: Caller, step: Step, claim: Claim) -> StepResult | None:
    """Promises the cancel, which is done once the pending operation has a result. None to try
    again.
    """
    pending = claim.payment.pending
    if pending is not None and pending.canceled_by is not None:
        return await replay_step(app, caller, step, claim.payment, queued=True)
    remembered = claim.payment.remember_cancel(caller)
    record = None
    if step.scope is not None:
        record = IdempotencyRecord(
            scope=step.scope,
            fingerprint=step.fingerprint,
            at=app.clock(),
            payment_id=remembered.id,
            payment=replace(remembered, encrypted_card=None),
            queued=True,
        )
    now, operation = app.clock(), claim.operation
    if operation.awaits_payer(now):
        operation = operation.give_up_payer(now=now)
    change = Change(
        payment=remembered,
        operation=operation if operation is not claim.operation else None,
        audit=(audit_entry(app, caller, step.action, "queued", remembered),),
        record=record,
    )
    with may_be_written():
        conflict = await app.store.commit(change)
    match conflict:
        case None:
            if not operation.is_leased(now):
                with suppress(Unavailable):  # the sweep takes the operation up
                    await advance(app, caller, operation.id)
            return Queued(remembered)
        case Conflict.KEY_TAKEN:
            return await replay_key_of(app, caller, step)
        case _:
            return None


async def replay_key_of(app: App, caller: Caller, step: Step) -> StepResult | None:
    if step.scope is None:
        return None
    return await replay_key(app, caller, step.action, step.scope, step.fingerprint)


async def replay_step(
    app: App, caller: Caller, step: Step, earlier: Payment, *, queued: bool = False
) -> StepResult:
    """Replays the first result under the step's key, or the result that the payment has."""
    for _ in range(MAX_RACES):
        if (result := await replay_key_of(app, caller, step)) is not None:
            return result
        record = None
        if step.scope is not None:
            record = IdempotencyRecord(
                scope=step.scope, fingerprint=step.fingerprint, at=app.clock()
            )
        replayed = await replay_payment(app, caller, step.action, earlier, record, queued=queued)
        if replayed is not None:
            return replayed
    raise Unavailable("The payment is changing too fast. Try again.")


async def replay_or_reject(app: App, caller: Caller, step: Step, error: InvalidState) -> StepResult:
    """Rejects the step for the payment's state, unless its key has a result."""
    if (result := await replay_key_of(app, caller, step)) is not None:
        return result
    return await reject(app, caller, step.action, error, payment_id=step.payment_id)


async def find_payment(app: App, caller: Caller, step: Step) -> Payment | Rejected:
    payment = await app.store.payment(step.payment_id) if is_id(step.payment_id) else None
    if payment and (payment.merchant_id, payment.mode) == (caller.merchant_id, caller.mode):
        return payment
    error = NotFound("payment", param="transaction_id")
    return await reject(app, caller, step.action, error)


async def _reject_in_progress(app: App, caller: Caller, step: Step) -> StepResult:
    error = InvalidState("The payment is being processed.", retry_after_seconds=1)
    return await reject(app, caller, step.action, error, payment_id=step.payment_id)
