"""Calls the processor, so that a crash at any point leaves a payment that can be resolved.

    claim     the caller of this module commits the payment with its operation pending
    call      the processor is called with the instruction, outside any transaction
    record    its result is committed: state, postings, audit entry, messages, idempotency record

If no result comes, the payment stays `unknown`. `resolve` later looks the operation up at the
processor by its key. The instruction is not sent again, because absence proves nothing.
"""

import asyncio
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from remit.domain.card import Card
from remit.domain.change import (
    Caller,
    Change,
    Conflict,
    IdempotencyRecord,
    KeyUse,
    Message,
    Topic,
)
from remit.domain.errors import ProcessorTimeout, ProcessorUnavailable
from remit.domain.payment import Declined, Operation, Payment, ProcessorResult
from remit.payments.results import (
    Accepted,
    Rejected,
    StepResult,
    audit_entry,
    notification,
    with_error,
)
from remit.ports.app import App
from remit.ports.processor import Instruction

NEEDS_CARD = frozenset({Operation.CHARGE, Operation.AUTHORIZE})


class ProcessorCall(msgspec.Struct, frozen=True, kw_only=True):
    """The step that a processor is called for.

    `record` is the idempotency record that the result completes. With `requeue`, a processor that
    is down leaves the step to the queue. A worker does not set it: it returns its message instead.
    """

    caller: Caller
    action: str
    card: Card | None = None
    record: IdempotencyRecord | None = None
    requeue: bool = False


async def call_processor(app: App, claimed: Payment, call: ProcessorCall) -> StepResult:
    """Calls the processor with the pending operation of `claimed`, and commits the result."""
    try:
        async with asyncio.timeout(app.settings.processor_timeout_seconds):
            result = await app.processor.execute(_instruction(claimed, call.card))
    except ProcessorUnavailable as error:
        return await _release_claim(app, claimed, call, error)
    except (ProcessorTimeout, TimeoutError):
        return await _mark_unknown(app, claimed, call)
    return Accepted(await _record_result(app, claimed, call, result))


def _instruction(claimed: Payment, card: Card | None) -> Instruction:
    pending = claimed.pending
    if pending is None:
        raise AssertionError("a claimed payment has a pending operation")
    return Instruction(
        key=pending.key,
        operation=pending.operation,
        payment_id=claimed.id,
        amount_minor=pending.amount_minor,
        currency=claimed.currency,
        card=card,
        reference=claimed.processor_reference,
    )


async def resolve(app: App, caller: Caller, payment: Payment) -> Payment:
    """The payment after its pending operation was looked up at the processor.

    This is safe at any time and in any process. If several resolve one payment, one commits and
    the others return its result. If the processor never received the instruction, the payment
    returns to its previous state, and is queued again if a worker had taken the step. Raises
    ProcessorUnavailable.
    """
    if payment.pending is None:
        return payment
    leased = payment.extend_lease(until=app.clock() + app.settings.claim_lease)
    if await app.store.commit(Change(payment=leased, audit=())) is not None:
        return await _current(app, payment)
    result = await app.processor.find(payment.pending.key)
    if result is not None:
        call = ProcessorCall(caller=caller, action="resolve")
        return await _record_result(app, leased, call, result)
    resumed = leased.return_to_previous_state(due_at=_card_expires_at(app, leased))
    audit = audit_entry(app, caller, "resolve", "never_happened", resumed)
    messages = (work_message(app, caller, "process", resumed),) if payment.pending.queued else ()
    conflict = await app.store.commit(Change(payment=resumed, audit=(audit,), messages=messages))
    return resumed if conflict is None else await _current(app, payment)


async def _record_result(
    app: App, claimed: Payment, call: ProcessorCall, result: ProcessorResult
) -> Payment:
    """Commits the result. If the payment was changed meanwhile, returns what it is now."""
    now = app.clock()
    after = claimed.apply_result(result, now=now)
    outcome = "declined" if isinstance(result, Declined) else "done"
    change = Change(
        payment=after,
        audit=(audit_entry(app, call.caller, call.action, outcome, after),),
        postings=claimed.postings_of_result(
            result, processor=app.processor.name, transaction_id=app.new_id(), now=now
        ),
        messages=(notification(app, after),),
        record=call.record and replace(call.record, payment=after),
        record_use=KeyUse.COMPLETE,
    )
    if await app.store.commit(change) is not None:
        return await _current(app, claimed)
    return after


async def _mark_unknown(app: App, claimed: Payment, call: ProcessorCall) -> StepResult:
    """Leaves the payment `unknown`, because the processor did not answer in time.

    The lease lasts one more timeout, so that a late result has arrived when the payment is
    resolved.
    """
    late = timedelta(seconds=app.settings.processor_timeout_seconds)
    unknown = claimed.extend_lease(until=app.clock() + late)
    change = Change(
        payment=unknown,
        audit=(audit_entry(app, call.caller, call.action, "no_answer", unknown),),
        messages=(notification(app, unknown),),
    )
    if await app.store.commit(change) is not None:
        return Accepted(await _current(app, claimed))
    return Accepted(unknown)


async def _release_claim(
    app: App, claimed: Payment, call: ProcessorCall, error: ProcessorUnavailable
) -> StepResult:
    """Returns the payment to its state before the claim, and releases its idempotency key.

    The processor did nothing, so the caller may retry.
    """
    resumed = claimed.return_to_previous_state(due_at=_card_expires_at(app, claimed))
    is_requeued = call.requeue and call.action == "process"
    entry = audit_entry(app, call.caller, call.action, "failed", resumed)
    change = Change(
        payment=resumed,
        audit=(with_error(entry, error),),
        messages=(work_message(app, call.caller, call.action, resumed),) if is_requeued else (),
        record=call.record,
        record_use=KeyUse.RELEASE,
    )
    if await app.store.commit(change) is Conflict.STALE:
        return Accepted(await _current(app, claimed))
    return Rejected(error)


def work_message(app: App, caller: Caller, kind: str, payment: Payment) -> Message:
    """A message that makes a worker take the step `kind` on the payment."""
    return Message(
        id=app.new_id(),
        topic=Topic.WORK,
        kind=kind,
        created_at=app.clock(),
        payment_id=payment.id,
        merchant_id=caller.merchant_id,
        mode=caller.mode,
    )


def _card_expires_at(app: App, payment: Payment) -> datetime | None:
    """When a card that is still stored must be erased."""
    return payment.created_at + app.settings.card_retention if payment.encrypted_card else None


async def _current(app: App, payment: Payment) -> Payment:
    current = await app.store.payment(payment.id)
    if current is None:
        raise AssertionError("payments are never deleted")
    return current
