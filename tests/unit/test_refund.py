"""Refunds over memory: reserved before asking, booked once, given back when they fail."""

import asyncio

from remit.domain.errors import InvalidState, KeyReused, NotFound, ProcessorUnavailable
from remit.domain.payment import Operation, RefundState
from remit.payments.refund import refund, resolve_refund
from remit.payments.results import Accepted, Replayed
from remit.ports.app import App
from tests.builders import caller, key_of, processor_of
from tests.unit.arranged import (
    a_processed,
    a_refund,
    a_validated,
    balances,
    current,
    current_refund,
    refused,
    store_of,
)


async def test_a_refund_moves_the_money_back(in_memory: App) -> None:
    payment = await a_processed(in_memory)
    given_back = await a_refund(in_memory, payment, 4_000)
    assert (given_back.state, given_back.amount_minor) == (RefundState.SUCCEEDED, 4_000)
    assert (await current(in_memory, payment)).refunded_minor == 4_000
    assert balances(in_memory) == {
        "test/processor/scripted": 6_000,
        "test/merchant/acme": -6_000,
    }
    assert await in_memory.processor.balance(payment.id) == 6_000
    instruction, _ = processor_of(in_memory).answers[given_back.id]
    assert (instruction.operation, instruction.reference, instruction.card) == (
        Operation.REFUND,
        payment.processor_reference,
        None,
    )


async def test_a_refund_without_an_amount_gives_back_the_rest(in_memory: App) -> None:
    payment = await a_processed(in_memory)
    await a_refund(in_memory, payment, 4_000)
    assert (await a_refund(in_memory, payment)).amount_minor == 6_000
    nothing_left = await refund(in_memory, caller(), payment.id)
    assert isinstance(refused(nothing_left), InvalidState)
    assert balances(in_memory)["test/merchant/acme"] == 0


async def test_refunds_that_run_at_once_never_exceed_the_capture(in_memory: App) -> None:
    payment = await a_processed(in_memory)
    outcomes = await asyncio.gather(
        *(refund(in_memory, caller(), payment.id, amount_minor=3_000) for _ in range(10))
    )
    assert sum(isinstance(outcome, Accepted) for outcome in outcomes) == 3
    assert (await current(in_memory, payment)).refunded_minor == 9_000
    assert balances(in_memory)["test/merchant/acme"] == -1_000


async def test_only_a_captured_payment_of_ones_own_is_refunded(in_memory: App) -> None:
    payment = await a_validated(in_memory)
    assert isinstance(refused(await refund(in_memory, caller(), payment.id)), InvalidState)
    assert isinstance(refused(await refund(in_memory, caller("zenith"), payment.id)), NotFound)
    assert isinstance(refused(await refund(in_memory, caller(), "no-id")), NotFound)
    assert store_of(in_memory).refunds_by_id == {}


async def test_a_refund_repeated_under_its_key_is_done_once(in_memory: App) -> None:
    payment = await a_processed(in_memory)
    first = await refund(
        in_memory, caller(), payment.id, amount_minor=4_000, key=key_of("refund", "k1")
    )
    again = await refund(
        in_memory, caller(), payment.id, amount_minor=4_000, key=key_of("refund", "k1")
    )
    assert isinstance(first, Accepted)
    assert again == Replayed(first.payment, first.refund)
    other = await refund(
        in_memory, caller(), payment.id, amount_minor=4_001, key=key_of("refund", "k1")
    )
    assert isinstance(refused(other), KeyReused)
    assert (await current(in_memory, payment)).refunded_minor == 4_000


async def test_a_refund_without_an_answer_stays_promised(in_memory: App) -> None:
    payment = await a_processed(in_memory)
    processor_of(in_memory).faults.append("timeout")
    pending = await a_refund(in_memory, payment, 10_000)
    assert pending.state is RefundState.PENDING
    assert (await current(in_memory, payment)).refundable_minor == 0
    assert isinstance(refused(await refund(in_memory, caller(), payment.id)), InvalidState)
    assert balances(in_memory)["test/merchant/acme"] == -10_000


async def test_a_refund_whose_answer_was_lost_is_booked_once(in_memory: App) -> None:
    payment = await a_processed(in_memory)
    processor_of(in_memory).faults.append("lost")
    pending = await a_refund(in_memory, payment, 4_000)
    found = await resolve_refund(in_memory, caller(), pending)
    assert found.state is RefundState.SUCCEEDED
    assert balances(in_memory)["test/merchant/acme"] == -6_000
    assert await resolve_refund(in_memory, caller(), pending) == found
    assert await resolve_refund(in_memory, caller(), found) == found
    assert balances(in_memory)["test/merchant/acme"] == -6_000


async def test_a_refund_that_never_arrived_has_failed_and_can_be_made_anew(
    in_memory: App,
) -> None:
    payment = await a_processed(in_memory)
    processor_of(in_memory).faults.append("timeout")
    pending = await a_refund(in_memory, payment, 10_000)
    lost = await resolve_refund(in_memory, caller(), pending)
    assert (lost.state, lost.failure and lost.failure.code) == (
        RefundState.FAILED,
        "never_happened",
    )
    assert (await current(in_memory, payment)).refundable_minor == 10_000
    assert (await a_refund(in_memory, payment, 10_000)).state is RefundState.SUCCEEDED


async def test_a_refund_that_the_processor_cannot_take_frees_its_amount_and_key(
    in_memory: App,
) -> None:
    payment = await a_processed(in_memory)
    processor_of(in_memory).faults.append("down")
    down = await refund(
        in_memory, caller(), payment.id, amount_minor=10_000, key=key_of("refund", "k1")
    )
    assert isinstance(refused(down), ProcessorUnavailable)
    [failed] = store_of(in_memory).refunds_by_id.values()
    assert (await current_refund(in_memory, failed)).state is RefundState.FAILED
    assert (await current(in_memory, payment)).refunded_minor == 0
    again = await refund(
        in_memory, caller(), payment.id, amount_minor=10_000, key=key_of("refund", "k1")
    )
    assert isinstance(again, Accepted)
    assert balances(in_memory)["test/merchant/acme"] == 0
