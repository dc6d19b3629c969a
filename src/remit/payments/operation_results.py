"""Records what came of an operation: its result, whoever brings it and however late, or none yet.

Each function commits one change: the operation with the payment or refund that waits for it, the
postings, the audit entry, the messages, and the record of the caller's idempotency key. Each raises
Unavailable if that could not be committed. The operation is then as it was.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta

import structlog
from msgspec.structs import replace

from remit.domain.caller import Caller
from remit.domain.change import AuditEntry, Change, KeyUse
from remit.domain.errors import CardUnreadable, InvalidState, ProcessorUnavailable, Unavailable
from remit.domain.ledger import Posting
from remit.domain.operation import (
    Approved,
    Declined,
    NotDone,
    Operation,
    OperationState,
    ProcessorResult,
    Received,
    Reversed,
)
from remit.domain.payment import postings_of
from remit.payments.claims import (
    MAX_RACES,
    MAX_WAIT,
    Claim,
    cancellation_of,
    compensation_of,
    key_record,
    operation_message,
    read_again,
)
from remit.payments.results import alert, audit_entry, notification, with_error
from remit.ports.app import App

RECEIVED_WAIT = timedelta(hours=6)
"""The wait before the processor is asked after an operation that it does later."""

DECISION_AFTER = timedelta(days=1)
"""How long an operation can be without a result before a person is told of it."""

RECEIVED_DECISION_AFTER = timedelta(days=7)
"""The same for an operation that the processor does later. A bank can take days."""

DECISION_WAIT = timedelta(days=1)
"""The wait between two attempts while a person is waited for."""

MAX_ATTEMPTS = 60
"""After so many attempts an operation is taken up by a person alone."""

NEVER = timedelta(days=36_500)

EXPIRED = Declined("processing_expired", "The payment was not processed in time. Try again.")

NOT_AUTHENTICATED = Declined(
    "authentication_expired",
    "The payer did not authenticate the payment in time.",
    "authentication_required",
)

NOT_REACHED = Declined(ProcessorUnavailable.code, "The processor could not be reached.")

log = structlog.get_logger("operations")


async def record_result(app: App, caller: Caller, claim: Claim, result: ProcessorResult) -> Claim:
    """Commits the result of an operation, and returns the claim after it.

    One that has ended with the same result is left. If the recorded result contradicts this one,
    the operators are alerted, and what was done too late is given back by an operation of its own.
    """

    def make(claim: Claim) -> tuple[Claim, Change] | None:
        if claim.operation.is_open:
            return _end(app, caller, claim, result)
        if not claim.operation.contradicts(result) or claim.operation.late_result is not None:
            return None
        return _contradict(app, caller, claim, result)

    return await _commit_change_of(app, claim, make)


async def record_unsent(app: App, caller: Caller, claim: Claim, result: ProcessorResult) -> Claim:
    """Commits the result of an operation that was not sent and will not be. One that another
    process has sent meanwhile is left: only the processor knows its result.
    """

    def make(claim: Claim) -> tuple[Claim, Change] | None:
        if claim.operation.state is not OperationState.QUEUED:
            return None
        return _end(app, caller, claim, result)

    return await _commit_change_of(app, claim, make)


async def record_reversal(app: App, caller: Caller, claim: Claim, reversal: Reversed) -> Claim:
    """Commits that what an operation did has failed afterwards, by postings that reverse its own.

    The news can come before the operation's result, and more than once.
    """

    def make(claim: Claim) -> tuple[Claim, Change] | None:
        if claim.operation.state is OperationState.REVERSED:
            return None
        return _reverse(app, caller, claim, reversal)

    return await _commit_change_of(app, claim, make)


async def record_not_sent(
    app: App, caller: Caller, sent: Claim, error: ProcessorUnavailable
) -> Claim:
    """For a call that certainly did not reach the processor.

    If no other process may have sent the instruction, a promised operation is queued again, and any
    other has ended: nothing was done and nothing will be.
    """

    def make(claim: Claim) -> tuple[Claim, Change] | None:
        operation = claim.operation
        if not operation.is_certainly_with(sent.operation):
            return _wait(app, caller, claim, sent.operation)
        if not operation.is_promised:
            return _end(app, caller, claim, NotDone())
        due_at = app.clock() + MAX_WAIT
        after = claim._replace(operation=operation.requeue(due_at=due_at))
        entry = with_error(_entry(app, caller, claim, "failed"), error)
        return after, Change(operation=after.operation, audit=(entry,))

    return await _commit_change_of(app, sent, make)


async def record_no_answer(app: App, caller: Caller, sent: Claim) -> Claim:
    """For a call that may have reached the processor: the operation is taken up again after a wait.

    The waits double, so that a late result has mostly arrived before the next attempt. An operation
    that stays without a result is shown to a person, and its attempts have an end.
    """
    return await _commit_change_of(
        app, sent, lambda claim: _wait(app, caller, claim, sent.operation)
    )


async def record_received(app: App, caller: Caller, sent: Claim, received: Received) -> Claim:
    """For an instruction that the processor has and does later, or once the payer has acted."""

    def make(claim: Claim) -> tuple[Claim, Change] | None:
        operation, payment, _ = claim
        if not operation.is_open or operation.is_received:
            return None
        news, action, now = received, received.next_action, app.clock()
        wait = _wait_of(app, operation) if action else RECEIVED_WAIT
        if action is not None and _canceled_by(claim) is not None:
            # Its payer is not waited for.
            news = replace(received, next_action=replace(action, expires_at=now))
        elif action is not None:
            payment = payment.require_action(operation, action)
        operation = operation.receive(news, until=now + wait)
        after = claim._replace(operation=operation, payment=payment)
        is_waiting = payment is not claim.payment
        change = Change(
            operation=operation,
            payment=payment if is_waiting else None,
            audit=(_entry(app, caller, after, "requires_action" if is_waiting else "received"),),
            messages=(notification(app, after.payment, after.refund),),
        )
        return after, change

    return await _commit_change_of(app, sent, make)


async def record_unreadable_card(
    app: App, caller: Caller, claim: Claim, error: CardUnreadable
) -> Claim:
    """A queued operation ends as declined. A sent one waits: only the processor knows of it."""
    if claim.operation.state is OperationState.QUEUED:
        return await record_unsent(app, caller, claim, Declined(error.code, error.message))
    log.error("card_unreadable", operation_id=claim.operation.id)
    return await record_no_answer(app, caller, claim)


async def _commit_change_of(
    app: App, claim: Claim, make: Callable[[Claim], tuple[Claim, Change] | None]
) -> Claim:
    """Commits what `make` makes of the claim, and returns the claim after it.

    If another change came first, `make` is called again with the claim as it is by then. It returns
    None if nothing is left to commit. Raises Unavailable.
    """
    for _ in range(MAX_RACES):
        made = make(claim)
        if made is None:
            return claim
        after, change = made
        if await app.store.commit(change) is None:
            return after
        claim = await read_again(app, claim)
    raise Unavailable("The payment is changing too fast. Try again.")


def _wait(app: App, caller: Caller, claim: Claim, sent: Operation) -> tuple[Claim, Change] | None:
    """The claim without a result, after the call of the process that took it as `sent`."""
    operation, payment, refund = claim
    if not operation.is_open or operation.attempts != sent.attempts:
        return None  # it has ended, or another process has taken it
    now = app.clock()
    is_first = operation.attempts == 1 and refund is None and operation.compensates is None
    messages = [notification(app, payment)] if is_first else []
    allowed = RECEIVED_DECISION_AFTER if operation.is_received else DECISION_AFTER
    if operation.attempts >= MAX_ATTEMPTS:
        operation = operation.await_decision(until=now + NEVER)
    elif now - operation.created_at >= allowed:
        operation = operation.await_decision(until=now + DECISION_WAIT)
    else:
        operation = operation.wait(until=now + _wait_of(app, operation))
    if operation.needs_decision and not claim.operation.needs_decision:
        days = allowed / timedelta(days=1)
        detail = f"a {operation.kind} has no result after {days:g} days"
        messages.append(alert(app, "operation_needs_decision", detail, operation))
    after = claim._replace(operation=operation)
    entry = _entry(app, caller, after, "no_answer")
    return after, Change(operation=operation, audit=(entry,), messages=tuple(messages))


def _wait_of(app: App, operation: Operation) -> timedelta:
    """The wait before the next attempt. At the latest, the processor is asked when the payer can
    act no more.
    """
    expires_at, now = operation.action_expires_at, app.clock()
    if operation.is_received and expires_at is None:
        return RECEIVED_WAIT
    first = timedelta(seconds=app.settings.processor_timeout_seconds)
    doublings = min(operation.attempts - 1, 16)
    wait = min(first * (1 << doublings), MAX_WAIT)
    return wait if expires_at is None or expires_at <= now else min(wait, expires_at - now)


def _end(app: App, caller: Caller, claim: Claim, result: ProcessorResult) -> tuple[Claim, Change]:
    """The claim after its operation has ended with `result`, and the change that commits it."""
    operation, payment, refund = claim
    if operation.action_expires_at is not None and result in (EXPIRED, NotDone()):
        result = NOT_AUTHENTICATED
    if operation.compensates is not None:
        pass  # the payment has its own result already
    elif refund is not None:
        refund = refund.apply_result(NOT_REACHED if isinstance(result, NotDone) else result)
        if not isinstance(result, Approved):
            payment = payment.release_refund(operation.amount_minor)
    else:
        payment = payment.apply_result(operation, result, now=app.clock())
    after = Claim(operation.end(result), payment, refund)
    entry = _entry(app, caller, after, _AUDITED[type(result)])
    is_not_done = isinstance(result, NotDone)
    canceled_by = _canceled_by(claim)
    # That a step was not done is news if it was announced as processing, or if it is canceled.
    is_news = not is_not_done or refund or operation.needs_decision or canceled_by
    is_announced = operation.compensates is None and is_news
    messages = [notification(app, payment, refund)] if is_announced else []
    if operation.compensates is not None and not isinstance(result, Approved):
        detail = f"{operation.amount_minor} {operation.currency} could not be given back"
        messages.append(alert(app, "compensation_failed", detail, operation))
    change = Change(
        operation=after.operation,
        payment=None if payment is claim.payment else payment,
        refund=None if refund is claim.refund else refund,
        audit=(replace(entry, code=NOT_REACHED.code) if is_not_done else entry,),
        postings=_postings(app, claim) if isinstance(result, Approved) else (),
        messages=tuple(messages),
        record=key_record(operation, None if is_not_done else after),
        record_use=KeyUse.RELEASE if is_not_done else KeyUse.COMPLETE,
    )
    if canceled_by is None or not isinstance(result, Approved):
        return after, change
    return _give_back(app, canceled_by, after, change)


def _give_back(app: App, canceled_by: Caller, ended: Claim, change: Change) -> tuple[Claim, Change]:
    """The change with what gives back the money of a payment that was canceled meanwhile. The
    caller of the ended operation is answered what that came to, without the cancel.
    """
    operation, payment, _ = ended
    follow_up, canceled, refund = cancellation_of(app, canceled_by, payment, operation.kind)
    canceled = replace(canceled, version=payment.version)
    change = replace(
        change,
        payment=canceled,
        refund=refund,
        follow_up=follow_up,
        messages=(*change.messages, operation_message(app, follow_up)),
    )
    return ended._replace(payment=canceled), change


def _canceled_by(claim: Claim) -> Caller | None:
    """Who canceled the payment while the operation was pending on it."""
    pending = claim.payment.pending
    return pending.canceled_by if pending and claim.payment.awaits(claim.operation) else None


def _reverse(app: App, caller: Caller, claim: Claim, reversal: Reversed) -> tuple[Claim, Change]:
    """The claim after what its operation did has failed. Money that the payment can no longer give
    back, because it was refunded, comes from the suspense account and is a person's to settle.
    """
    operation, payment, refund = claim
    if operation.is_open:
        after, change = _end(app, caller, claim, Declined(reversal.code, reversal.message))
        operation = operation.reverse(reversal)
        return after._replace(operation=operation), replace(change, operation=operation)
    messages = []
    is_done = operation.state is OperationState.SUCCEEDED
    is_lost = operation.is_orphan
    if not is_done:
        pass  # the payment has nothing of it
    elif refund is not None:
        refund = refund.reverse(reversal)
        payment = payment.release_refund(operation.amount_minor)
    elif operation.compensates is None:
        try:
            payment = payment.reverse(operation, reversal)
        except InvalidState:
            is_lost = True
    after = Claim(operation.reverse(reversal), payment, refund)
    if is_lost or (is_done and operation.compensates is not None):
        detail = f"{operation.amount_minor} {operation.currency} is missing: {reversal.message}"
        messages.append(alert(app, "reversal_needs_decision", detail, operation))
    elif is_done:
        messages.append(notification(app, payment, refund))
    postings: tuple[Posting, ...] = ()
    if is_done or is_lost:
        postings = _postings(app, claim, is_reversal=True, to_suspense=is_lost)
    change = Change(
        operation=after.operation,
        payment=None if payment is claim.payment else payment,
        refund=None if refund is claim.refund else refund,
        audit=(replace(_entry(app, caller, after, "reversed"), code=reversal.code),),
        postings=postings,
        messages=tuple(messages),
    )
    return after, change


def _contradict(
    app: App, caller: Caller, claim: Claim, result: ProcessorResult
) -> tuple[Claim, Change]:
    """The claim with a result that came after another one. What the processor did too late is an
    orphan: it is posted to the suspense account, and given back where that is possible.
    """
    operation = claim.operation.contradict(result)
    said = type(result).__name__.lower()
    log.error("result_contradicts", operation_id=operation.id, state=operation.state, result=said)
    detail = f"a {operation.kind} ended as {operation.state}, and the processor says {said}"
    messages = [alert(app, "operation_contradicted", detail, operation)]
    postings: tuple[Posting, ...] = ()
    compensation = None
    if isinstance(result, Approved):
        postings = _postings(app, claim, to_suspense=True)
        compensation = compensation_of(app, caller, claim, result.reference)
    if compensation is not None:
        messages.append(operation_message(app, compensation))
    after = claim._replace(operation=operation)
    change = Change(
        operation=operation,
        follow_up=compensation,
        audit=(_entry(app, caller, after, "contradicted"),),
        postings=postings,
        messages=tuple(messages),
    )
    return after, change


def _postings(
    app: App, claim: Claim, *, to_suspense: bool = False, is_reversal: bool = False
) -> tuple[Posting, ...]:
    return postings_of(
        claim.operation,
        claim.payment,
        to_suspense=to_suspense,
        is_reversal=is_reversal,
        transaction_id=app.new_id(),
        now=app.clock(),
    )


def _entry(app: App, caller: Caller, claim: Claim, outcome: str) -> AuditEntry:
    """The audit entry of the request that asked for the operation, or of one that resolves it."""
    operation = claim.operation
    action = operation.action if caller == operation.caller else "resolve"
    return audit_entry(app, caller, action, outcome, claim.payment, claim.refund)


_AUDITED: Mapping[type, str] = {Approved: "done", Declined: "declined", NotDone: "failed"}
"""The outcome of an operation's end in the audit trail."""
