"""Relays committed messages from the outbox to the queue or topic that each one names.

A message may be sent twice. Its `id` lets a consumer recognise the repeat.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import assert_never

import structlog

from remit.domain.change import Message, Topic
from remit.domain.errors import NotAllSent, Unavailable
from remit.ports.app import App

log = structlog.get_logger("relay")


async def relay(app: App) -> list[Message]:
    """Sends the oldest waiting messages of each topic, and marks them sent. Returns those sent.

    A topic that is down delays no message of another one, and a message that is refused no other of
    its topic. Raises Unavailable for them at the end.
    """
    failures: dict[Topic, Unavailable] = {}
    relayed: list[Message] = []
    while messages := await app.delivery.outbox.pending(app.settings.relay_batch, failures.keys()):
        failed_before = len(failures)
        async with _renewing_lease(app):
            for topic in Topic:
                of_topic = [message for message in messages if message.topic is topic]
                if not of_topic:
                    continue
                try:
                    await send(app, topic, of_topic)
                except NotAllSent as error:
                    failures[topic] = error
                    of_topic = [one for one in of_topic if one.id not in error.refused]
                except Unavailable as error:
                    failures[topic] = error
                    continue
                await app.delivery.outbox.mark_sent([message.id for message in of_topic])
                relayed += of_topic
        if len(failures) == failed_before:
            break
    for topic, failure in failures.items():
        log.warning("topic_unavailable", topic=topic, error=failure.code)
        raise failure
    return relayed


@asynccontextmanager
async def _renewing_lease(app: App) -> AsyncIterator[None]:
    """Renews the lease on the outbox while the block runs, however long the topics take.

    Without it another process would send the same messages.
    """

    async def renew() -> None:
        while True:
            await asyncio.sleep(app.settings.lease_seconds / 3)
            try:
                await app.delivery.outbox.renew()
            except Unavailable as error:
                log.warning("lease_not_renewed", error=error.code)

    renewal = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewal.cancel()


async def send(app: App, topic: Topic, messages: Sequence[Message]) -> None:
    """Sends the messages to the work queue or to the topic. Raises Unavailable if none was taken,
    and NotAllSent if some were refused.
    """
    match topic:
        case Topic.WORK:
            await app.delivery.queue.send(messages)
        case Topic.NOTIFICATIONS:
            await app.delivery.notifications.publish(messages)
        case Topic.ALERTS:
            await app.delivery.alerts.publish(messages)
        case _:
            assert_never(topic)
