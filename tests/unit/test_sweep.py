"""The sweep: pending operations, cards and records whose time is over."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from remit.delivery.relay import relay
from remit.delivery.sweep import delete_expired_records, sweep
from remit.delivery.work_messages import handle_batch
from remit.domain.errors import KeyReused, Unavailable
from remit.domain.operation import Operation
from remit.domain.payment import Payment, State
from remit.domain.refund import RefundState
from remit.payments.process import ProcessRequest, enqueue, process
from remit.payments.validate import validate
from remit.ports.app import App
from tests.builders import (
    Fault,
    caller,
    clock_of,
    key_of,
    order,
    processor_of,
    replace_parts,
)
from tests.unit.steps import (
    a_processed_payment,
    a_refund,
    a_validated_payment,
    accepted,
    current,
    current_refund,
    handle_all,
    history,
    published,
    queued,
    rejected,
)

FAULTS: list[Fault] = ["lost", "timeout"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_payment_left_unknown_is_resolved_by_the_sweep(
    in_memory: App, fault: Fault
) -> None:
    processor_of(in_memory).faults.append(fault)
    unknown = await a_processed_payment(in_memory)
    assert await sweep(in_memory) == 0
    clock_of(in_memory).advance(in_memory.settings.processor_timeout_seconds)
    assert await sweep(in_memory) == 1
    assert await sweep(in_memory) == 0
    await handle_all(in_memory)
    resolved = await current(in_memory, unknown)
    assert (resolved.state, resolved.pending) == (State.CAPTURED, None)
    assert len(processor_of(in_memory).results) == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_queued_payment_whose_instruction_was_lost_is_processed_later(
    in_memory: App, fault: Fault
) -> None:
    """Its caller was answered 202 and does not send the request again."""
    validated = await a_validated_payment(in_memory)
    payment = queued(await enqueue(in_memory, caller(), ProcessRequest(validated.id)))
    processor_of(in_memory).faults.append(fault)
    await handle_all(in_memory)
    assert (await current(in_memory, payment)).state is State.UNKNOWN
    clock_of(in_memory).advance(in_memory.settings.processor_timeout_seconds)
    assert await sweep(in_memory) == 1
    await handle_all(in_memory)
    assert (await current(in_memory, payment)).state is State.CAPTURED
    assert len(processor_of(in_memory).results) == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_refund_left_pending_is_resolved_by_the_sweep(in_memory: App, fault: Fault) -> None:
    payment = await a_processed_payment(in_memory)
    processor_of(in_memory).faults.append(fault)
    pending = await a_refund(in_memory, payment, 4_000)
    assert await sweep(in_memory) == 0
    clock_of(in_memory).advance(in_memory.settings.processor_timeout_seconds)
    assert await sweep(in_memory) == 1
    assert await sweep(in_memory) == 0
    await handle_all(in_memory)
    resolved = await current_refund(in_memory, pending)
    assert resolved.state is RefundState.SUCCEEDED
    assert (await current(in_memory, payment)).refunded_minor == 4_000


async def test_a_card_is_erased_at_the_end_of_its_retention(in_memory: App) -> None:
    payment = await a_validated_payment(in_memory)
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
async def test_an_idempotency_key_is_free_after_its_retention(app: App) -> None:
    first = accepted(await validate(app, caller(), order("1.00"), key_of("validate", "k1")))
    clock_of(app).advance(timedelta(hours=48).total_seconds())
    accepted(await validate(app, caller(), order("2.00"), key_of("validate", "k2")))
    assert await delete_expired_records(app) == 0
    clock_of(app).advance(1)
    assert await delete_expired_records(app) == 1
    assert isinstance(
        rejected(await validate(app, caller(), order("1.00"), key_of("validate", "k2"))), KeyReused
    )
    assert (
        accepted(await validate(app, caller(), order("1.00"), key_of("validate", "k1"))).id
        != first.id
    )


async def test_a_card_of_a_released_claim_is_erased_at_the_end_of_its_retention(
    in_memory: App,
) -> None:
    payment = await a_validated_payment(in_memory)
    processor_of(in_memory).faults.append("down")
    rejected(await process(in_memory, caller(), ProcessRequest(payment.id)))
    clock_of(in_memory).advance(timedelta(days=7).total_seconds())
    await sweep(in_memory)
    assert (await current(in_memory, payment)).encrypted_card is None


async def test_a_card_is_kept_while_its_operation_has_no_result(in_memory: App) -> None:
    """Without it the same instruction could not be sent again."""
    processor_of(in_memory).faults.append("timeout")
    unknown = await a_processed_payment(in_memory)
    processor_of(in_memory).down = True
    clock_of(in_memory).advance(timedelta(days=7).total_seconds())
    await sweep(in_memory)
    await handle_all(in_memory)
    kept = await current(in_memory, unknown)
    assert (kept.state, kept.encrypted_card) == (State.UNKNOWN, unknown.encrypted_card)
    processor_of(in_memory).down = False
    clock_of(in_memory).advance(24 * 3_600)  # by now a person is waited for
    await sweep(in_memory)
    await handle_all(in_memory)
    captured = await current(in_memory, unknown)
    assert (captured.state, captured.encrypted_card) == (State.CAPTURED, None)


class StoreDown:
    """A store that cannot be reached."""

    async def operation(self, operation_id: str) -> Operation | None:
        raise Unavailable("The database cannot be reached. Try again.")


async def a_dead_letter(app: App) -> Payment:
    """A queued payment whose message used up its receives while the database was away."""
    payment = await a_validated_payment(app)
    queued(await enqueue(app, caller(), ProcessRequest(payment.id)))
    await relay(app)
    away = replace_parts(app, store=StoreDown())
    for _ in range(app.settings.work_max_receives):
        assert await handle_batch(away) == 1
    assert len(await app.delivery.failed.dead_letters(10)) == 1
    return payment


async def test_a_queued_payment_whose_message_is_a_dead_letter_is_processed_within_hours(
    in_memory: App,
) -> None:
    payment = await a_dead_letter(in_memory)
    clock_of(in_memory).advance(3_600)
    assert await sweep(in_memory) == 1
    await handle_all(in_memory)
    assert (await current(in_memory, payment)).state is State.CAPTURED


async def test_a_dead_letter_that_is_redriven_days_later_charges_nothing(in_memory: App) -> None:
    payment = await a_dead_letter(in_memory)
    clock_of(in_memory).advance(3 * 86_400)
    assert await in_memory.delivery.failed.redrive(None) == 1
    await handle_all(in_memory)
    assert (await current(in_memory, payment)).state is State.DECLINED
    assert processor_of(in_memory).results == {}


async def test_a_queued_payment_that_was_never_sent_expires_and_its_merchant_is_told(
    in_memory: App,
) -> None:
    payment = await a_validated_payment(in_memory)
    queued(await enqueue(in_memory, caller(), ProcessRequest(payment.id)))
    clock_of(in_memory).advance(in_memory.settings.queue_retention_seconds)
    await handle_all(in_memory)
    expired = await current(in_memory, payment)
    assert (expired.state, expired.encrypted_card) == (State.DECLINED, None)
    assert expired.failure is not None
    assert expired.failure.code == "processing_expired"
    assert processor_of(in_memory).results == {}
    [*_, (kind, _)] = published(in_memory.delivery.notifications)
    assert kind == "payment_intent.payment_failed"
