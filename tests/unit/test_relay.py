"""The relay: each message reaches its topic once."""

from remit.delivery.relay import relay
from remit.domain.change import Change, Message, Topic
from remit.payments.process import cancel
from remit.ports.app import App
from tests.builders import (
    DECLINED_CARD,
    caller,
    processor_of,
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
