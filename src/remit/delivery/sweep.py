"""Sweeps up what is due: pending operations whose lease lapsed, cards and records past their time.

A sweep may run twice at once. Every record has a version, so only one of the changes is written.
"""

from datetime import timedelta

from msgspec.structs import replace

from remit.domain.change import Caller, Change
from remit.domain.payment import Payment
from remit.payments.operations import work_message
from remit.payments.refund import resolve_message
from remit.payments.results import audit_entry
from remit.ports.app import App

SWEEP_LIMIT = 500
DELETE_LIMIT = 5_000


async def sweep(app: App) -> int:
    """Queues due payments and refunds to be resolved, and erases due cards. Returns how many."""
    now = app.clock()
    payments = await app.database.reader.due(now, SWEEP_LIMIT)
    refunds = await app.database.reader.due_refunds(now, SWEEP_LIMIT)
    until = now + 4 * app.settings.claim_lease
    for payment in payments:
        await app.store.commit(_due_change(app, payment))
    for refund in refunds:
        leased = refund.extend_lease(until=until)
        message = resolve_message(app, refund)
        await app.store.commit(Change(refund=leased, audit=(), messages=(message,)))
    return len(payments) + len(refunds)


async def delete_expired_records(app: App) -> int:
    """Deletes idempotency records that are past their retention. Returns how many."""
    retention = timedelta(seconds=app.settings.idempotency_retention_seconds)
    return await app.database.retention.delete_records(app.clock() - retention, DELETE_LIMIT)


def _due_change(app: App, payment: Payment) -> Change:
    """The change for a payment whose `due_at` has passed.

    A change that conflicts is not tried again: the payment was changed by another process.
    """
    caller = Caller(payment.merchant_id, payment.mode, "worker", payment.id)
    if payment.pending is None:
        erased = payment.erase_card()
        return Change(
            payment=erased, audit=(audit_entry(app, caller, "erase_card", "done", erased),)
        )
    # The due time moves and the lease does not: the worker that handles the message must find
    # the operation without a holder.
    postponed = replace(
        payment,
        version=payment.version + 1,
        due_at=app.clock() + 20 * app.settings.claim_lease,
    )
    return Change(
        payment=postponed, audit=(), messages=(work_message(app, caller, "resolve", postponed),)
    )
