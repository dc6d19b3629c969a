"""The payment-delivery function: sends the messages of a table's stream, and runs scheduled jobs.

the stream            sends each new message
{"job": "tick"}       sweeps, relays the waiting messages, archives audit entries
{"job": "work"}       ticks and handles the queue that is a table, until nothing is left
{"job": "reconcile"}  reconciles books, payments, processor and audit trail
"""

from collections import Counter as Tally
from typing import Any

import msgspec
from aws_lambda_powertools.utilities.data_classes import DynamoDBStreamEvent
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import (
    DynamoDBRecord,
    DynamoDBRecordEventName,
)

from remit.delivery.relay import relay, send
from remit.delivery.sweep import delete_expired_records, sweep
from remit.delivery.work_messages import handle_batch
from remit.domain.change import Message
from remit.entrypoints.lambdas.batch import (
    BatchResponse,
    EmbeddedMetrics,
    batch_response,
    try_record,
)
from remit.entrypoints.lambdas.runtime import Event, make_handler
from remit.oversight.audit.archiver import AuditArchiver
from remit.oversight.metrics import (
    count_dead_letters,
    count_discrepancies,
    count_notifications,
    count_outbox_age,
)
from remit.ports.app import App

MAX_ROUNDS = 100
"""The most rounds of one run. The schedule starts another run soon."""

_message = msgspec.json.Decoder(Message)


class DeliveryFunction:
    def __init__(self, app: App) -> None:
        self._app = app
        self._archiver = AuditArchiver(app)
        self._metrics = EmbeddedMetrics()

    async def __call__(self, event: Event) -> dict[str, Any]:
        if "Records" in event:
            return await self._send_stream(DynamoDBStreamEvent(event))
        jobs = {"tick": self._tick, "work": self._work, "reconcile": self._reconcile}
        try:
            return await jobs[event["job"]]()
        finally:
            # The next run may be in another container, which must not wait for this one's lease.
            await self._app.delivery.outbox.release()

    async def _send_stream(self, event: DynamoDBStreamEvent) -> BatchResponse:
        """Sends the messages among the new items, in their order.

        After one that fails, Lambda delivers the stream again from that one.
        """
        for record in event.records:
            if (message := _new_message(record)) is None:
                continue
            if not await try_record(self._send(message), message, self._metrics):
                await self._metrics.write()
                return batch_response([_sequence_number(record)])
            count_notifications([message], self._metrics)
        await self._metrics.write()
        return batch_response([])

    async def _send(self, message: Message) -> None:
        await send(self._app, message.topic, [message])
        await self._app.delivery.outbox.mark_sent([message.id])

    async def _tick(self) -> dict[str, int]:
        """Runs one round of each of the worker's jobs. Returns how much each had to do."""
        await count_outbox_age(self._app, self._metrics)
        swept = await sweep(self._app)
        relayed = await self._relay()
        await self._metrics.write()
        return {
            "swept": swept,
            "relayed": relayed,
            "archived": await self._archiver.archive(),
            "expired": await delete_expired_records(self._app),
        }

    async def _work(self) -> dict[str, int]:
        """Ticks and handles messages until neither has anything to do. Returns the totals."""
        totals = Tally[str]()
        for _ in range(MAX_ROUNDS):
            round_ = await self._tick() | {"worked": await handle_batch(self._app)}
            totals.update(round_)
            if not any(round_.values()):
                break
        await count_dead_letters(self._app, self._metrics)
        await self._metrics.write()
        return dict(totals)

    async def _relay(self) -> int:
        messages = await relay(self._app)
        count_notifications(messages, self._metrics)
        return len(messages)

    async def _reconcile(self) -> dict[str, int]:
        """Returns the number of discrepancies by metric."""
        counts = await count_discrepancies(self._app, self._metrics)
        await self._metrics.write()
        return counts


def _new_message(record: DynamoDBRecord) -> Message | None:
    if record.event_name is not DynamoDBRecordEventName.INSERT or record.dynamodb is None:
        return None
    image = record.dynamodb.new_image
    return _message.decode(image["data"]) if image.get("kind") == "message" else None


def _sequence_number(record: DynamoDBRecord) -> str:
    return str(record.dynamodb and record.dynamodb.sequence_number)


handler = make_handler(DeliveryFunction, DeliveryFunction.__call__)
