"""Processes a payment, and the steps beside it: authorize, capture, cancel.

How a step is taken is in `payments/steps.py`.
"""

from typing import Annotated

import msgspec
from msgspec.structs import replace

from remit.domain.caller import Caller, KeyScope
from remit.domain.change import Change, Conflict
from remit.domain.errors import (
    InvalidRequest,
    InvalidState,
    Unavailable,
)
from remit.domain.operation import OperationKind
from remit.domain.payment import Payment, State
from remit.payments.claims import (
    MAX_RACES,
    Claim,
    key_record,
    operation_message,
    queued_operation,
)
from remit.payments.results import (
    Queued,
    Rejected,
    StepResult,
    audit_entry,
    may_be_written,
    reject,
)
from remit.payments.steps import (
    Step,
    find_payment,
    operation_of,
    replay_key_of,
    replay_or_reject,
    replay_pending_charge,
    replay_step,
    run_step,
    with_card,
)
from remit.payments.validate import CardInput, CardNumber, parse_card
from remit.ports.app import App


class ProcessRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /process`. A `card` replaces the one that was validated."""

    transaction_id: Annotated[str, msgspec.Meta(max_length=64)]
    card: CardInput | CardNumber | None = None

    def __repr__(self) -> str:
        return f"ProcessRequest({self.transaction_id!r})"


async def process(
    app: App, caller: Caller, request: ProcessRequest, key: KeyScope | None = None
) -> StepResult:
    """Charges the payment. A second call replays the first result, with or without a key."""
    try:
        step = _step(app, "process", OperationKind.CHARGE, request, key)
    except InvalidRequest as error:
        return await reject(app, caller, "process", error)
    return await run_step(app, caller, step, _processed_before)


async def authorize(
    app: App, caller: Caller, request: ProcessRequest, key: KeyScope | None = None
) -> StepResult:
    """Reserves the payment's amount at the processor. It can be captured or canceled later."""
    try:
        step = _step(app, "authorize", OperationKind.AUTHORIZE, request, key)
    except InvalidRequest as error:
        return await reject(app, caller, "authorize", error)
    return await run_step(app, caller, step, _never_before)


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
        kind=OperationKind.CAPTURE,
        payment_id=payment_id,
        amount_minor=amount_minor,
        final=final,
        scope=key,
        fingerprint=_fingerprint(app, payment_id, amount_minor, final),
    )
    return await run_step(app, caller, step, _never_before)


async def cancel(
    app: App, caller: Caller, payment_id: str, *, key: KeyScope | None = None
) -> StepResult:
    """Cancels a payment without captured money. An authorization is voided at the processor."""
    step = Step(
        action="cancel",
        kind=OperationKind.VOID,
        payment_id=payment_id,
        scope=key,
        fingerprint=_fingerprint(app, payment_id),
    )
    return await run_step(app, caller, step, _canceled_before)


async def enqueue(
    app: App, caller: Caller, request: ProcessRequest, key: KeyScope | None = None
) -> StepResult:
    """Queues the payment for a worker to process. A payment processed before is replayed."""
    try:
        step = _step(app, "process", OperationKind.CHARGE, request, key)
    except InvalidRequest as error:
        return await reject(app, caller, "process", error)
    for _ in range(MAX_RACES):
        payment = await find_payment(app, caller, step)
        if isinstance(payment, Rejected):
            return payment
        if (earlier := _processed_before(payment, step)) is not None:
            return await replay_step(app, caller, step, earlier)
        if payment.pending is not None:
            return await replay_pending_charge(app, caller, payment, step)
        try:
            claimed, _ = await with_card(app, payment, step)
            operation = queued_operation(app, operation_of(app, caller, claimed, step))
            claimed = claimed.claim(operation)
        except InvalidState as error:
            return await replay_or_reject(app, caller, step, error)
        record = key_record(operation, Claim(operation, claimed))
        # The key's record is complete: the queue has the step, and its answer is 202 for good.
        operation = replace(operation, scope=None)
        change = Change(
            payment=claimed,
            operation=operation,
            audit=(audit_entry(app, caller, step.action, "queued", claimed),),
            messages=(operation_message(app, operation),),
            record=record and replace(record, queued=True),
        )
        with may_be_written():
            conflict = await app.store.commit(change)
        match conflict:
            case None:
                return Queued(claimed)
            case Conflict.KEY_TAKEN:
                if (result := await replay_key_of(app, caller, step)) is not None:
                    return result
            case _:
                continue
    raise Unavailable("The payment is changing too fast. Try again.")


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
    kind: OperationKind,
    request: ProcessRequest,
    key: KeyScope | None,
) -> Step:
    """The step that a request describes. Raises InvalidRequest for a wrong card."""
    card = None if request.card is None else parse_card(app, request.card)
    return Step(
        action=action,
        kind=kind,
        payment_id=request.transaction_id,
        card=card,
        scope=key,
        fingerprint=_fingerprint(app, request.transaction_id, card),
    )


def _fingerprint(app: App, *parts: object) -> str:
    return app.vault.fingerprint(msgspec.json.encode(parts))
