"""Sweeps up what is due: open operations without a result, cards and records past their time.

A sweep may run twice at once. Every record has a version, so only one of the changes is written.
"""

from datetime import timedelta

from msgspec.structs import replace

from remit.domain.caller import Caller
from remit.domain.change import Change
from remit.domain.payment import Payment
from remit.payments.claims import operation_message
from remit.payments.results import audit_entry
from remit.ports.app import App

SWEEP_LIMIT = 500
DELETE_LIMIT = 5_000
MESSAGE_LEASES = 4
"""How many leases long a message may take to its worker before the sweep sends another."""


async def sweep(app: App) -> int:
    """Queues due operations to be sent again, and erases due cards. Returns how many."""
    now = app.clock()
    payments = await app.database.reader.due(now, SWEEP_LIMIT)
    operations = await app.database.reader.due_operations(now, SWEEP_LIMIT)
    for payment in payments:
        await app.store.commit(_erase_card(app, payment))
    until = now + MESSAGE_LEASES * app.settings.claim_lease
    for operation in operations:
        # The due time moves and the lease does not: the worker that handles the message must find
        # the operation without a holder.
        postponed = operation.postpone(until=until)
        message = operation_message(app, operation)
        await app.store.commit(Change(operation=postponed, audit=(), messages=(message,)))
    return len(payments) + len(operations)


async def delete_expired_records(app: App) -> int:
    """Deletes idempotency records that are past their retention. Returns how many."""
    retention = timedelta(seconds=app.settings.idempotency_retention_seconds)
    return await app.database.retention.delete_records(app.clock() - retention, DELETE_LIMIT)


def _erase_card(app: App, payment: Payment) -> Change:
    """The change for a payment whose card is due. A pending operation still needs its card, and
    whatever ends it erases that.

    A change that conflicts is not tried again: the payment was changed by another process.
    """
    caller = Caller(payment.merchant_id, payment.mode, "worker", payment.id)
    if payment.pending is not None:
        later = app.clock() + app.settings.card_retention
        return Change(payment=replace(payment, version=payment.version + 1, due_at=later), audit=())
    erased = payment.erase_card()
    return Change(payment=erased, audit=(audit_entry(app, caller, "erase_card", "done", erased),))
