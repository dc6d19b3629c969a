"""The payment-delivery function: what the clock has to do, and a table's stream where there is one.

the stream      sends each message as it is written
{"job": "tick"}   what lapsed, messages that wait, the audit trail
{"job": "work"}   the same, and the queue where that is a table: until nothing is left
{"job": "prove"}  whether books, payments, processor and audit trail agree
"""

from collections import Counter as Tally
from collections.abc import Sequence
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
from remit.deliver import forget, relay, send, sweep, work_once
from remit.doctor import examine
from remit.entrypoints.lambdas.batch import Counter, Failures, failures, took
from remit.entrypoints.lambdas.runtime import Event, make_handler
from remit.ports import App

OUTBOX_AGE = "OutboxAge"
DEAD_LETTERS = "DeadLetters"
MAX_ROUNDS = 100
"""Of one run; the clock comes again."""

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
        jobs = {"tick": self.tick, "work": self.work, "prove": self.prove}
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
            self._count([message])
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
        swept = await sweep(self._app)
        relayed = await self._relay()
        self._counter.write()
        return {
            "swept": swept,
            "relayed": relayed,
            "sealed": await self._sealer.seal(),
            "forgotten": await forget(self._app),
        }

    async def work(self) -> dict[str, int]:
        """Ticks and works until neither finds anything; how much each found to do."""
        done = Tally[str]()
        for _ in range(MAX_ROUNDS):
            round_ = await self.tick() | {"worked": await work_once(self._app)}
            done.update(round_)
            if not any(round_.values()):
                break
        self._counter.count(DEAD_LETTERS, await self._app.failed.dead())
        self._counter.write()
        return dict(done)

    async def _relay(self) -> int:
        messages = await relay(self._app)
        self._count(messages)
        return len(messages)

    def _count(self, messages: Sequence[Message]) -> None:
        """The business, by what callers are told of it."""
        told = Tally(m.kind for m in messages if m.topic is Topic.NOTIFICATIONS)
        for kind, number in told.items():
            self._counter.count(kind, number)

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
