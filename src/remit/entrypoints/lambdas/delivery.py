"""The payment-delivery function: the table's stream, and the clock for what was left.

the stream      sends each message as it is written
{"job": "tick"}   what lapsed, messages that the stream gave up, the audit trail
{"job": "prove"}  whether books, payments, processor and audit trail agree
"""

from collections import Counter as Tally
from typing import Any

import msgspec
import structlog
from aws_lambda_powertools.utilities.data_classes import DynamoDBStreamEvent
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import (
    DynamoDBRecord,
    DynamoDBRecordEventName,
)

from remit.audit import Sealer
from remit.change import Message, Topic
from remit.deliver import forget, relay, send, sweep
from remit.doctor import examine
from remit.entrypoints.lambdas.batch import Counter, Failures, failures, took
from remit.entrypoints.lambdas.runtime import Event, make_handler
from remit.ports import App

OUTBOX_AGE = "OutboxAge"
CHECKS = {"ledger": "LedgerImbalances", "links": "LedgerImbalances", "audit": "AuditBreaks"}
OTHER_CHECKS = "Discrepancies"

log = structlog.get_logger("lambda")

_message = msgspec.json.Decoder(Message)


class Delivery:
    def __init__(self, app: App) -> None:
        self._app = app
        self._sealer = Sealer(app)
        self._counter = Counter()

    async def __call__(self, event: Event) -> dict[str, Any]:
        if "Records" in event:
            return await self.stream(DynamoDBStreamEvent(event))
        jobs = {"tick": self.tick, "prove": self.prove}
        return await jobs[event["job"]]()

    async def stream(self, event: DynamoDBStreamEvent) -> Failures:
        """Sends the messages among the new items, in their order. From the first that fails on,
        the stream comes again.
        """
        for record in event.records:
            if (message := _new_message(record)) is None:
                continue
            if not await took(self._send(message), message, self._counter):
                self._counter.write()
                return failures([_sequence_number(record)])
            if message.topic is Topic.NOTIFICATIONS:
                self._counter.count(message.kind)
        self._counter.write()
        return failures([])

    async def _send(self, message: Message) -> None:
        await send(self._app, message.topic, [message])
        await self._app.outbox.sent([message.id])

    async def tick(self) -> dict[str, int]:
        """One round of each of the worker's jobs; how much each found to do."""
        oldest = await self._app.outbox.oldest()
        age = 0.0 if oldest is None else (self._app.clock() - oldest).total_seconds()
        self._counter.seconds(OUTBOX_AGE, max(0.0, age))
        self._counter.write()
        return {
            "swept": await sweep(self._app),
            "relayed": await relay(self._app),
            "sealed": await self._sealer.seal(),
            "forgotten": await forget(self._app),
        }

    async def prove(self) -> dict[str, int]:
        """How many disagreements each check found. Each is logged with its record."""
        found = Tally(dict.fromkeys((*CHECKS.values(), OTHER_CHECKS), 0))
        async for one in examine(self._app):
            log.error("discrepancy", check=one.check, record=one.record, problem=one.problem)
            found[CHECKS.get(one.check, OTHER_CHECKS)] += 1
        for name, number in found.items():
            self._counter.count(name, number)
        self._counter.write()
        return dict(found)


def _new_message(record: DynamoDBRecord) -> Message | None:
    if record.event_name is not DynamoDBRecordEventName.INSERT or record.dynamodb is None:
        return None
    image = record.dynamodb.new_image
    return _message.decode(image["data"]) if image.get("kind") == "message" else None


def _sequence_number(record: DynamoDBRecord) -> str:
    return str(record.dynamodb and record.dynamodb.sequence_number)


handler = make_handler(Delivery, Delivery.__call__)
