"""The payment-processing function: answers /process and /payments, and handles the failure queue.

A message that fails stays in the queue. After its last allowed receive it becomes a dead letter.
"""

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
        failed_ids = []
        for record in event.records:
            message = read_message(record.body, record.message_id, self._app.clock())
            if not await try_record(self._handle(message), message, self._metrics):
                failed_ids.append(record.message_id)
        await self._metrics.write()
        return batch_response(failed_ids)

    async def _handle(self, message: Message) -> None:
        if (failure := await handle_message(self._app, message)) is not None:
            raise failure


handler = make_handler(ProcessingFunction, ProcessingFunction.__call__)
