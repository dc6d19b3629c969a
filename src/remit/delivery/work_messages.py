"""Handles the messages of the work queue: each makes a worker take one step.

A message may be handled twice, which is safe: the state of the payment says that the step was
taken.
"""

import asyncio
from collections.abc import Callable
from typing import assert_never

import structlog

from remit.domain.change import UNREADABLE, Caller, Message
from remit.domain.errors import InvalidState, RemitError, Unavailable
from remit.oversight.metrics import FAILED, count_discrepancies
from remit.payments.operations import resolve
from remit.payments.process import ProcessRequest, process
from remit.payments.refund import resolve_refund
from remit.payments.results import Accepted, Queued, Rejected, Replayed, StepResult
from remit.ports.app import App
from remit.ports.delivery import ReceivedMessage

log = structlog.get_logger("work")


async def handle_batch(app: App) -> int:
    """Receives one batch of messages and handles them at once. Returns how many."""
    batch = await app.delivery.queue.receive(app.settings.work_concurrency)
    await asyncio.gather(*(_handle_and_acknowledge(app, received) for received in batch))
    return len(batch)


async def _handle_and_acknowledge(app: App, received: ReceivedMessage) -> None:
    await acknowledge(app, received, await try_message(app, received.message))


async def try_message(
    app: App, message: Message, report_progress: Callable[[], None] = lambda: None
) -> RemitError | None:
    """Handles the message and returns its failure, whatever went wrong. Never raises.

    One message that cannot be handled must not stop the others.
    """
    try:
        return await handle_message(app, message, report_progress)
    except Unavailable as error:
        return error
    except Exception as error:
        log.exception("work_failed", message_id=message.id, kind=message.kind)
        return RemitError(type(error).__name__)


async def acknowledge(app: App, received: ReceivedMessage, failure: RemitError | None) -> None:
    """Deletes a message that was handled. Returns one that failed to the queue, for later."""
    if failure is None:
        await app.delivery.queue.delete(received)
        return
    message = received.message
    log.warning(
        "work_retried",
        message_id=message.id,
        payment_id=message.payment_id,
        receives=received.receives,
        error=failure.code,
    )
    app.monitoring.metrics.count(FAILED)
    pause_seconds = 0.0
    if isinstance(failure, InvalidState):
        # Another process holds the payment's lease. Until that lapses and a sweep has run, another
        # attempt cannot succeed, and would only use up a receive of the message.
        lease_seconds = app.settings.claim_lease.total_seconds()
        pause_seconds = lease_seconds + 2 * app.settings.sweep_interval_seconds
    await app.delivery.queue.retry(received, f"{failure.code}: {failure.message}", pause_seconds)


async def handle_message(
    app: App, message: Message, report_progress: Callable[[], None] = lambda: None
) -> RemitError | None:
    """Takes the step that the message names. Returns an error if it should be tried again.

    A step that is rejected for good (the payment is canceled, the card is erased) counts as done:
    its rejection is in the audit trail. A long step calls `report_progress` on its way.
    """
    match message.kind:
        case "reconcile":
            await count_discrepancies(app, app.monitoring.metrics, report_progress)
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
            return _error_to_retry(await process(app, caller, request, requeue=False))
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


def _error_to_retry(result: StepResult) -> RemitError | None:
    """The error of a step that may succeed later."""
    match result:
        case Rejected(error):
            changes_soon = getattr(error, "retry_after_seconds", None) is not None
            return error if changes_soon or isinstance(error, Unavailable) else None
        case Accepted() | Replayed() | Queued():
            return None
        case _:
            assert_never(result)
