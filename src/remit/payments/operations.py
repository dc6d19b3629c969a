"""Operations at a processor: one protocol for authorize, charge, capture, void and refund.

    claim     a use case commits the operation together with the payment or refund that waits for it
    send      the processor is called with the instruction, outside any transaction
    record    what came of it is committed: operation, payment, postings, audit entry, messages, and
              the record of the caller's idempotency key

Without a result the operation stays open, and `advance` sends the same instruction again, under the
same key. That is safe at any time and in any process, because a processor does the instruction of a
key once. A definite result is recorded whoever brings it and however late. An operation ends
without one only where it is certain that nothing left us. Why each rule is needed is in
`docs/decisions/0003-operations-at-a-processor.md`.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from remit.domain.caller import Caller
from remit.domain.card import Card
from remit.domain.change import AuditEntry, Change, IdempotencyRecord, KeyUse, Message, Topic
from remit.domain.errors import (
    CardUnreadable,
    ProcessorTimeout,
    ProcessorUnavailable,
    Unavailable,
)
from remit.domain.ledger import Posting
from remit.domain.operation import (
    NEEDS_CARD,
    Approved,
    Declined,
    Operation,
    OperationKind,
    OperationState,
    ProcessorResult,
)
from remit.domain.payment import Payment
from remit.domain.refund import Refund, RefundState
from remit.payments.results import audit_entry, notification, with_error
from remit.ports.app import App
from remit.ports.processor import Instruction

MAX_RACES = 20
"""How often a step is taken again after another step changed the same records first."""

MAX_WAIT = timedelta(hours=1)
"""The longest wait before an operation without a result is sent again."""

EXPIRED = Declined("processing_expired", "The payment was not processed in time. Try again.")

NOT_DONE = Declined(ProcessorUnavailable.code, "The processor could not be reached.")

log = structlog.get_logger("operations")


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
    """An operation that this process is about to send."""
    now = app.clock()
    until = now + app.settings.claim_lease
    operation = Operation(
        id=app.new_id(),
        kind=kind,
        payment_id=payment.id,
        processor=app.processor.name,
        amount_minor=amount_minor,
        currency=payment.currency,
        created_at=now,
        caller=caller,
        action=action,
        attempts=1,
        processes=1,
        leased_until=until,
        due_at=until,
    )
    return replace(operation, **fields)


def queued_operation(app: App, operation: Operation) -> Operation:
    """The new operation for a worker instead, which sends it until it expires."""
    expires_at = operation.created_at + timedelta(seconds=app.settings.queue_retention_seconds)
    return replace(
        operation,
        state=OperationState.QUEUED,
        attempts=0,
        processes=0,
        leased_until=None,
        expires_at=expires_at,
        due_at=expires_at,
    )


async def send(app: App, caller: Caller, claim: Claim, card: Card | None) -> Claim:
    """Calls the processor for an operation that this process has taken, and records what came of
    it. Raises Unavailable if that could not be recorded: the operation is then still open.
    """
    try:
        async with asyncio.timeout(app.settings.processor_timeout_seconds):
            result = await app.processor.execute(_instruction(claim, card))
    except ProcessorUnavailable as error:
        return await _record_not_sent(app, caller, claim, error)
    except (ProcessorTimeout, TimeoutError):
        return await _record_no_answer(app, caller, claim)
    return await record_result(app, caller, claim, result)


async def advance(app: App, caller: Caller, operation_id: str) -> Claim | None:
    """Sends an open operation that no process has leased, and returns what became of it.

    A queued operation that has expired is ended instead. Returns None if there is no such
    operation. Raises Unavailable.
    """
    claim = await read_claim(app, operation_id)
    if claim is None:
        return None
    operation = claim.operation
    now = app.clock()
    if not operation.is_open or operation.is_leased(now):
        return claim
    if operation.has_expired(now):
        return await record_result(app, caller, claim, EXPIRED)
    try:
        card = await _card(app, claim)
    except CardUnreadable as error:
        return await _record_unreadable_card(app, caller, claim, error)
    taken = claim._replace(operation=operation.take(until=now + app.settings.claim_lease))
    if await app.store.commit(Change(operation=taken.operation, audit=())) is not None:
        return await _read_again(app, claim)
    return await send(app, caller, taken, card)


async def record_result(app: App, caller: Caller, claim: Claim, result: ProcessorResult) -> Claim:
    """Commits the result of an open operation. One that has ended with the same result is left.

    A result that contradicts the recorded one is told to the operators.
    """
    for _ in range(MAX_RACES):
        if not claim.operation.is_open:
            if claim.operation.result != result:
                await _record_contradiction(app, caller, claim, result)
            return claim
        after, change = _end(app, caller, claim, result)
        if await app.store.commit(change) is None:
            return after
        claim = await _read_again(app, claim)
    raise Unavailable("The payment is changing too fast. Try again.")


async def _record_not_sent(
    app: App, caller: Caller, sent: Claim, error: ProcessorUnavailable
) -> Claim:
    """For a call that certainly did not reach the processor.

    If no other process may have sent the instruction, a promised operation is queued again, and any
    other has ended: nothing was done and nothing will be.
    """
    claim = sent
    for _ in range(MAX_RACES):
        if not claim.operation.is_certainly_with(sent.operation):
            return await _record_no_answer(app, caller, sent)
        if claim.operation.expires_at is None:
            after, change = _end(app, caller, claim, None)
        else:
            due_at = app.clock() + MAX_WAIT
            after = claim._replace(operation=claim.operation.requeue(due_at=due_at))
            entry = _entry(app, caller, claim, "failed")
            change = Change(operation=after.operation, audit=(with_error(entry, error),))
        if await app.store.commit(change) is None:
            return after
        claim = await _read_again(app, claim)
    raise Unavailable("The payment is changing too fast. Try again.")


async def _record_no_answer(app: App, caller: Caller, sent: Claim) -> Claim:
    """For a call that may have reached the processor: it is sent again after a wait.

    The waits double, so that a late result has mostly arrived before the next attempt.
    """
    first = timedelta(seconds=app.settings.processor_timeout_seconds)
    wait = min(first * 2 ** min(sent.operation.attempts - 1, 16), MAX_WAIT)
    claim = sent
    for _ in range(MAX_RACES):
        if not claim.operation.is_open or claim.operation.attempts != sent.operation.attempts:
            return claim  # it has ended, or another process has taken it
        after = claim._replace(operation=claim.operation.wait(until=app.clock() + wait))
        operation = after.operation
        entry = _entry(app, caller, after, "no_answer")
        is_first = operation.attempts == 1 and after.refund is None
        change = Change(
            operation=operation,
            audit=(entry,),
            messages=(notification(app, after.payment),) if is_first else (),
        )
        if await app.store.commit(change) is None:
            return after
        claim = await _read_again(app, claim)
    raise Unavailable("The payment is changing too fast. Try again.")


async def _record_unreadable_card(
    app: App, caller: Caller, claim: Claim, error: CardUnreadable
) -> Claim:
    """A queued operation ends as declined. A sent one waits: only the processor knows of it."""
    if claim.operation.state is OperationState.QUEUED:
        return await record_result(app, caller, claim, Declined(error.code, error.message))
    log.error("card_unreadable", operation_id=claim.operation.id)
    postponed = claim.operation.postpone(until=app.clock() + MAX_WAIT)
    await app.store.commit(Change(operation=postponed, audit=()))
    return await _read_again(app, claim)


async def _record_contradiction(
    app: App, caller: Caller, claim: Claim, result: ProcessorResult
) -> None:
    operation = claim.operation
    log.error("result_contradicts", operation_id=operation.id, state=operation.state)
    alert = Message(
        id=app.new_id(),
        topic=Topic.ALERTS,
        kind="operation_contradicted",
        created_at=app.clock(),
        payment_id=operation.payment_id,
        operation_id=operation.id,
        detail=f"{operation.kind} ended as {operation.state}, and the processor says "
        f"{type(result).__name__.lower()}",
    )
    entry = _entry(app, caller, claim, "contradicted")
    await app.store.commit(Change(audit=(entry,), messages=(alert,)))


def _end(
    app: App, caller: Caller, claim: Claim, result: ProcessorResult | None
) -> tuple[Claim, Change]:
    """The claim after its operation has ended with `result`, or with none because nothing happened
    and nothing will; and the change that commits it.
    """
    operation, payment, refund = claim
    now, transaction_id = app.clock(), app.new_id()
    postings: tuple[Posting, ...] = ()
    if refund is not None:
        refund = refund.apply_result(NOT_DONE if result is None else result)
        if isinstance(result, Approved):
            postings = refund.postings(
                processor=operation.processor, transaction_id=transaction_id, now=now
            )
        else:
            payment = payment.release_refund(operation.amount_minor)
    elif result is None:
        payment = payment.return_to_previous_state(operation)
    else:
        payment = payment.apply_result(operation, result, now=now)
        postings = payment.postings_of_result(
            operation, result, transaction_id=transaction_id, now=now
        )
    after = Claim(operation.end(result), payment, refund)
    entry = _entry(app, caller, after, _AUDITED[type(result)])
    is_announced = refund is not None or result is not None
    change = Change(
        operation=after.operation,
        payment=None if payment is claim.payment else payment,
        refund=refund,
        audit=(replace(entry, code=NOT_DONE.code) if result is None else entry,),
        postings=postings,
        messages=(notification(app, payment, refund),) if is_announced else (),
        record=key_record(operation, None if result is None else after),
        record_use=KeyUse.RELEASE if result is None else KeyUse.COMPLETE,
    )
    return after, change


def _entry(app: App, caller: Caller, claim: Claim, outcome: str) -> AuditEntry:
    """The audit entry of the request that asked for the operation, or of one that resolves it."""
    operation = claim.operation
    action = operation.action if caller == operation.caller else "resolve"
    return audit_entry(app, caller, action, outcome, claim.payment, claim.refund)


_AUDITED: Mapping[type, str] = {Approved: "done", Declined: "declined", type(None): "failed"}
"""The outcome of an operation's end in the audit trail."""


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
        is_awaited = payment.awaits(operation)
        if operation.refund_id is not None:
            refund = await app.store.refund(operation.refund_id)
            is_awaited = refund is not None and refund.state is RefundState.PENDING
        if is_awaited or not operation.is_open:
            return Claim(operation, payment, refund)
    raise Unavailable("The payment is changing too fast. Try again.")


async def _read_again(app: App, claim: Claim) -> Claim:
    current = await read_claim(app, claim.operation.id)
    if current is None:
        raise AssertionError("operations are never deleted")
    return current


def _instruction(claim: Claim, card: Card | None) -> Instruction:
    operation = claim.operation
    return Instruction(
        key=operation.id,
        operation=operation.kind,
        payment_id=operation.payment_id,
        amount_minor=operation.amount_minor,
        currency=operation.currency,
        final=operation.final,
        card=card,
        reference=claim.payment.processor_reference,
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
