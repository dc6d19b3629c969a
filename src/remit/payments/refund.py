"""Refunds a captured payment, in full or in part: reserve, call the processor, record the result.

The amount is reserved on the payment in the commit that makes the refund, before the processor is
called. So refunds at once can never reserve more than was captured.
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
from remit.domain.payment import Declined, Operation, Payment, ProcessorResult
from remit.domain.refund import Refund, RefundState
from remit.payments.operations import ProcessorCall
from remit.payments.process import MAX_RACES
from remit.payments.results import (
    Accepted,
    Rejected,
    Replayed,
    StepResult,
    audit_entry,
    check_same_request,
    notification,
    reject,
)
from remit.ports.app import App
from remit.ports.processor import Instruction


async def refund(
    app: App,
    caller: Caller,
    payment_id: str,
    *,
    amount_minor: int | None = None,
    key: KeyScope | None = None,
) -> StepResult:
    """Refunds `amount_minor`, or all that is left. The refund is `pending` without a result."""
    fingerprint = app.vault.fingerprint(msgspec.json.encode((payment_id, amount_minor)))
    for _ in range(MAX_RACES):
        payment = await app.store.payment(payment_id) if is_id(payment_id) else None
        if payment is None or (payment.merchant_id, payment.mode) != (
            caller.merchant_id,
            caller.mode,
        ):
            return await reject(app, caller, "refund", NotFound("payment", param="transaction_id"))
        if key and (result := await _replay_key(app, caller, payment, key, fingerprint)):
            return result
        refund_minor = payment.refundable_minor if amount_minor is None else amount_minor
        try:
            reserved = payment.reserve_refund(refund_minor)
        except InvalidState as error:
            return await reject(app, caller, "refund", error, payment_id=payment.id)
        now = app.clock()
        pending = Refund(
            id=app.new_id(),
            payment_id=payment.id,
            merchant_id=payment.merchant_id,
            mode=payment.mode,
            amount_minor=refund_minor,
            currency=payment.currency,
            created_at=now,
            due_at=now + app.settings.claim_lease,
        )
        record = key and IdempotencyRecord(
            scope=key, fingerprint=fingerprint, at=now, payment_id=payment.id, refund=pending
        )
        change = Change(
            payment=reserved,
            refund=pending,
            audit=(audit_entry(app, caller, "refund", "claimed", reserved, refund=pending),),
            record=record or None,
        )
        if await app.store.commit(change) is None:
            call = ProcessorCall(caller=caller, action="refund", record=record or None)
            return await _call_processor(app, reserved, pending, call)
    raise Unavailable("The payment is changing too fast. Try again.")


async def resolve_refund(app: App, caller: Caller, pending: Refund) -> Refund:
    """The refund after it was looked up at the processor. Raises ProcessorUnavailable.

    A refund that the processor never received has failed, and its amount can be refunded again.
    """
    if pending.state is not RefundState.PENDING:
        return pending
    leased = pending.extend_lease(until=app.clock() + app.settings.claim_lease)
    if await app.store.commit(Change(refund=leased, audit=())) is not None:
        return await _current(app, pending)
    result = await app.processor.find(pending.id)
    if result is None:
        result = Declined("never_happened", "The processor never received this refund.")
    call = ProcessorCall(caller=caller, action="resolve")
    return await _record_result(app, leased, call, result)


async def _call_processor(
    app: App, payment: Payment, pending: Refund, call: ProcessorCall
) -> StepResult:
    instruction = Instruction(
        key=pending.id,
        operation=Operation.REFUND,
        payment_id=payment.id,
        amount_minor=pending.amount_minor,
        currency=pending.currency,
        reference=payment.processor_reference,
    )
    try:
        async with asyncio.timeout(app.settings.processor_timeout_seconds):
            result = await app.processor.execute(instruction)
    except ProcessorUnavailable as error:
        failure = Declined(error.code, error.message)
        await _record_result(app, pending, call, failure, record_use=KeyUse.RELEASE)
        return Rejected(error)
    except (ProcessorTimeout, TimeoutError):
        late = timedelta(seconds=app.settings.processor_timeout_seconds)
        unknown = pending.extend_lease(until=app.clock() + late)
        audit = audit_entry(app, call.caller, call.action, "no_answer", payment, refund=unknown)
        await app.store.commit(Change(refund=unknown, audit=(audit,)))
        return Accepted(payment, await _current(app, pending))
    recorded = await _record_result(app, pending, call, result)
    return Accepted(await _payment(app, pending), recorded)


async def _record_result(
    app: App,
    pending: Refund,
    call: ProcessorCall,
    result: ProcessorResult,
    *,
    record_use: KeyUse = KeyUse.COMPLETE,
) -> Refund:
    """Commits the result. If the refund was changed meanwhile, returns what it is now."""
    recorded = pending.apply_result(result)
    now = app.clock()
    failed = isinstance(result, Declined)
    outcome = "declined" if failed else "done"
    for _ in range(MAX_RACES):
        payment = await _payment(app, pending)
        after = payment.release_refund(pending.amount_minor) if failed else payment
        change = Change(
            payment=after if failed else None,
            refund=recorded,
            audit=(audit_entry(app, call.caller, call.action, outcome, after, refund=recorded),),
            postings=()
            if failed
            else recorded.postings(
                processor=app.processor.name, transaction_id=app.new_id(), now=now
            ),
            messages=(notification(app, after, recorded),),
            record=call.record and replace(call.record, payment=after, refund=recorded),
            record_use=record_use,
        )
        if await app.store.commit(change) is None:
            return recorded
        current = await _current(app, pending)
        if current.version != pending.version:
            return current
    raise Unavailable("The payment is changing too fast. Try again.")


async def _replay_key(
    app: App, caller: Caller, payment: Payment, scope: KeyScope, fingerprint: str
) -> StepResult | None:
    """The result of the first request under this key, or None if there is none."""
    record = await app.store.record(scope)
    if record is None:
        return None
    try:
        check_same_request(record, fingerprint)
    except RemitError as error:
        return await reject(app, caller, "refund", error, payment_id=payment.id)
    first = record.refund and await app.store.refund(record.refund.id)
    if first is None:
        return None
    if record.payment is None and first.state is RefundState.PENDING:
        in_flight = KeyInFlight("The first request with this Idempotency-Key is still in progress.")
        return await reject(app, caller, "refund", in_flight, payment_id=payment.id)
    audit = audit_entry(app, caller, "refund", "replayed", payment, refund=first)
    await app.store.commit(Change(audit=(audit,)))
    return Replayed(record.payment or payment, record.refund if record.payment else first)


def resolve_message(app: App, pending: Refund) -> Message:
    """A message that makes a worker resolve the refund."""
    return Message(
        id=app.new_id(),
        topic=Topic.WORK,
        kind="resolve",
        created_at=app.clock(),
        payment_id=pending.payment_id,
        refund_id=pending.id,
        merchant_id=pending.merchant_id,
        mode=pending.mode,
    )


async def _payment(app: App, pending: Refund) -> Payment:
    payment = await app.store.payment(pending.payment_id)
    if payment is None:
        raise AssertionError("payments are never deleted")
    return payment


async def _current(app: App, pending: Refund) -> Refund:
    current = await app.store.refund(pending.id)
    if current is None:
        raise AssertionError("refunds are never deleted")
    return current
