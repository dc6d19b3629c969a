"""Process a payment, and the steps beside it: authorize, capture, cancel.

Each is one story: read the payment, claim it, ask the processor, commit the answer (`ask.py`).
Two that run at once race for the claim; the loser reads again and sees the winner's work.
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
from remit.payments.operations import NEEDS_CARD, call_processor, resolve, work_message
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
from remit.payments.validate import CardInput, CardNumber, card_from
from remit.ports.app import App

MAX_RACES = 20


class ProcessRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `POST /process` takes. A `card` is used instead of the one given before, if any."""

    transaction_id: Annotated[str, msgspec.Meta(max_length=64)]
    card: CardInput | CardNumber | None = None

    def __repr__(self) -> str:
        return f"ProcessRequest({self.transaction_id!r})"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step that a caller wants taken on a payment, and under which idempotency key."""

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
    """Charges the payment. Processing twice answers with the first outcome, whoever asks."""
    try:
        step = _step(app, caller, "process", Operation.CHARGE, request, key, requeue=requeue)
    except InvalidRequest as error:
        return await reject(app, caller, "process", error)
    return await _take(app, caller, step, _first_outcome)


async def authorize(
    app: App, caller: Caller, request: ProcessRequest, key: KeyScope | None = None
) -> StepResult:
    """Reserves the payment's amount at the processor, to be captured or canceled later."""
    try:
        step = _step(app, caller, "authorize", Operation.AUTHORIZE, request, key)
    except InvalidRequest as error:
        return await reject(app, caller, "authorize", error)
    return await _take(app, caller, step, _no_outcome)


async def capture(
    app: App,
    caller: Caller,
    payment_id: str,
    *,
    amount_minor: int | None = None,
    final: bool = True,
    key: KeyScope | None = None,
) -> StepResult:
    """Captures `amount_minor`, or all that is left. Unless `final`, the rest can follow later."""
    step = Step(
        action="capture",
        operation=Operation.CAPTURE,
        payment_id=payment_id,
        amount_minor=amount_minor,
        final=final,
        scope=key,
        fingerprint=_fingerprint(app, payment_id, amount_minor, final),
    )
    return await _take(app, caller, step, _no_outcome)


async def cancel(
    app: App, caller: Caller, payment_id: str, *, key: KeyScope | None = None
) -> StepResult:
    """Cancels a payment that holds no captured money; an authorization is voided first."""
    step = Step(
        action="cancel",
        operation=Operation.VOID,
        payment_id=payment_id,
        scope=key,
        fingerprint=_fingerprint(app, payment_id),
    )
    return await _take(app, caller, step, _canceled)


async def enqueue(
    app: App, caller: Caller, request: ProcessRequest, key: KeyScope | None = None
) -> StepResult:
    """Leaves processing to a worker. A payment that has its outcome already answers with it."""
    try:
        step = _step(app, caller, "process", Operation.CHARGE, request, key)
    except InvalidRequest as error:
        return await reject(app, caller, "process", error)
    for _ in range(MAX_RACES):
        payment = await _find(app, caller, step)
        if isinstance(payment, Rejected):
            return payment
        if (first := _first_outcome(payment, step)) is not None:
            return await _replay(app, caller, step, first)
        queued = payment
        if step.card is not None:
            try:
                sealed = await app.vault.encrypt(step.card, payment.id)
                queued = payment.with_card(step.card.summary(), sealed)
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
                if (ending := await _by_key(app, caller, step)) is not None:
                    return ending
            case _:
                continue
    raise Unavailable("The payment is changing too fast. Try again.")


async def _take(
    app: App, caller: Caller, step: Step, earlier: "Callable[[Payment, Step], Payment | None]"
) -> StepResult:
    """Claims and asks, or says why not. `earlier` finds the outcome of a step taken before."""
    record_use = KeyUse.CLAIM
    for _ in range(MAX_RACES):
        payment = await _find(app, caller, step)
        if isinstance(payment, Rejected):
            return payment
        if (first := earlier(payment, step)) is not None:
            return await _replay(app, caller, step, first)
        if payment.pending is not None:
            if payment.pending.until > app.clock():
                return await _in_progress(app, caller, step)
            await resolve(app, caller, payment)
            continue
        try:
            if step.operation is Operation.VOID and payment.state is not State.AUTHORIZED:
                return await _cancel_unasked(app, caller, payment, step)
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
                return await call_processor(
                    app, caller, claimed, step.action, card, record, requeue=step.requeue
                )
            case Conflict.KEY_TAKEN:
                ending = await _by_key(app, caller, step)
                if ending is not None:
                    return ending
                record_use = KeyUse.COMPLETE
            case _:
                continue
    raise Unavailable("The payment is changing too fast. Try again.")


async def _claim(app: App, payment: Payment, step: Step) -> tuple[Payment, Card | None]:
    card = None
    if step.operation in NEEDS_CARD:
        card = step.card
        if card is None:
            card = await _opened_card(app, payment)
        else:
            sealed = await app.vault.encrypt(card, payment.id)
            payment = payment.with_card(card.summary(), sealed)
    claimed = payment.claim(
        step.operation,
        now=app.clock(),
        lease=app.settings.claim_lease,
        amount_minor=step.amount_minor,
        final=step.final,
        # The queue's own steps: their callers were told that the queue does it.
        queued=not step.requeue,
    )
    return claimed, card


async def _opened_card(app: App, payment: Payment) -> Card | None:
    """The payment's own card; None if it never had one. Raises InvalidState if it is lost."""
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


async def _by_key(app: App, caller: Caller, step: Step) -> StepResult | None:
    """How the request first made under this key ended; None if the step may be taken after all."""
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


async def _replay(app: App, caller: Caller, step: Step, first: Payment) -> StepResult:
    """The step's outcome, already there; unless its key was first used for something else."""
    if step.scope is not None and (ending := await _by_key(app, caller, step)) is not None:
        return ending
    await _audit_replay(app, caller, step, first)
    return Replayed(first)


async def _audit_replay(app: App, caller: Caller, step: Step, payment: Payment) -> None:
    await app.store.commit(
        Change(audit=(audit_entry(app, caller, step.action, "replayed", payment),))
    )


async def _cancel_unasked(app: App, caller: Caller, payment: Payment, step: Step) -> StepResult:
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
            return await _by_key(app, caller, step) or await _take(app, caller, step, _canceled)
        case _:
            return await _take(app, caller, step, _canceled)


async def _find(app: App, caller: Caller, step: Step) -> Payment | Rejected:
    payment = await app.store.payment(step.payment_id) if is_id(step.payment_id) else None
    if payment and (payment.merchant_id, payment.mode) == (caller.merchant_id, caller.mode):
        return payment
    error = NotFound("payment", param="transaction_id")
    return await reject(app, caller, step.action, error)


async def _in_progress(app: App, caller: Caller, step: Step) -> StepResult:
    if step.scope is not None and (ending := await _by_key(app, caller, step)) is not None:
        return ending
    error = InvalidState("The payment is being processed.", retry_after_seconds=1)
    return await reject(app, caller, step.action, error, payment_id=step.payment_id)


def _first_outcome(payment: Payment, step: Step) -> Payment | None:
    """What processing has come to already: money taken, or a decline that no new card answers."""
    if payment.state is State.CAPTURED:
        return payment
    # A decline erases its card: one that is sealed now is another, left for a worker to try.
    new_card = step.card is not None or payment.encrypted_card is not None
    return payment if payment.state is State.DECLINED and not new_card else None


def _canceled(payment: Payment, step: Step) -> Payment | None:
    return payment if payment.state is State.CANCELED else None


def _no_outcome(payment: Payment, step: Step) -> Payment | None:
    return None


def _step(
    app: App,
    caller: Caller,
    action: str,
    operation: Operation,
    request: ProcessRequest,
    key: KeyScope | None,
    *,
    requeue: bool = True,
) -> Step:
    card = None if request.card is None else card_from(app, request.card)
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
