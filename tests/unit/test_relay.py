"""The relay: each message reaches its topic once."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from remit.delivery.relay import relay
from remit.domain.change import Change, Message, Topic
from remit.domain.errors import NotAllSent, Unavailable
from remit.payments.process import ProcessRequest, cancel, enqueue
from remit.ports.app import App
from tests.builders import (
    DECLINED_CARD,
    caller,
    processor_of,
    replace_parts,
)
from tests.unit.steps import (
    a_processed_payment,
    a_refund,
    a_validated_payment,
    published,
    queue_of,
)


async def test_each_message_reaches_its_topic_once(in_memory: App) -> None:
    await a_processed_payment(in_memory)
    alert = Message(
        id="m1",
        topic=Topic.ALERTS,
        kind="ledger.unbalanced",
        created_at=in_memory.clock(),
        detail="t1",
    )
    await in_memory.store.commit(Change(audit=(), messages=(alert,)))
    assert len(await relay(in_memory)) == 3
    assert await relay(in_memory) == []
    assert published(in_memory.delivery.notifications) == [
        ("payment_intent.created", None),
        ("payment_intent.succeeded", None),
    ]
    assert published(in_memory.delivery.alerts) == [("ledger.unbalanced", "t1")]
    assert queue_of(in_memory).waiting == {}


async def test_every_new_status_is_published(in_memory: App) -> None:
    await a_processed_payment(in_memory, card=DECLINED_CARD)
    payment = await a_processed_payment(in_memory)
    await a_refund(in_memory, payment)
    processor_of(in_memory).faults.append("timeout")
    await a_processed_payment(in_memory)
    canceled = await a_validated_payment(in_memory)
    await cancel(in_memory, caller(), canceled.id)
    await relay(in_memory)
    assert [kind for kind, _ in published(in_memory.delivery.notifications)] == [
        "payment_intent.created",
        "payment_intent.payment_failed",
        "payment_intent.created",
        "payment_intent.succeeded",
        "refund.updated",
        "payment_intent.created",
        "payment_intent.processing",
        "payment_intent.created",
        "payment_intent.canceled",
    ]


async def test_a_message_that_is_always_refused_delays_no_other_of_its_topic(
    in_memory: App,
) -> None:
    class Refusing:
        def __init__(self) -> None:
            self.taken: list[str] = []

        async def publish(self, messages: Sequence[Message]) -> None:
            refused = frozenset(one.id for one in messages if one.payment_id == poisoned.id)
            self.taken += [one.id for one in messages if one.id not in refused]
            if refused:
                raise NotAllSent(refused)

    topic = Refusing()
    few = replace(in_memory.settings, relay_batch=2)
    app = replace_parts(in_memory, notifications=topic, settings=few)
    poisoned = await a_validated_payment(app)
    others = [await a_validated_payment(app) for _ in range(5)]
    for _ in others:
        with pytest.raises(NotAllSent):
            await relay(app)
    assert len(topic.taken) == len(set(topic.taken)) == len(others)
    [left] = await app.delivery.outbox.pending(10)
    assert left.payment_id == poisoned.id


async def test_a_topic_that_is_down_delays_no_message_of_another(in_memory: App) -> None:
    """However many of its own messages wait, and they are sent once it is back."""

    class Down:
        async def publish(self, messages: Sequence[Message]) -> None:
            raise Unavailable("The topic cannot be reached. Try again.")

    few = replace(in_memory.settings, relay_batch=2)
    app = replace_parts(in_memory, notifications=Down(), settings=few)
    payments = [await a_validated_payment(app) for _ in range(5)]
    await enqueue(app, caller(), ProcessRequest(payments[0].id))
    with pytest.raises(Unavailable):
        await relay(app)
    assert [m.message.payment_id for m in queue_of(app).waiting.values()] == [payments[0].id]
    while await relay(in_memory):
        pass
    assert len(published(in_memory.delivery.notifications)) == 5
    assert len(queue_of(app).waiting) == 1
