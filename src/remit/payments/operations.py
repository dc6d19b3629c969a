"""Ask the processor, so that a crash at any point leaves something that can be put right.

    claim    commit the question: the payment is `unknown` and says what was asked, under which key
    ask      call the processor, outside any transaction
    settle   commit the answer: state, postings, audit entry, messages, idempotency outcome

If no answer comes, the payment stays `unknown` and `resolve` asks the processor what became of the
question. The question itself is never sent again on a guess.
"""

import asyncio
from datetime import datetime, timedelta

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
from remit.payments.results import Accepted, Rejected, StepResult, audit_entry, notification
from remit.ports.app import App
from remit.ports.processor import Instruction


async def call_processor(
    app: App,
    caller: Caller,
    claimed: Payment,
    action: str,
    card: Card | None,
    record: IdempotencyRecord | None,
    *,
    requeue: bool,
) -> StepResult:
    """Asks the question that `claimed` holds and commits what comes of it.

    With `requeue`, a processor that is down leaves the work to the queue; without, to the caller,
    who has the message in hand already.
    """
    pending = claimed.pending
    if pending is None:
        raise AssertionError("only a claimed payment can be asked about")
    instruction = Instruction(
        key=pending.key,
        operation=pending.operation,
        payment_id=claimed.id,
        amount_minor=pending.amount_minor,
        currency=claimed.currency,
        card=card,
        reference=claimed.processor_reference,
    )
    try:
        async with asyncio.timeout(app.settings.processor_timeout_seconds):
            result = await app.processor.execute(instruction)
    except ProcessorUnavailable as error:
        return await _release_claim(app, caller, claimed, action, record, error, requeue=requeue)
    except (ProcessorTimeout, TimeoutError):
        return await _mark_unknown(app, caller, claimed, action)
    after = await _record_result(app, caller, claimed, action, result, record)
    return Accepted(after)


async def resolve(app: App, caller: Caller, payment: Payment) -> Payment:
    """The payment after asking the processor what became of its open question.

    Safe to call at any time and from anywhere: of several resolvers one wins, and the others see
    its result. A question the processor never heard is taken back, and asked again by the queue if
    that was promised. Raises ProcessorUnavailable.
    """
    if payment.pending is None:
        return payment
    mine = payment.extend_lease(until=app.clock() + app.settings.claim_lease)
    if await app.store.commit(Change(payment=mine, audit=())) is not None:
        return await _current(app, payment)
    result = await app.processor.find(payment.pending.key)
    if result is not None:
        return await _record_result(app, caller, mine, "resolve", result, None)
    resumed = mine.return_to_previous_state(due_at=_card_expiry(app, mine))
    audit = audit_entry(app, caller, "resolve", "never_happened", resumed)
    again = (work_message(app, caller, "process", resumed),) if payment.pending.queued else ()
    conflict = await app.store.commit(Change(payment=resumed, audit=(audit,), messages=again))
    return resumed if conflict is None else await _current(app, payment)


async def _record_result(
    app: App,
    caller: Caller,
    claimed: Payment,
    action: str,
    result: ProcessorResult,
    record: IdempotencyRecord | None,
) -> Payment:
    now = app.clock()
    after = claimed.apply_result(result, now=now)
    change = Change(
        payment=after,
        audit=(
            audit_entry(
                app, caller, action, "declined" if isinstance(result, Declined) else "done", after
            ),
        ),
        postings=claimed.postings_of_result(
            result, processor=app.processor.name, transaction_id=app.new_id(), now=now
        ),
        messages=(notification(app, after),),
        record=record and replace(record, payment=after),
        record_use=KeyUse.COMPLETE,
    )
    if await app.store.commit(change) is not None:
        return await _current(app, claimed)
    return after


async def _mark_unknown(app: App, caller: Caller, claimed: Payment, action: str) -> StepResult:
    """No answer in time. The worker resolves it once a late answer can no longer be on its way."""
    wait = timedelta(seconds=app.settings.processor_timeout_seconds)
    unknown = claimed.extend_lease(until=app.clock() + wait)
    change = Change(
        payment=unknown,
        audit=(audit_entry(app, caller, action, "no_answer", unknown),),
        messages=(notification(app, unknown),),
    )
    if await app.store.commit(change) is not None:
        return Accepted(await _current(app, claimed))
    return Accepted(unknown)


async def _release_claim(
    app: App,
    caller: Caller,
    claimed: Payment,
    action: str,
    record: IdempotencyRecord | None,
    error: ProcessorUnavailable,
    *,
    requeue: bool,
) -> StepResult:
    """Nothing was done: the payment is as before the claim, and its key is free again."""
    resumed = claimed.return_to_previous_state(due_at=_card_expiry(app, claimed))
    change = Change(
        payment=resumed,
        audit=(audit_entry(app, caller, action, "failed", resumed, error=error),),
        messages=(work_message(app, caller, action, resumed),)
        if requeue and action == "process"
        else (),
        record=record,
        record_use=KeyUse.RELEASE,
    )
    if await app.store.commit(change) is Conflict.STALE:
        return Accepted(await _current(app, claimed))
    return Rejected(error)


def work_message(app: App, caller: Caller, kind: str, payment: Payment) -> Message:
    """A message that has our own worker take a step on `payment`."""
    return Message(
        id=app.new_id(),
        topic=Topic.WORK,
        kind=kind,
        created_at=app.clock(),
        payment_id=payment.id,
        merchant_id=caller.merchant_id,
        mode=caller.mode,
    )


def _card_expiry(app: App, payment: Payment) -> datetime | None:
    """When a card that is still sealed must be erased."""
    return payment.created_at + app.settings.card_retention if payment.encrypted_card else None


async def _current(app: App, payment: Payment) -> Payment:
    current = await app.store.payment(payment.id)
    if current is None:
        raise AssertionError("payments are never deleted")
    return current


NEEDS_CARD = frozenset({Operation.CHARGE, Operation.AUTHORIZE})
