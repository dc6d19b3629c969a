"""The payment-delivery function: what the clock has to do, and a table's stream where there is one.

the stream      sends each message as it is written
{"job": "tick"}   what lapsed, messages that wait, the audit trail
{"job": "work"}   the same, and the queue where that is a table: until nothing is left
{"job": "reconcile"}  whether books, payments, processor and audit trail agree
"""

from collections import Counter as Tally
from typing import Any

import msgspec
from aws_lambda_powertools.utilities.data_classes import DynamoDBStreamEvent
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import (
    DynamoDBRecord,
    DynamoDBRecordEventName,
)

from remit.delivery.relay import consume_batch, delete_expired_records, relay, send, sweep
from remit.domain.change import Message
from remit.entrypoints.lambdas.batch import Counter, Failures, failures, handled
from remit.entrypoints.lambdas.runtime import Event, make_handler
from remit.oversight.audit import AuditArchiver
from remit.oversight.metrics import (
    count_dead_letters,
    count_discrepancies,
    count_notifications,
    count_outbox_age,
)
from remit.ports.app import App

MAX_ROUNDS = 100
"""Of one run; the clock comes again."""

_message = msgspec.json.Decoder(Message)


class DeliveryFunction:
    def __init__(self, app: App) -> None:
        self._app = app
        self._archiver = AuditArchiver(app)
        self._counter = Counter()

    async def __call__(self, event: Event) -> dict[str, Any]:
        if "Records" in event:
            return await self.stream(DynamoDBStreamEvent(event))
        jobs = {"tick": self.tick, "work": self.work, "reconcile": self.reconcile}
        try:
            return await jobs[event["job"]]()
        finally:
            # The next run may find another container, and this one never wakes again.
            await self._app.delivery.outbox.release()

    async def stream(self, event: DynamoDBStreamEvent) -> Failures:
        """Sends the messages among the new items, in their order. From the first that fails on,
        the stream comes again.
        """
        for record in event.records:
            if (message := _new_message(record)) is None:
                continue
            if not await handled(self._send(message), message, self._counter):
                await self._counter.write()
                return failures([_sequence_number(record)])
            count_notifications([message], self._counter)
        await self._counter.write()
        return failures([])

    async def _send(self, message: Message) -> None:
        await send(self._app, message.topic, [message])
        await self._app.delivery.outbox.sent([message.id])

    async def tick(self) -> dict[str, int]:
        """One round of each of the worker's jobs; how much each found to do."""
        await count_outbox_age(self._app, self._counter)
        swept = await sweep(self._app)
        relayed = await self._relay()
        await self._counter.write()
        return {
            "swept": swept,
            "relayed": relayed,
            "archived": await self._archiver.archive(),
            "expired": await delete_expired_records(self._app),
        }

    async def work(self) -> dict[str, int]:
        """Ticks and works until neither finds anything; how much each found to do."""
        done = Tally[str]()
        for _ in range(MAX_ROUNDS):
            round_ = await self.tick() | {"worked": await consume_batch(self._app)}
            done.update(round_)
            if not any(round_.values()):
                break
        await count_dead_letters(self._app, self._counter)
        await self._counter.write()
        return dict(done)

    async def _relay(self) -> int:
        messages = await relay(self._app)
        count_notifications(messages, self._counter)
        return len(messages)

    async def reconcile(self) -> dict[str, int]:
        """How many disagreements each check found."""
        found = await count_discrepancies(self._app, self._counter)
        await self._counter.write()
        return found


def _new_message(record: DynamoDBRecord) -> Message | None:
    if record.event_name is not DynamoDBRecordEventName.INSERT or record.dynamodb is None:
        return None
    image = record.dynamodb.new_image
    return _message.decode(image["data"]) if image.get("kind") == "message" else None


def _sequence_number(record: DynamoDBRecord) -> str:
    return str(record.dynamodb and record.dynamodb.sequence_number)


handler = make_handler(DeliveryFunction, DeliveryFunction.__call__)
