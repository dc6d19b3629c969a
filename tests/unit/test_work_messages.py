"""Handling work messages: queued payments, retries, dead letters."""

from msgspec.structs import replace

from remit.delivery.relay import relay
from remit.delivery.sweep import sweep
from remit.delivery.work_messages import handle_batch, handle_message
from remit.domain.change import Message, Topic
from remit.domain.errors import InvalidState
from remit.domain.payment import Payment, State
from remit.payments.process import ProcessRequest, cancel, enqueue, process
from remit.payments.results import Replayed
from remit.payments.validate import CardInput
from remit.ports.app import App
from remit.settings import Settings
from tests.builders import (
    DECLINED_CARD,
    GOOD_CARD,
    AppFactory,
    StoppedClock,
    caller,
    clock_of,
    key_of,
    processor_of,
)
from tests.unit.steps import (
    a_processed_payment,
    a_validated_payment,
    accepted,
    balances,
    current,
    handle_all,
    history,
    queue_of,
    queued,
    rejected,
    replayed,
    store_of,
)


async def a_queued_payment(app: App) -> Payment:
    payment = await a_validated_payment(app)
    return queued(await enqueue(app, caller(), ProcessRequest(payment.id)))


async def test_a_worker_processes_a_queued_payment(in_memory: App) -> None:
    payment = await a_queued_payment(in_memory)
    assert payment.state is State.UNKNOWN
    assert processor_of(in_memory).results == {}
    await handle_all(in_memory)
    assert (await current(in_memory, payment)).state is State.CAPTURED
    assert (queue_of(in_memory).waiting, queue_of(in_memory).dead) == ({}, {})
    assert await history(in_memory, payment) == [
        ("validate", "accepted"),
        ("process", "queued"),
        ("resolve", "done"),
    ]


async def test_a_repeat_under_the_key_of_a_queued_request_queues_nothing(in_memory: App) -> None:
    payment = await a_validated_payment(in_memory)
    request = ProcessRequest(payment.id)
    waiting = queued(await enqueue(in_memory, caller(), request, key_of("process", "k1")))
    again = await enqueue(in_memory, caller(), request, key_of("process", "k1"))
    assert again == Replayed(replace(waiting, encrypted_card=None), queued=True)
    work = [m for m in store_of(in_memory).messages.values() if m.topic is Topic.WORK]
    assert len(work) == 1


async def test_a_payment_queued_twice_is_charged_once(in_memory: App) -> None:
    payment = await a_queued_payment(in_memory)
    again = await enqueue(in_memory, caller(), ProcessRequest(payment.id))
    assert again == Replayed(payment, queued=True)
    await handle_all(in_memory)
    assert len(processor_of(in_memory).results) == 1
    assert balances(in_memory)["test/merchant/acme"] == -10_000
    again = await enqueue(in_memory, caller(), ProcessRequest(payment.id))
    assert replayed(again).state is State.CAPTURED


async def test_a_card_sent_with_a_queued_request_is_stored_encrypted(in_memory: App) -> None:
    declined = await a_processed_payment(in_memory, card=DECLINED_CARD)
    request = ProcessRequest(declined.id, CardInput(GOOD_CARD, 12, 2030))
    waiting = queued(await enqueue(in_memory, caller(), request, key_of("process", "k1")))
    assert waiting.encrypted_card is not None
    assert waiting.due_at == clock_of(in_memory).now + in_memory.settings.card_retention
    [record] = store_of(in_memory).records.values()
    assert record.payment is not None
    assert record.payment.encrypted_card is None
    assert await current(in_memory, declined) == waiting


async def test_a_worker_tries_the_new_card_of_a_declined_payment(in_memory: App) -> None:
    declined = await a_processed_payment(in_memory, card=DECLINED_CARD)
    request = ProcessRequest(declined.id, CardInput(GOOD_CARD, 12, 2030))
    queued(await enqueue(in_memory, caller(), request))
    await handle_all(in_memory)
    captured = await current(in_memory, declined)
    assert (captured.state, captured.encrypted_card) == (State.CAPTURED, None)


async def test_a_canceled_payment_is_not_queued_with_a_card(in_memory: App) -> None:
    payment = await a_validated_payment(in_memory)
    accepted(await cancel(in_memory, caller(), payment.id))
    request = ProcessRequest(payment.id, GOOD_CARD)
    assert isinstance(rejected(await enqueue(in_memory, caller(), request)), InvalidState)
    assert [m for m in store_of(in_memory).messages.values() if m.topic is Topic.WORK] == []


async def test_a_message_that_keeps_failing_becomes_a_dead_letter_and_is_redriven_once(
    new_app: AppFactory,
) -> None:
    app = new_app(settings=Settings(work_max_receives=3))
    payment = await a_queued_payment(app)
    await relay(app)
    processor_of(app).down = True
    for receives in (1, 2):
        assert await handle_batch(app) == 1
        [failed] = await app.delivery.failed.failed(10)
        assert (failed.receives, failed.last_error) == (
            receives,
            "processor_unavailable: The processor cannot be reached.",
        )
        assert await app.delivery.failed.dead_letters(10) == []
    await handle_batch(app)
    assert await handle_batch(app) == 0
    [dead] = await app.delivery.failed.dead_letters(10)
    assert dead.message.payment_id == payment.id
    assert (await current(app, payment)).state is State.UNKNOWN

    processor_of(app).down = False
    assert await app.delivery.failed.redrive("no-such-message") == 0
    assert await app.delivery.failed.redrive(dead.message.id) == 1
    assert await app.delivery.failed.redrive(dead.message.id) == 0
    assert await app.delivery.failed.dead_letters(10) == []
    await handle_all(app)
    assert (await current(app, payment)).state is State.CAPTURED
    assert balances(app)["test/merchant/acme"] == -10_000
    assert len(processor_of(app).results) == 1


async def test_a_message_handled_twice_takes_the_step_once(in_memory: App) -> None:
    payment = await a_queued_payment(in_memory)
    [message] = [m for m in store_of(in_memory).messages.values() if m.topic is Topic.WORK]
    assert await handle_message(in_memory, message) is None
    assert await handle_message(in_memory, message) is None
    assert len(processor_of(in_memory).results) == 1
    assert (await history(in_memory, payment))[-1] == ("resolve", "done")


async def test_a_poisonous_message_does_not_stop_the_others(in_memory: App) -> None:
    payment = await a_queued_payment(in_memory)
    broken = await a_queued_payment(in_memory)
    store_of(in_memory).payments[broken.id] = replace(broken, state="nonsense")
    await relay(in_memory)
    assert await handle_batch(in_memory) == 2
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


async def test_an_unknown_step_is_an_error(in_memory: App) -> None:
    payment = await a_validated_payment(in_memory)
    error = await handle_message(in_memory, message("dance", payment.id))
    assert error is not None
    assert error.message == "No worker knows the step 'dance'."
    unknown = replace(message("operation", payment.id), operation_id="no-such-operation")
    error = await handle_message(in_memory, unknown)
    assert error is not None
    assert error.message == "The message names no operation."


async def test_a_queued_payment_can_be_canceled_and_its_message_does_nothing(
    in_memory: App,
) -> None:
    payment = await a_queued_payment(in_memory)
    canceled = accepted(await cancel(in_memory, caller(), payment.id))
    assert (canceled.state, canceled.pending) == (State.CANCELED, None)
    await handle_all(in_memory)
    assert (queue_of(in_memory).waiting, queue_of(in_memory).dead) == ({}, {})
    assert processor_of(in_memory).results == {}
    assert (await history(in_memory, payment))[-1] == ("cancel", "done")


async def test_a_request_sends_a_queued_payment_at_once(in_memory: App) -> None:
    payment = await a_queued_payment(in_memory)
    captured = replayed(await process(in_memory, caller(), ProcessRequest(payment.id)))
    assert captured.state is State.CAPTURED
    await handle_all(in_memory)
    assert len(processor_of(in_memory).results) == 1


async def test_a_late_message_leaves_an_operation_alone_that_is_being_sent(in_memory: App) -> None:
    """A message that comes twice, or is redriven, must not take a call in flight for a lost one."""
    payment = await a_queued_payment(in_memory)
    processor_of(in_memory).faults.append("timeout")
    await relay(in_memory)
    await handle_batch(in_memory)
    assert (await current(in_memory, payment)).state is State.UNKNOWN
    calls = len(processor_of(in_memory).faults)
    late = replace(message("operation", payment.id), operation_id=operation_of(in_memory, payment))
    assert await handle_message(in_memory, late) is None
    assert (await current(in_memory, payment)).state is State.UNKNOWN
    assert len(processor_of(in_memory).faults) == calls
    clock_of(in_memory).advance(in_memory.settings.claim_lease.total_seconds())
    await sweep(in_memory)
    await handle_all(in_memory)
    assert (await current(in_memory, payment)).state is State.CAPTURED
    assert (queue_of(in_memory).waiting, queue_of(in_memory).dead) == ({}, {})


async def test_a_payment_whose_processor_is_down_is_not_queued_behind_its_callers_back(
    in_memory: App,
) -> None:
    """Its caller was answered that nothing was done, and may pay by another way."""
    payment = await a_validated_payment(in_memory)
    processor_of(in_memory).faults.append("down")
    rejected(await process(in_memory, caller(), ProcessRequest(payment.id)))
    await handle_all(in_memory)
    assert (await current(in_memory, payment)).state is State.VALIDATED
    assert processor_of(in_memory).results == {}


def operation_of(app: App, payment: Payment) -> str:
    [operation] = [o for o in store_of(app).operations_by_id.values() if o.payment_id == payment.id]
    return operation.id
