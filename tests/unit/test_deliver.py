"""What is delivered later: queued work, retries, dead letters, what lapses, the topics."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from remit.delivery.relay import consume_batch, delete_expired_records, handle_message, relay, sweep
from remit.domain.change import Change, Message, Topic
from remit.domain.errors import InvalidState, KeyReused
from remit.domain.payment import Payment, RefundState, State
from remit.payments.process import ProcessRequest, cancel, enqueue, process
from remit.payments.validate import CardInput, validate
from remit.ports.app import App
from remit.settings import Settings
from tests.builders import (
    DECLINED_CARD,
    GOOD_CARD,
    AppFactory,
    Fault,
    StoppedClock,
    caller,
    clock_of,
    key_of,
    order,
    processor_of,
)
from tests.unit.arranged import (
    a_processed,
    a_refund,
    a_validated,
    accepted,
    balances,
    current,
    current_refund,
    deliver_all,
    history,
    queue_of,
    queued,
    refused,
    replayed,
    store_of,
    told,
)

FAULTS: list[Fault] = ["lost", "timeout"]


async def an_enqueued(app: App) -> Payment:
    payment = await a_validated(app)
    return queued(await enqueue(app, caller(), ProcessRequest(payment.id)))


async def test_a_worker_takes_a_queued_payment(in_memory: App) -> None:
    payment = await an_enqueued(in_memory)
    assert payment.state is State.VALIDATED
    assert processor_of(in_memory).answers == {}
    await deliver_all(in_memory)
    assert (await current(in_memory, payment)).state is State.CAPTURED
    assert (queue_of(in_memory).waiting, queue_of(in_memory).buried) == ({}, {})
    assert await history(in_memory, payment) == [
        ("validate", "accepted"),
        ("process", "queued"),
        ("process", "claimed"),
        ("process", "done"),
    ]


async def test_queueing_again_under_the_key_says_queued_once_more(in_memory: App) -> None:
    payment = await a_validated(in_memory)
    request = ProcessRequest(payment.id)
    queued(await enqueue(in_memory, caller(), request, key_of("process", "k1")))
    again = await enqueue(in_memory, caller(), request, key_of("process", "k1"))
    assert replayed(again) == replace(payment, encrypted_card=None)
    work = [m for m in store_of(in_memory).messages.values() if m.topic is Topic.WORK]
    assert len(work) == 1


async def test_a_payment_queued_twice_is_charged_once(in_memory: App) -> None:
    payment = await an_enqueued(in_memory)
    queued(await enqueue(in_memory, caller(), ProcessRequest(payment.id)))
    await deliver_all(in_memory)
    assert len(processor_of(in_memory).answers) == 1
    assert balances(in_memory)["test/merchant/acme"] == -10_000
    answered = await enqueue(in_memory, caller(), ProcessRequest(payment.id))
    assert replayed(answered).state is State.CAPTURED


async def test_a_card_sent_with_the_request_waits_sealed_for_the_worker(in_memory: App) -> None:
    declined = await a_processed(in_memory, card=DECLINED_CARD)
    request = ProcessRequest(declined.id, CardInput(GOOD_CARD, 12, 2030))
    waiting = queued(await enqueue(in_memory, caller(), request, key_of("process", "k1")))
    assert waiting.encrypted_card is not None
    assert waiting.due_at == clock_of(in_memory).now + in_memory.settings.card_retention
    [record] = store_of(in_memory).records.values()
    assert record.payment is not None
    assert record.payment.encrypted_card is None
    assert await current(in_memory, declined) == waiting


async def test_a_worker_tries_the_new_card_of_a_declined_payment(in_memory: App) -> None:
    declined = await a_processed(in_memory, card=DECLINED_CARD)
    request = ProcessRequest(declined.id, CardInput(GOOD_CARD, 12, 2030))
    queued(await enqueue(in_memory, caller(), request))
    await deliver_all(in_memory)
    taken = await current(in_memory, declined)
    assert (taken.state, taken.encrypted_card) == (State.CAPTURED, None)


async def test_a_card_for_a_payment_that_is_canceled_is_not_queued(in_memory: App) -> None:
    payment = await a_validated(in_memory)
    accepted(await cancel(in_memory, caller(), payment.id))
    request = ProcessRequest(payment.id, GOOD_CARD)
    assert isinstance(refused(await enqueue(in_memory, caller(), request)), InvalidState)
    assert [m for m in store_of(in_memory).messages.values() if m.topic is Topic.WORK] == []


async def test_work_that_keeps_failing_becomes_a_dead_letter_and_is_redriven_once(
    new_app: AppFactory,
) -> None:
    app = new_app(settings=Settings(work_max_receives=3))
    payment = await an_enqueued(app)
    await relay(app)
    processor_of(app).down = True
    for receives in (1, 2):
        assert await consume_batch(app) == 1
        [failed] = await app.delivery.failed.failed(10)
        assert (failed.receives, failed.last_error) == (
            receives,
            "processor_unavailable: The processor cannot be reached. Try again.",
        )
        assert await app.delivery.failed.dead_letters(10) == []
    await consume_batch(app)
    assert await consume_batch(app) == 0
    [dead] = await app.delivery.failed.dead_letters(10)
    assert dead.message.payment_id == payment.id
    assert (await current(app, payment)).state is State.VALIDATED

    processor_of(app).down = False
    assert await app.delivery.failed.redrive("no-such-message") == 0
    assert await app.delivery.failed.redrive(dead.message.id) == 1
    assert await app.delivery.failed.redrive(dead.message.id) == 0
    assert await app.delivery.failed.dead_letters(10) == []
    await deliver_all(app)
    assert (await current(app, payment)).state is State.CAPTURED
    assert balances(app)["test/merchant/acme"] == -10_000
    assert len(processor_of(app).answers) == 1


async def test_a_message_delivered_twice_takes_the_step_once(in_memory: App) -> None:
    payment = await an_enqueued(in_memory)
    [message] = [m for m in store_of(in_memory).messages.values() if m.topic is Topic.WORK]
    assert await handle_message(in_memory, message) is None
    assert await handle_message(in_memory, message) is None
    assert len(processor_of(in_memory).answers) == 1
    assert (await history(in_memory, payment))[-1] == ("process", "replayed")


async def test_a_poisonous_message_does_not_stop_the_others(in_memory: App) -> None:
    payment = await an_enqueued(in_memory)
    broken = await an_enqueued(in_memory)
    store_of(in_memory).payments[broken.id] = replace(broken, pending="nonsense")
    await relay(in_memory)
    assert await consume_batch(in_memory) == 2
    assert (await current(in_memory, payment)).state is State.CAPTURED
    [failed] = await in_memory.delivery.failed.failed(10)
    assert failed.message.payment_id == broken.id


def message(kind: str, payment_id: str | None) -> Message:
    return Message(
        id="m1",
        topic=Topic.WORK,
        kind=kind,
        created_at=StoppedClock()(),
        payment_id=payment_id,
        merchant_id="acme",
        mode="test",
    )


async def test_a_step_nobody_knows_is_an_error(in_memory: App) -> None:
    payment = await a_validated(in_memory)
    error = await handle_message(in_memory, message("dance", payment.id))
    assert error is not None
    assert error.message == "No worker knows the step 'dance'."
    error = await handle_message(in_memory, message("process", None))
    assert error is not None
    assert error.message == "The message names no payment."


async def test_a_refusal_that_no_retry_can_change_is_done(in_memory: App) -> None:
    payment = await an_enqueued(in_memory)
    accepted(await cancel(in_memory, caller(), payment.id))
    await deliver_all(in_memory)
    assert (queue_of(in_memory).waiting, queue_of(in_memory).buried) == ({}, {})
    assert (await history(in_memory, payment))[-1] == ("process", "refused")


async def test_a_payment_in_progress_is_tried_again_later(in_memory: App) -> None:
    payment = await an_enqueued(in_memory)
    await relay(in_memory)
    processor_of(in_memory).faults.append("timeout")
    accepted(await process(in_memory, caller(), ProcessRequest(payment.id)))
    await consume_batch(in_memory)
    [failed] = await in_memory.delivery.failed.failed(10)
    assert failed.last_error == "payment_invalid_state: The payment is being processed."


async def test_work_on_a_payment_in_progress_is_not_given_up_before_that_is_over(
    in_memory: App,
) -> None:
    """Whoever asked may have died: that is known once the claim has lapsed, and not before."""
    payment = await an_enqueued(in_memory)
    await relay(in_memory)
    processor_of(in_memory).faults.append("timeout")
    accepted(await process(in_memory, caller(), ProcessRequest(payment.id)))
    queue = queue_of(in_memory)
    for _ in range(3 * queue.max_receives):
        await consume_batch(in_memory)
    assert queue.buried == {}
    clock_of(in_memory).advance(in_memory.settings.claim_lease.total_seconds())
    await sweep(in_memory)
    await relay(in_memory)
    await consume_batch(in_memory)
    clock_of(in_memory).advance(10)
    await consume_batch(in_memory)
    assert (await current(in_memory, payment)).state is State.CAPTURED
    assert (queue.waiting, queue.buried) == ({}, {})


async def test_a_processor_that_is_down_leaves_the_work_to_the_queue(in_memory: App) -> None:
    payment = await a_validated(in_memory)
    processor_of(in_memory).faults.append("down")
    refused(await process(in_memory, caller(), ProcessRequest(payment.id)))
    await deliver_all(in_memory)
    assert (await current(in_memory, payment)).state is State.CAPTURED
    assert len(processor_of(in_memory).answers) == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_payment_left_unknown_is_resolved_by_the_sweep(
    in_memory: App, fault: Fault
) -> None:
    processor_of(in_memory).faults.append(fault)
    unknown = await a_processed(in_memory)
    assert await sweep(in_memory) == 0
    clock_of(in_memory).advance(in_memory.settings.processor_timeout_seconds)
    assert await sweep(in_memory) == 1
    assert await sweep(in_memory) == 0
    await deliver_all(in_memory)
    resolved = await current(in_memory, unknown)
    assert resolved.state is (State.CAPTURED if fault == "lost" else State.VALIDATED)
    assert resolved.pending is None


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_payment_that_the_queue_promised_is_taken_though_its_question_was_lost(
    in_memory: App, fault: Fault
) -> None:
    """Its caller was told that it is being done, and will not ask again."""
    payment = await an_enqueued(in_memory)
    processor_of(in_memory).faults.append(fault)
    await deliver_all(in_memory)
    assert (await current(in_memory, payment)).state is State.UNKNOWN
    clock_of(in_memory).advance(in_memory.settings.processor_timeout_seconds)
    assert await sweep(in_memory) == 1
    await deliver_all(in_memory)
    assert (await current(in_memory, payment)).state is State.CAPTURED
    assert len(processor_of(in_memory).answers) == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_refund_left_pending_is_resolved_by_the_sweep(in_memory: App, fault: Fault) -> None:
    payment = await a_processed(in_memory)
    processor_of(in_memory).faults.append(fault)
    pending = await a_refund(in_memory, payment, 4_000)
    assert await sweep(in_memory) == 0
    clock_of(in_memory).advance(in_memory.settings.processor_timeout_seconds)
    assert await sweep(in_memory) == 1
    assert await sweep(in_memory) == 0
    await deliver_all(in_memory)
    resolved = await current_refund(in_memory, pending)
    assert resolved.state is (RefundState.SUCCEEDED if fault == "lost" else RefundState.FAILED)
    assert (await current(in_memory, payment)).refunded_minor == (4_000 if fault == "lost" else 0)


async def test_a_card_kept_long_enough_is_erased(in_memory: App) -> None:
    payment = await a_validated(in_memory)
    week = timedelta(days=7).total_seconds()
    clock_of(in_memory).advance(week - 1)
    assert await sweep(in_memory) == 0
    assert (await current(in_memory, payment)).encrypted_card is not None
    clock_of(in_memory).advance(1)
    assert await sweep(in_memory) == 1
    erased = await current(in_memory, payment)
    assert erased == replace(payment, version=2, encrypted_card=None, due_at=None)
    assert (await history(in_memory, payment))[-1] == ("erase_card", "done")
    assert await sweep(in_memory) == 0


# DynamoDB deletes old records itself, by their time to live.
@pytest.mark.parametrize("app", ["in_memory", "on_postgres"], indirect=True)
async def test_an_idempotency_key_is_free_again_after_its_time(app: App) -> None:
    first = accepted(await validate(app, caller(), order("1.00"), key_of("validate", "k1")))
    clock_of(app).advance(timedelta(hours=48).total_seconds())
    accepted(await validate(app, caller(), order("2.00"), key_of("validate", "k2")))
    assert await delete_expired_records(app) == 0
    clock_of(app).advance(1)
    assert await delete_expired_records(app) == 1
    assert isinstance(
        refused(await validate(app, caller(), order("1.00"), key_of("validate", "k2"))), KeyReused
    )
    assert (
        accepted(await validate(app, caller(), order("1.00"), key_of("validate", "k1"))).id
        != first.id
    )


async def test_a_card_given_back_by_a_processor_that_was_down_is_erased_in_time(
    in_memory: App,
) -> None:
    payment = await a_validated(in_memory)
    processor_of(in_memory).faults.append("down")
    refused(await process(in_memory, caller(), ProcessRequest(payment.id), requeue=False))
    clock_of(in_memory).advance(timedelta(days=7).total_seconds())
    await sweep(in_memory)
    assert (await current(in_memory, payment)).encrypted_card is None


async def test_each_message_reaches_its_topic_once(in_memory: App) -> None:
    await a_processed(in_memory)
    alert = replace(message("ledger.unbalanced", None), topic=Topic.ALERTS, detail="t1")
    await in_memory.store.commit(Change(audit=(), messages=(alert,)))
    assert len(await relay(in_memory)) == 3
    assert await relay(in_memory) == []
    assert told(in_memory.delivery.notifications) == [
        ("payment_intent.created", None),
        ("payment_intent.succeeded", None),
    ]
    assert told(in_memory.delivery.alerts) == [("ledger.unbalanced", "t1")]
    assert queue_of(in_memory).waiting == {}


async def test_every_new_status_is_notified(in_memory: App) -> None:
    await a_processed(in_memory, card=DECLINED_CARD)
    payment = await a_processed(in_memory)
    await a_refund(in_memory, payment)
    processor_of(in_memory).faults.append("timeout")
    await a_processed(in_memory)
    canceled = await a_validated(in_memory)
    await cancel(in_memory, caller(), canceled.id)
    await relay(in_memory)
    assert [kind for kind, _ in told(in_memory.delivery.notifications)] == [
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
