"""Processes a payment, and the steps beside it: authorize, capture, cancel.

Each step reads the payment, claims it, and calls the processor through `payments/operations.py`.
Of two steps at once on one payment, one commits its claim. The other reads the payment again and
finds the result of the first.
"""

from collections.abc import Callable
from typing import Annotated

import msgspec

from remit.domain.card import Card
from remit.domain.change import Caller, Change, Conflict, IdempotencyRecord, KeyScope, KeyUse
from remit.domain.errors import (
    CardUnreadable,
    InvalidRequest,
    InvalidState,
    KeyInFlight,
    NotFound,
    RemitError,
    Unavailable,
)
from remit.domain.ids import is_id
from remit.domain.payment import Operation, Payment, State
from remit.payments.operations import (
    NEEDS_CARD,
    ProcessorCall,
    call_processor,
    resolve,
    work_message,
)
from remit.payments.results import (
    Accepted,
    Queued,
    Rejected,
    Replayed,
    StepResult,
    audit_entry,
    check_same_request,
    notification,
    reject,
)
from remit.payments.validate import CardInput, CardNumber, parse_card
from remit.ports.app import App

MAX_RACES = 20
"""How often a step is taken again after another step changed the payment first."""


class ProcessRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /process`. A `card` replaces the one that was validated."""

    transaction_id: Annotated[str, msgspec.Meta(max_length=64)]
    card: CardInput | CardNumber | None = None

    def __repr__(self) -> str:
        return f"ProcessRequest({self.transaction_id!r})"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step that a caller takes on a payment, and its idempotency key.

    A worker's step has `requeue` False: its message returns to the queue instead.
    """

    action: str
    operation: Operation
    payment_id: str
    card: Card | None = None
    amount_minor: int | None = None
    final: bool = True
    scope: KeyScope | None = None
    fingerprint: str = ""
    requeue: bool = True


async def process(
    app: App,
    caller: Caller,
    request: ProcessRequest,
    key: KeyScope | None = None,
    *,
    requeue: bool = True,
) -> StepResult:
    """Charges the payment. A second call replays the first result, with or without a key."""
    try:
        step = _step(app, "process", Operation.CHARGE, request, key, requeue=requeue)
    except InvalidRequest as error:
        return await reject(app, caller, "process", error)
    return await _run_step(app, caller, step, _processed_before)


async def authorize(
    app: App, caller: Caller, request: ProcessRequest, key: KeyScope | None = None
) -> StepResult:
    """Reserves the payment's amount at the processor. It can be captured or canceled later."""
    try:
        step = _step(app, "authorize", Operation.AUTHORIZE, request, key)
    except InvalidRequest as error:
        return await reject(app, caller, "authorize", error)
    return await _run_step(app, caller, step, _never_before)


async def capture(
    app: App,
    caller: Caller,
    payment_id: str,
    *,
    amount_minor: int | None = None,
    final: bool = True,
    key: KeyScope | None = None,
) -> StepResult:
    """Captures `amount_minor`, or all that is left. Unless `final`, more can be captured later."""
    step = Step(
        action="capture",
        operation=Operation.CAPTURE,
        payment_id=payment_id,
        amount_minor=amount_minor,
        final=final,
        scope=key,
        fingerprint=_fingerprint(app, payment_id, amount_minor, final),
    )
    return await _run_step(app, caller, step, _never_before)


async def cancel(
    app: App, caller: Caller, payment_id: str, *, key: KeyScope | None = None
) -> StepResult:
    """Cancels a payment without captured money. An authorization is voided at the processor."""
    step = Step(
        action="cancel",
        operation=Operation.VOID,
        payment_id=payment_id,
        scope=key,
        fingerprint=_fingerprint(app, payment_id),
    )
    return await _run_step(app, caller, step, _canceled_before)


async def enqueue(
    app: App, caller: Caller, request: ProcessRequest, key: KeyScope | None = None
) -> StepResult:
    """Queues the payment for a worker to process. A payment processed before is replayed."""
    try:
        step = _step(app, "process", Operation.CHARGE, request, key)
    except InvalidRequest as error:
        return await reject(app, caller, "process", error)
    for _ in range(MAX_RACES):
        payment = await _find_payment(app, caller, step)
        if isinstance(payment, Rejected):
            return payment
        if (earlier := _processed_before(payment, step)) is not None:
            return await _replay(app, caller, step, earlier)
        queued = payment
        if step.card is not None:
            try:
                encrypted = await app.vault.encrypt(step.card, payment.id)
                queued = payment.with_card(step.card.summary(), encrypted)
            except InvalidState as error:
                return await reject(app, caller, step.action, error, payment_id=payment.id)
            due_at = app.clock() + app.settings.card_retention
            queued = msgspec.structs.replace(queued, version=payment.version + 1, due_at=due_at)
        record = _record(app, step, queued)
        change = Change(
            payment=None if queued is payment else queued,
            audit=(audit_entry(app, caller, step.action, "queued", queued),),
            messages=(work_message(app, caller, step.action, queued),),
            record=record
            and msgspec.structs.replace(
                record, payment=msgspec.structs.replace(queued, encrypted_card=None), queued=True
            ),
        )
        match await app.store.commit(change):
            case None:
                return Queued(queued)
            case Conflict.KEY_TAKEN:
                if (result := await _replay_key(app, caller, step)) is not None:
                    return result
            case _:
                continue
    raise Unavailable("The payment is changing too fast. Try again.")


async def _run_step(
    app: App, caller: Caller, step: Step, find_earlier: "Callable[[Payment, Step], Payment | None]"
) -> StepResult:
    """Runs the step: claims the payment and calls the processor, or replays or rejects.

    `find_earlier` returns the payment if it already has the result of this step.
    """
    record_use = KeyUse.CLAIM
    for _ in range(MAX_RACES):
        payment = await _find_payment(app, caller, step)
        if isinstance(payment, Rejected):
            return payment
        if (earlier := find_earlier(payment, step)) is not None:
            return await _replay(app, caller, step, earlier)
        if payment.pending is not None:
            if payment.pending.until > app.clock():
                return await _reject_in_progress(app, caller, step)
            await resolve(app, caller, payment)
            continue
        try:
            if step.operation is Operation.VOID and payment.state is not State.AUTHORIZED:
                return await _cancel_without_call(app, caller, payment, step)
            claimed, card = await _claim(app, payment, step)
        except InvalidState as error:
            return await reject(app, caller, step.action, error, payment_id=payment.id)
        record = _record(app, step, claimed)
        change = Change(
            payment=claimed,
            audit=(audit_entry(app, caller, step.action, "claimed", claimed),),
            record=record,
            record_use=record_use,
        )
        match await app.store.commit(change):
            case None:
                call = ProcessorCall(
                    caller=caller,
                    action=step.action,
                    card=card,
                    record=record,
                    requeue=step.requeue,
                )
                return await call_processor(app, claimed, call)
            case Conflict.KEY_TAKEN:
                if (result := await _replay_key(app, caller, step)) is not None:
                    return result
                record_use = KeyUse.COMPLETE
            case _:
                continue
    raise Unavailable("The payment is changing too fast. Try again.")


async def _claim(app: App, payment: Payment, step: Step) -> tuple[Payment, Card | None]:
    """The claimed payment, and the card to charge. Raises InvalidState."""
    card = None
    if step.operation in NEEDS_CARD:
        card = step.card
        if card is None:
            card = await _decrypt_card(app, payment)
        else:
            encrypted = await app.vault.encrypt(card, payment.id)
            payment = payment.with_card(card.summary(), encrypted)
    claimed = payment.claim(
        step.operation,
        now=app.clock(),
        lease=app.settings.claim_lease,
        amount_minor=step.amount_minor,
        final=step.final,
        # A worker takes its steps for callers who were answered that the queue does it.
        queued=not step.requeue,
    )
    return claimed, card


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


async def _replay_key(app: App, caller: Caller, step: Step) -> StepResult | None:
    """The result of the first request under this key. None if the step may be taken after all,
    because that request ended without a result.
    """
    if step.scope is None:
        raise AssertionError("a key conflict needs a key")
    record = await app.store.record(step.scope)
    if record is None:
        return None
    try:
        check_same_request(record, step.fingerprint)
        if record.payment is not None:
            await _audit_replay(app, caller, step, record.payment)
            return Replayed(record.payment, record.refund, record.queued)
        payment = await app.store.payment(step.payment_id)
        if payment and payment.pending and payment.pending.until > app.clock():
            raise KeyInFlight("The first request with this Idempotency-Key is still in progress.")
    except RemitError as error:
        return await reject(app, caller, step.action, error, payment_id=step.payment_id)
    return None


async def _replay(app: App, caller: Caller, step: Step, earlier: Payment) -> StepResult:
    """Replays the result that the payment already has, or the first one under the step's key."""
    if step.scope is not None and (result := await _replay_key(app, caller, step)) is not None:
        return result
    await _audit_replay(app, caller, step, earlier)
    return Replayed(earlier)


async def _audit_replay(app: App, caller: Caller, step: Step, payment: Payment) -> None:
    await app.store.commit(
        Change(audit=(audit_entry(app, caller, step.action, "replayed", payment),))
    )


async def _cancel_without_call(
    app: App, caller: Caller, payment: Payment, step: Step
) -> StepResult:
    """Cancels a payment of which the processor holds no money. Raises InvalidState."""
    canceled = payment.cancel()
    record = _record(app, step, canceled)
    change = Change(
        payment=canceled,
        audit=(audit_entry(app, caller, step.action, "done", canceled),),
        messages=(notification(app, canceled),),
        record=record and msgspec.structs.replace(record, payment=canceled),
    )
    match await app.store.commit(change):
        case None:
            return Accepted(canceled)
        case Conflict.KEY_TAKEN:
            result = await _replay_key(app, caller, step)
            return result or await _run_step(app, caller, step, _canceled_before)
        case _:
            return await _run_step(app, caller, step, _canceled_before)


async def _find_payment(app: App, caller: Caller, step: Step) -> Payment | Rejected:
    payment = await app.store.payment(step.payment_id) if is_id(step.payment_id) else None
    if payment and (payment.merchant_id, payment.mode) == (caller.merchant_id, caller.mode):
        return payment
    error = NotFound("payment", param="transaction_id")
    return await reject(app, caller, step.action, error)


async def _reject_in_progress(app: App, caller: Caller, step: Step) -> StepResult:
    if step.scope is not None and (result := await _replay_key(app, caller, step)) is not None:
        return result
    error = InvalidState("The payment is being processed.", retry_after_seconds=1)
    return await reject(app, caller, step.action, error, payment_id=step.payment_id)


def _processed_before(payment: Payment, step: Step) -> Payment | None:
    """The payment if it is captured, or declined without a new card to try."""
    if payment.state is State.CAPTURED:
        return payment
    # A decline erases the card. A card that is stored now was queued later, for a worker to try.
    has_new_card = step.card is not None or payment.encrypted_card is not None
    return payment if payment.state is State.DECLINED and not has_new_card else None


def _canceled_before(payment: Payment, step: Step) -> Payment | None:
    return payment if payment.state is State.CANCELED else None


def _never_before(payment: Payment, step: Step) -> Payment | None:
    """For a step that can be taken again: only its idempotency key replays it."""
    return None


def _step(
    app: App,
    action: str,
    operation: Operation,
    request: ProcessRequest,
    key: KeyScope | None,
    *,
    requeue: bool = True,
) -> Step:
    """The step that a request describes. Raises InvalidRequest for a wrong card."""
    card = None if request.card is None else parse_card(app, request.card)
    return Step(
        action=action,
        operation=operation,
        payment_id=request.transaction_id,
        card=card,
        scope=key,
        fingerprint=_fingerprint(app, request.transaction_id, card),
        requeue=requeue,
    )


def _fingerprint(app: App, *parts: object) -> str:
    return app.vault.fingerprint(msgspec.json.encode(parts))


def _record(app: App, step: Step, payment: Payment) -> IdempotencyRecord | None:
    if step.scope is None:
        return None
    return IdempotencyRecord(
        scope=step.scope, fingerprint=step.fingerprint, at=app.clock(), payment_id=payment.id
    )
