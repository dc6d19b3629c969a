"""Operations at a processor: one protocol for authorize, charge, capture, void and refund.

    claim     a use case commits the operation together with the payment or refund that waits for it
    send      the processor is called with the instruction, outside any transaction
    record    what came of it is committed: operation, payment, postings, audit entry, messages, and
              the record of the caller's idempotency key

Without a result the operation stays open, and `advance` sends the same instruction again, under the
same key, for as long as the processor is certain to keep that key. After that the processor is
asked what became of it, or told never to do it. A notice of the processor, or the decision of two
persons, ends it as well. Why each rule is needed is in
`docs/decisions/0003-operations-at-a-processor.md`.
"""

import asyncio
from collections.abc import Awaitable

import structlog

from remit.domain.caller import Caller
from remit.domain.card import Card
from remit.domain.change import Change
from remit.domain.errors import (
    CardUnreadable,
    ProcessorTimeout,
    ProcessorUnavailable,
)
from remit.domain.operation import (
    NEEDS_CARD,
    NotDone,
    Operation,
    ProcessorResult,
    Received,
    Reversed,
)
from remit.payments.claims import Claim, read_again, read_claim
from remit.payments.operation_results import (
    EXPIRED,
    record_no_answer,
    record_not_sent,
    record_received,
    record_result,
    record_reversal,
    record_unreadable_card,
    record_unsent,
)
from remit.payments.results import alert
from remit.ports.app import App
from remit.ports.processor import Instruction, Notice, Processor

log = structlog.get_logger("operations")


async def send(app: App, caller: Caller, claim: Claim, card: Card | None) -> Claim:
    """Calls the processor for an operation that this process has taken, and records what came of
    it. Raises Unavailable if that could not be recorded: the operation is then still open.
    """
    until = asyncio.get_running_loop().time() + app.settings.processor_timeout_seconds
    try:
        prepared = await _prepare(app, claim, card, until)
    except (ProcessorUnavailable, ProcessorTimeout, TimeoutError):
        # What was prepared, if it was, moves no money without a call that names it.
        error = ProcessorUnavailable("The processor cannot be reached. Try again.")
        return await record_not_sent(app, caller, claim, error)
    if prepared is None:
        return await read_again(app, claim)
    if not _can_be_sent(app, prepared.operation):
        return await record_no_answer(app, caller, claim)
    try:
        async with asyncio.timeout_at(until):
            result = await app.processor.execute(_instruction(prepared, card))
    except ProcessorUnavailable as error:
        return await record_not_sent(app, caller, prepared, error)
    except (ProcessorTimeout, TimeoutError):
        return await record_no_answer(app, caller, prepared)
    if isinstance(result, Received):
        return await record_received(app, caller, prepared, result)
    return await record_result(app, caller, prepared, result)


async def apply_notice(app: App, notice: Notice) -> Claim | None:
    """Records what the processor says of an operation. Late and repeated notices change nothing.

    One that names no operation of ours is an alert, and None is returned. Raises Unavailable: then
    the processor has to send the notice again.
    """
    claim = await read_claim(app, notice.operation_id)
    if claim is None:
        log.error("notice_unmatched", event_id=notice.event_id)
        detail = f"the notice {notice.event_id} of {app.processor.name} names no operation"
        message = alert(app, "notice_unmatched", detail)
        await app.store.commit(Change(audit=(), messages=(message,)))
        return None
    payment = claim.payment
    actor = f"processor:{claim.operation.processor}"
    caller = Caller(payment.merchant_id, payment.mode, actor, notice.event_id)
    if isinstance(notice.result, Reversed):
        return await record_reversal(app, caller, claim, notice.result)
    return await record_result(app, caller, claim, notice.result)


async def _prepare(app: App, claim: Claim, card: Card | None, until: float) -> Claim | None:
    """The claim with its operation prepared at the processor, if that does it in two phases.

    The reference is committed before money can move. None if another process has the operation.
    """
    operation = claim.operation
    processor = _processor(app, operation)
    if not _is_to_be_prepared(app, operation):
        return claim
    async with asyncio.timeout_at(until):
        reference = await processor.prepare(_instruction(claim, card))
    prepared = operation.prepare(reference)
    if await app.store.commit(Change(operation=prepared, audit=())) is not None:
        return None
    return claim._replace(operation=prepared)


async def advance(app: App, caller: Caller, operation_id: str) -> Claim | None:
    """Takes up an open operation that no process has leased, and returns what became of it.

    It is sent, or ended if it was queued for too long. One whose key may be forgotten at the
    processor, or that the processor has received, is asked after instead. Returns None if there is
    no such operation. Raises Unavailable.
    """
    claim = await read_claim(app, operation_id)
    if claim is None:
        return None
    operation = claim.operation
    now = app.clock()
    if not operation.is_open or operation.is_leased(now):
        return claim
    if operation.has_expired(now):
        return await record_unsent(app, caller, claim, EXPIRED)
    is_to_be_sent = not _is_to_be_asked(claim) and _can_be_sent(app, operation)
    try:
        card = await _card(app, claim) if is_to_be_sent else None
    except CardUnreadable as error:
        return await record_unreadable_card(app, caller, claim, error)
    until = now + app.settings.claim_lease
    taken = claim._replace(operation=operation.take(now=now, until=until))
    if await app.store.commit(Change(operation=taken.operation, audit=())) is not None:
        return await read_again(app, claim)
    if is_to_be_sent:
        return await send(app, caller, taken, card)
    return await _ask(app, caller, taken)


def _is_to_be_asked(claim: Claim) -> bool:
    """Whether sending it again is of no use: the processor does it later; or it was prepared there,
    and its payment was canceled, so that a fence is the shortest end.
    """
    operation, pending = claim.operation, claim.payment.pending
    is_canceled = pending is not None and pending.canceled_by is not None
    return operation.is_received or (
        is_canceled and claim.payment.awaits(operation) and operation.reference is not None
    )


async def _ask(app: App, caller: Caller, claim: Claim) -> Claim:
    """Asks the processor what became of a sent operation. One that was prepared and is not done is
    fenced, so that it ends, unless the payer can still act.
    """
    operation = claim.operation
    instruction = _instruction(claim, None)
    try:
        processor = _processor(app, operation)
    except ProcessorUnavailable:
        return await record_no_answer(app, caller, claim)
    result = await _known(app, processor.read(instruction))
    is_to_be_fenced = operation.kind in NEEDS_CARD and not operation.awaits_payer(app.clock())
    if result is None and is_to_be_fenced:
        result = await _known(app, processor.fence(instruction))
    if result is None:
        return await record_no_answer(app, caller, claim)
    if isinstance(result, NotDone):
        result = EXPIRED
    return await record_result(app, caller, claim, result)


async def _known(app: App, call: Awaitable[ProcessorResult | None]) -> ProcessorResult | None:
    """The result that the processor knows, or None if it knows none or cannot be asked."""
    try:
        async with asyncio.timeout(app.settings.processor_timeout_seconds):
            return await call
    except (ProcessorUnavailable, ProcessorTimeout, TimeoutError):
        return None


def _processor(app: App, operation: Operation) -> Processor:
    """The processor of the operation. Raises ProcessorUnavailable if this process has another one:
    what one processor holds cannot be captured or given back at another.
    """
    if operation.processor != app.processor.name:
        log.error("processor_not_configured", processor=operation.processor)
        raise ProcessorUnavailable("The processor of this payment is not configured.")
    return app.processor


def _is_to_be_prepared(app: App, operation: Operation) -> bool:
    prepares = app.processor.capabilities.prepares
    return operation.reference is None and operation.kind in prepares


def _can_be_sent(app: App, operation: Operation) -> bool:
    """Whether the instruction can be sent without being done twice. Nothing can have been done of
    one that is not prepared yet.
    """
    if _is_to_be_prepared(app, operation):
        return True
    return operation.can_be_sent(app.clock(), app.processor.capabilities.key_lifetime)


def _instruction(claim: Claim, card: Card | None) -> Instruction:
    operation = claim.operation
    return Instruction(
        key=operation.id,
        operation=operation.kind,
        payment_id=operation.payment_id,
        merchant_id=claim.payment.merchant_id,
        mode=claim.payment.mode,
        amount_minor=operation.amount_minor,
        currency=operation.currency,
        final=operation.final,
        card=card,
        reference=operation.reference or claim.payment.processor_reference,
        attempt=operation.attempts,
    )


async def _card(app: App, claim: Claim) -> Card | None:
    """The card to send. It stays encrypted on the payment for as long as the operation is open.

    Raises CardUnreadable.
    """
    payment = claim.payment
    if claim.operation.kind not in NEEDS_CARD or payment.card is None:
        return None
    if payment.encrypted_card is None:
        raise CardUnreadable("The card of this payment has been erased.")
    return await app.vault.decrypt(payment.encrypted_card, payment.id)
