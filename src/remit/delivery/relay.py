"""Deliver what was committed: messages to their topics, work to payments, lapsed payments to work.

Everything here may happen twice and is safe when it does: messages carry ids, payments carry state.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import assert_never

import structlog
from msgspec.structs import replace

from remit.domain.change import UNREADABLE, Caller, Change, Message, Topic
from remit.domain.errors import InvalidState, RemitError, Unavailable
from remit.domain.payment import Payment
from remit.oversight.metrics import FAILED, count_discrepancies
from remit.payments.operations import resolve, work_message
from remit.payments.process import ProcessRequest, process
from remit.payments.refund import resolve_message, resolve_refund
from remit.payments.results import Accepted, Queued, Rejected, Replayed, audit_entry
from remit.ports.app import App
from remit.ports.delivery import ReceivedMessage

SWEEP_LIMIT = 500
FORGET_LIMIT = 5_000

log = structlog.get_logger("deliver")


async def relay(app: App) -> list[Message]:
    """Sends the oldest waiting messages to where they go, then marks them sent; which ones."""
    messages = await app.delivery.outbox.pending(app.settings.relay_batch)
    if messages:
        async with _held(app):
            for topic in Topic:
                if chosen := [message for message in messages if message.topic is topic]:
                    await send(app, topic, chosen)
            await app.delivery.outbox.sent([message.id for message in messages])
    return messages


@asynccontextmanager
async def _held(app: App) -> AsyncIterator[None]:
    """Keeps other processes from sending the same, however long the topics take."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(app.settings.lease_seconds / 3)
            try:
                await app.delivery.outbox.renew()
            except Unavailable as error:
                log.warning("lease_not_renewed", error=error.code)

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()


async def send(app: App, topic: Topic, messages: Sequence[Message]) -> None:
    match topic:
        case Topic.WORK:
            await app.delivery.queue.send(messages)
        case Topic.NOTIFICATIONS:
            await app.delivery.notifications.publish(messages)
        case Topic.ALERTS:
            await app.delivery.alerts.publish(messages)
        case _:
            assert_never(topic)


async def consume_batch(app: App) -> int:
    """Receives one batch of work and takes each step; how many messages that was."""
    deliveries = await app.delivery.queue.receive(app.settings.work_concurrency)
    await asyncio.gather(*(_handle(app, delivery) for delivery in deliveries))
    return len(deliveries)


async def _handle(app: App, delivery: ReceivedMessage) -> None:
    await acknowledge(app, delivery, await try_message(app, delivery.message))


async def try_message(
    app: App, message: Message, moved: Callable[[], None] = lambda: None
) -> RemitError | None:
    """Takes the step, and answers for whatever goes wrong: None means done. A long step calls
    `moved` on its way.
    """
    try:
        return await handle_message(app, message, moved)
    except Unavailable as error:
        return error
    except Exception as error:
        # One poisonous message must not stop the others.
        log.exception("work_failed", message_id=message.id, kind=message.kind)
        return RemitError(type(error).__name__)


async def acknowledge(app: App, delivery: ReceivedMessage, failure: RemitError | None) -> None:
    """Tells the queue what became of a message: deleted when done, else back for later."""
    if failure is None:
        await app.delivery.queue.delete(delivery)
        return
    message = delivery.message
    log.warning(
        "work_retried",
        message_id=message.id,
        payment_id=message.payment_id,
        receives=delivery.receives,
        error=failure.code,
    )
    app.monitoring.metrics.count(FAILED)
    pause = 0.0
    if isinstance(failure, InvalidState):
        # Somebody else's open question is answered or taken back within its lease and a sweep: to
        # look again before that would only use up what the message may be received.
        lease = app.settings.claim_lease.total_seconds()
        pause = lease + 2 * app.settings.sweep_interval_seconds
    await app.delivery.queue.retry(delivery, f"{failure.code}: {failure.message}", pause)


async def handle_message(
    app: App, message: Message, moved: Callable[[], None] = lambda: None
) -> RemitError | None:
    """The step that `message` asks for. An error means: not done, worth another try.

    A refusal that no retry can change (the payment is canceled, the card is gone) is done: it is
    in the audit trail.
    """
    match message.kind:
        case "reconcile":
            await count_discrepancies(app, app.monitoring.metrics, moved)
            return None
        case "wake":
            return None
        case kind if kind == UNREADABLE:
            return RemitError("The message cannot be read.")
    if message.payment_id is None or message.merchant_id is None or message.mode is None:
        return RemitError("The message names no payment.")
    caller = Caller(message.merchant_id, message.mode, "worker", message.id)
    match message.kind:
        case "process":
            request = ProcessRequest(message.payment_id)
            return _retryable(await process(app, caller, request, requeue=False))
        case "resolve":
            if message.refund_id is not None:
                refund = await app.store.refund(message.refund_id)
                if refund is not None:
                    await resolve_refund(app, caller, refund)
            elif (payment := await app.store.payment(message.payment_id)) is not None:
                await resolve(app, caller, payment)
            return None
        case kind:
            return RemitError(f"No worker knows the step '{kind}'.")


def _retryable(outcome: Accepted | Replayed | Queued | Rejected) -> RemitError | None:
    match outcome:
        case Rejected(error):
            soon = getattr(error, "retry_after_seconds", None) is not None
            return error if soon or isinstance(error, Unavailable) else None
        case Accepted() | Replayed() | Queued():
            return None
        case _:
            assert_never(outcome)


async def sweep(app: App) -> int:
    """Takes up what has lapsed: questions without an answer, cards kept long enough; how many."""
    now = app.clock()
    payments = await app.database.reader.due(now, SWEEP_LIMIT)
    refunds = await app.database.reader.due_refunds(now, SWEEP_LIMIT)
    until = now + 4 * app.settings.claim_lease
    for payment in payments:
        await app.store.commit(_lapsed(app, payment))
    for refund in refunds:
        renewed = refund.extend_lease(until=until)
        message = resolve_message(app, refund)
        await app.store.commit(Change(refund=renewed, audit=(), messages=(message,)))
    return len(payments) + len(refunds)


async def delete_expired_records(app: App) -> int:
    """Deletes idempotency records that have been kept long enough; how many."""
    kept = timedelta(seconds=app.settings.idempotency_retention_seconds)
    return await app.database.retention.delete_records(app.clock() - kept, FORGET_LIMIT)


def _lapsed(app: App, payment: Payment) -> Change:
    """What to do with a payment whose `due_at` has passed. Losing a race here costs nothing."""
    caller = Caller(payment.merchant_id, payment.mode, "worker", payment.id)
    if payment.pending is None:
        erased = payment.erase_card()
        return Change(
            payment=erased, audit=(audit_entry(app, caller, "erase_card", "done", erased),)
        )
    # Not renewed but postponed: whoever takes the message must find the question unowned.
    postponed = replace(
        payment,
        version=payment.version + 1,
        due_at=app.clock() + 20 * app.settings.claim_lease,
    )
    return Change(
        payment=postponed, audit=(), messages=(work_message(app, caller, "resolve", postponed),)
    )
