"""Replays a result: of the first request under an idempotency key, or of the payment itself."""

from msgspec.structs import replace

from remit.domain.caller import Caller, KeyScope
from remit.domain.change import Change, IdempotencyRecord
from remit.domain.errors import (
    KeyInFlight,
    RemitError,
    ResultUnknown,
    Unavailable,
)
from remit.domain.payment import Payment
from remit.payments.operations import advance
from remit.payments.results import (
    Replayed,
    StepResult,
    audit_entry,
    check_same_request,
    may_be_written,
    reject,
)
from remit.ports.app import App


async def replay_key(
    app: App, caller: Caller, action: str, scope: KeyScope, fingerprint: str
) -> StepResult | None:
    """The result of the first request under this key, or None if there is none.

    While that request has no result, its operation is sent again if no process is on it. Without
    a result after that the request is rejected, to be sent once more later, unless it is the payer
    who has to act: the request is then answered with that.
    """
    record = await app.store.record(scope)
    if record is None:
        return None
    try:
        check_same_request(record, fingerprint)
        if record.payment is None and record.operation_id is not None:
            try:
                await advance(app, caller, record.operation_id)
            except Unavailable as error:
                raise ResultUnknown from error
            record = await app.store.record(scope)
            if record is None:
                return None  # it is certain that nothing was done, and the key is free again
        if record.payment is None:
            record = replace(record, payment=await _requiring_action(app, record))
        if record.payment is None:
            raise KeyInFlight("The first request with this Idempotency-Key is still in progress.")
    except ResultUnknown:
        raise
    except RemitError as error:
        payment_id = record.payment_id if record else None
        return await reject(app, caller, action, error, payment_id=payment_id)
    payment, refund = record.payment, record.refund
    entry = audit_entry(app, caller, action, "replayed", payment, refund)
    await app.store.commit(Change(audit=(entry,)))
    return Replayed(payment, refund, record.queued)


async def _requiring_action(app: App, record: IdempotencyRecord) -> Payment | None:
    """The payment of a request in flight, if its payer has to act before there is a result."""
    payment = await app.store.payment(record.payment_id) if record.payment_id else None
    if payment is None or payment.pending is None or payment.next_action is None:
        return None
    return payment if payment.pending.operation_id == record.operation_id else None


async def replay_payment(
    app: App,
    caller: Caller,
    action: str,
    payment: Payment,
    record: IdempotencyRecord | None,
    *,
    queued: bool = False,
) -> Replayed | None:
    """Replays the result that the payment has, and keeps it as the result under this request's key.

    None if another request has taken the key meanwhile. Raises ResultUnknown if the key may have
    been written.
    """
    if record is not None:
        kept = replace(payment, encrypted_card=None)
        record = replace(record, payment_id=payment.id, payment=kept, queued=queued)
    entry = audit_entry(app, caller, action, "replayed", payment)
    with may_be_written():
        conflict = await app.store.commit(Change(audit=(entry,), record=record))
    return Replayed(payment, queued=queued) if conflict is None else None
