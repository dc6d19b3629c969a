"""Refund a captured payment, in parts if wanted: reserve, ask the processor, commit the answer.

The amount is reserved on the payment before the processor is asked, in the same commit that makes
the refund; so refunds that run at once can never promise more than was captured.
"""

import asyncio
from datetime import timedelta

import msgspec
from msgspec.structs import replace

from remit.domain.change import (
    Caller,
    Change,
    IdempotencyRecord,
    KeyScope,
    KeyUse,
    Message,
    Topic,
)
from remit.domain.errors import (
    InvalidState,
    KeyInFlight,
    NotFound,
    ProcessorTimeout,
    ProcessorUnavailable,
    RemitError,
    Unavailable,
)
from remit.domain.ids import is_id
from remit.domain.payment import Answer, Declined, Operation, Payment, Refund, RefundState
from remit.payments.process import MAX_RACES
from remit.payments.results import (
    Accepted,
    Outcome,
    Refused,
    Replayed,
    check_same_request,
    entry,
    notification,
    refuse,
)
from remit.ports.app import App
from remit.ports.processor import Instruction


async def refund(
    app: App,
    caller: Caller,
    payment_id: str,
    *,
    amount_minor: int | None = None,
    key: str | None = None,
) -> Outcome:
    """Refunds `amount_minor`, or all that is left. Its refund says `pending` if no answer came."""
    fingerprint = app.vault.fingerprint(msgspec.json.encode((payment_id, amount_minor)))
    scope = key and KeyScope(caller.merchant_id, caller.mode, "POST /refund", key)
    for _ in range(MAX_RACES):
        payment = await app.store.payment(payment_id) if is_id(payment_id) else None
        if payment is None or (payment.merchant_id, payment.mode) != (
            caller.merchant_id,
            caller.mode,
        ):
            return await refuse(app, caller, "refund", NotFound("payment", param="transaction_id"))
        if scope and (ending := await _by_key(app, caller, payment, scope, fingerprint)):
            return ending
        wanted = payment.refundable_minor if amount_minor is None else amount_minor
        try:
            reserved = payment.reserve_refund(wanted)
        except InvalidState as error:
            return await refuse(app, caller, "refund", error, payment_id=payment.id)
        now = app.clock()
        asked = Refund(
            id=app.new_id(),
            payment_id=payment.id,
            merchant_id=payment.merchant_id,
            mode=payment.mode,
            amount_minor=wanted,
            currency=payment.currency,
            created_at=now,
            due_at=now + app.settings.claim_lease,
        )
        record = scope and IdempotencyRecord(
            scope=scope, fingerprint=fingerprint, at=now, payment_id=payment.id, refund=asked
        )
        change = Change(
            payment=reserved,
            refund=asked,
            audit=(entry(app, caller, "refund", "claimed", reserved, refund=asked),),
            record=record or None,
        )
        if await app.store.commit(change) is None:
            return await _ask(app, caller, reserved, asked, record or None)
    raise Unavailable("The payment is changing too fast. Try again.")


async def resolve_refund(app: App, caller: Caller, asked: Refund) -> Refund:
    """The refund after asking the processor what became of it. Raises ProcessorUnavailable.

    A refund that the processor never heard of has failed, and its amount can be refunded anew.
    """
    if asked.state is not RefundState.PENDING:
        return asked
    mine = asked.renew(until=app.clock() + app.settings.claim_lease)
    if await app.store.commit(Change(refund=mine, audit=())) is not None:
        return await _current(app, asked)
    answer = await app.processor.find(asked.id)
    if answer is None:
        answer = Declined("never_happened", "The processor never received this refund.")
    return await _commit_answer(app, caller, mine, "resolve", answer, None)


async def _ask(
    app: App, caller: Caller, payment: Payment, asked: Refund, record: IdempotencyRecord | None
) -> Outcome:
    instruction = Instruction(
        key=asked.id,
        operation=Operation.REFUND,
        payment_id=payment.id,
        amount_minor=asked.amount_minor,
        currency=asked.currency,
        reference=payment.processor_reference,
    )
    try:
        async with asyncio.timeout(app.settings.processor_timeout_seconds):
            answer = await app.processor.execute(instruction)
    except ProcessorUnavailable as error:
        down = Declined(error.code, error.message)
        await _commit_answer(app, caller, asked, "refund", down, record, use=KeyUse.RELEASE)
        return Refused(error)
    except (ProcessorTimeout, TimeoutError):
        wait = timedelta(seconds=app.settings.processor_timeout_seconds)
        unknown = asked.renew(until=app.clock() + wait)
        audit = entry(app, caller, "refund", "no_answer", payment, refund=unknown)
        await app.store.commit(Change(refund=unknown, audit=(audit,)))
        return Accepted(payment, await _current(app, asked))
    settled = await _commit_answer(app, caller, asked, "refund", answer, record)
    return Accepted(await _payment(app, asked), settled)


async def _commit_answer(
    app: App,
    caller: Caller,
    asked: Refund,
    action: str,
    answer: Answer,
    record: IdempotencyRecord | None,
    *,
    use: KeyUse = KeyUse.COMPLETE,
) -> Refund:
    settled = asked.settle(answer)
    now = app.clock()
    failed = isinstance(answer, Declined)
    for _ in range(MAX_RACES):
        payment = await _payment(app, asked)
        after = payment.release_refund(asked.amount_minor) if failed else payment
        change = Change(
            payment=after if failed else None,
            refund=settled,
            audit=(
                entry(app, caller, action, "declined" if failed else "done", after, refund=settled),
            ),
            postings=()
            if failed
            else settled.postings(
                processor=app.processor.name, transaction_id=app.new_id(), now=now
            ),
            messages=(notification(app, after, settled),),
            record=record and replace(record, payment=after, refund=settled),
            record_use=use,
        )
        if await app.store.commit(change) is None:
            return settled
        current = await _current(app, asked)
        if current.version != asked.version:
            return current
    raise Unavailable("The payment is changing too fast. Try again.")


async def _by_key(
    app: App, caller: Caller, payment: Payment, scope: KeyScope, fingerprint: str
) -> Outcome | None:
    record = await app.store.record(scope)
    if record is None:
        return None
    try:
        check_same_request(record, fingerprint)
    except RemitError as error:
        return await refuse(app, caller, "refund", error, payment_id=payment.id)
    first = record.refund and await app.store.refund(record.refund.id)
    if first is None:
        return None
    if record.payment is None and first.state is RefundState.PENDING:
        busy = KeyInFlight("The first request with this Idempotency-Key is still in progress.")
        return await refuse(app, caller, "refund", busy, payment_id=payment.id)
    audit = entry(app, caller, "refund", "replayed", payment, refund=first)
    await app.store.commit(Change(audit=(audit,)))
    return Replayed(record.payment or payment, record.refund if record.payment else first)


def resolve_message(app: App, asked: Refund) -> Message:
    """A message that has our own worker resolve this refund."""
    return Message(
        id=app.new_id(),
        topic=Topic.WORK,
        kind="resolve",
        created_at=app.clock(),
        payment_id=asked.payment_id,
        refund_id=asked.id,
        merchant_id=asked.merchant_id,
        mode=asked.mode,
    )


async def _payment(app: App, asked: Refund) -> Payment:
    payment = await app.store.payment(asked.payment_id)
    if payment is None:
        raise AssertionError("payments are never deleted")
    return payment


async def _current(app: App, asked: Refund) -> Refund:
    current = await app.store.refund(asked.id)
    if current is None:
        raise AssertionError("refunds are never deleted")
    return current
