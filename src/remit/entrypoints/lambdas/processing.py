"""The payment-processing function: answers /process and /payments, and handles the failure queue.

A message that fails stays in the queue. After its last allowed receive it becomes a dead letter.
"""

import asyncio
from typing import Any

from aws_lambda_powertools.utilities.data_classes import SQSEvent

from remit.adapters.aws.sqs_body import read_message
from remit.delivery.work_messages import handle_message
from remit.domain.change import Message
from remit.entrypoints.lambdas.batch import (
    BatchResponse,
    EmbeddedMetrics,
    batch_response,
    try_record,
)
from remit.entrypoints.lambdas.proxy import ProxyApi
from remit.entrypoints.lambdas.runtime import Event, make_handler
from remit.ports.app import App


class ProcessingFunction:
    def __init__(self, app: App) -> None:
        self._app = app
        self._api = ProxyApi(app)
        self._metrics = EmbeddedMetrics()

    async def __call__(self, event: Event) -> dict[str, Any]:
        if "Records" in event:
            return await self._handle_batch(SQSEvent(event))
        return await self._api(event)

    async def _handle_batch(self, event: SQSEvent) -> BatchResponse:
        """Handles all messages at once: a slow processor would use up the function's time with the
        first ones, and each of the others would lose a receive.
        """
        now = self._app.clock()
        ids = [record.message_id for record in event.records]
        messages = [read_message(record.body, record.message_id, now) for record in event.records]
        handled = await asyncio.gather(
            *(try_record(self._handle(message), message, self._metrics) for message in messages)
        )
        await self._metrics.write()
        return batch_response(
            [id_ for id_, is_done in zip(ids, handled, strict=True) if not is_done]
        )

    async def _handle(self, message: Message) -> None:
        if (failure := await handle_message(self._app, message)) is not None:
            raise failure


handler = make_handler(ProcessingFunction, ProcessingFunction.__call__)
