"""The payment-processing function: requests to /process and /payments, and the failure queue.

A step that fails stays in the queue, which counts its receives and buries it after the last.
"""

from typing import Any

from aws_lambda_powertools.utilities.data_classes import SQSEvent

from remit.adapters.aws.sqs_body import read_message
from remit.delivery.relay import handle_message
from remit.domain.change import Message
from remit.entrypoints.lambdas.batch import Counter, Failures, failures, handled
from remit.entrypoints.lambdas.proxy import Http
from remit.entrypoints.lambdas.runtime import Event, make_handler
from remit.ports.app import App


class ProcessingFunction:
    def __init__(self, app: App) -> None:
        self._app = app
        self._http = Http(app)
        self._counter = Counter()

    async def __call__(self, event: Event) -> dict[str, Any]:
        return await (self.steps(SQSEvent(event)) if "Records" in event else self._http(event))

    async def steps(self, event: SQSEvent) -> Failures:
        failed = []
        for record in event.records:
            message = read_message(record.body, record.message_id, self._app.clock())
            if not await handled(self._step(message), message, self._counter):
                failed.append(record.message_id)
        await self._counter.write()
        return failures(failed)

    async def _step(self, message: Message) -> None:
        if (failure := await handle_message(self._app, message)) is not None:
            raise failure


handler = make_handler(ProcessingFunction, ProcessingFunction.__call__)
