"""Handles the messages of the work queue: each makes a worker take one step.

A message may be handled twice, which is safe: the state of the payment says that the step was
taken.
"""

import asyncio
from collections.abc import Callable

import structlog

from remit.domain.caller import Caller
from remit.domain.change import UNREADABLE, Message
from remit.domain.errors import ProcessorUnavailable, RemitError, Unavailable
from remit.domain.operation import OperationState
from remit.oversight.metrics import FAILED, count_discrepancies
from remit.payments.operations import advance
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
    await app.delivery.queue.retry(received, f"{failure.code}: {failure.message}")


async def handle_message(
    app: App, message: Message, report_progress: Callable[[], None] = lambda: None
) -> RemitError | None:
    """Takes the step that the message names. Returns an error if it should be tried again.

    A message whose operation has ended, or that another process is sending, counts as handled. A
    long step calls `report_progress` on its way.
    """
    match message.kind:
        case "reconcile":
            await count_discrepancies(app, app.monitoring.metrics, report_progress)
            return None
        case "wake":
            return None
        case kind if kind == UNREADABLE:
            return RemitError("The message cannot be read.")
        case "operation" if message.operation_id and message.merchant_id and message.mode:
            caller = Caller(message.merchant_id, message.mode, "worker", message.id)
            claim = await advance(app, caller, message.operation_id)
            if claim is None:
                return RemitError("The message names no operation.")
            if claim.operation.state is OperationState.QUEUED:
                return ProcessorUnavailable("The processor cannot be reached.")
            # An operation without a result is due later: the sweep queues it again.
            return None
        case kind:
            return RemitError(f"No worker knows the step '{kind}'.")
