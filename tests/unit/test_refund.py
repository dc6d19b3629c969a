"""Refunds over memory: reserved before the call, posted once, released if they fail."""

import asyncio

from remit.domain.errors import InvalidState, KeyReused, NotFound, ProcessorUnavailable
from remit.domain.payment import Operation
from remit.domain.refund import RefundState
from remit.payments.refund import refund, resolve_refund
from remit.payments.results import Accepted, Replayed
from remit.ports.app import App
from tests.builders import caller, key_of, processor_of
from tests.unit.steps import (
    a_processed_payment,
    a_refund,
    a_validated_payment,
    balances,
    current,
    current_refund,
    rejected,
    store_of,
)


async def test_a_refund_moves_the_money_back(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory)
    refunded = await a_refund(in_memory, payment, 4_000)
    assert (refunded.state, refunded.amount_minor) == (RefundState.SUCCEEDED, 4_000)
    assert (await current(in_memory, payment)).refunded_minor == 4_000
    assert balances(in_memory) == {
        "test/processor/scripted": 6_000,
        "test/merchant/acme": -6_000,
    }
    assert await in_memory.processor.balance(payment.id) == 6_000
    instruction, _ = processor_of(in_memory).results[refunded.id]
    assert (instruction.operation, instruction.reference, instruction.card) == (
        Operation.REFUND,
        payment.processor_reference,
        None,
    )


async def test_a_refund_without_an_amount_refunds_the_rest(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory)
    await a_refund(in_memory, payment, 4_000)
    assert (await a_refund(in_memory, payment)).amount_minor == 6_000
    nothing_left = await refund(in_memory, caller(), payment.id)
    assert isinstance(rejected(nothing_left), InvalidState)
    assert balances(in_memory)["test/merchant/acme"] == 0


async def test_refunds_that_run_at_once_never_exceed_the_capture(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory)
    results = await asyncio.gather(
        *(refund(in_memory, caller(), payment.id, amount_minor=3_000) for _ in range(10))
    )
    assert sum(isinstance(result, Accepted) for result in results) == 3
    assert (await current(in_memory, payment)).refunded_minor == 9_000
    assert balances(in_memory)["test/merchant/acme"] == -1_000


async def test_only_a_captured_payment_of_the_merchant_is_refunded(in_memory: App) -> None:
    payment = await a_validated_payment(in_memory)
    assert isinstance(rejected(await refund(in_memory, caller(), payment.id)), InvalidState)
    assert isinstance(rejected(await refund(in_memory, caller("zenith"), payment.id)), NotFound)
    assert isinstance(rejected(await refund(in_memory, caller(), "no-id")), NotFound)
    assert store_of(in_memory).refunds_by_id == {}


async def test_a_refund_repeated_under_its_key_is_done_once(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory)
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
    assert isinstance(rejected(other), KeyReused)
    assert (await current(in_memory, payment)).refunded_minor == 4_000


async def test_a_refund_without_a_result_keeps_its_amount_reserved(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory)
    processor_of(in_memory).faults.append("timeout")
    pending = await a_refund(in_memory, payment, 10_000)
    assert pending.state is RefundState.PENDING
    assert (await current(in_memory, payment)).refundable_minor == 0
    assert isinstance(rejected(await refund(in_memory, caller(), payment.id)), InvalidState)
    assert balances(in_memory)["test/merchant/acme"] == -10_000


async def test_a_refund_whose_result_was_lost_is_posted_once(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory)
    processor_of(in_memory).faults.append("lost")
    pending = await a_refund(in_memory, payment, 4_000)
    resolved = await resolve_refund(in_memory, caller(), pending)
    assert resolved.state is RefundState.SUCCEEDED
    assert balances(in_memory)["test/merchant/acme"] == -6_000
    assert await resolve_refund(in_memory, caller(), pending) == resolved
    assert await resolve_refund(in_memory, caller(), resolved) == resolved
    assert balances(in_memory)["test/merchant/acme"] == -6_000


async def test_a_refund_that_never_arrived_has_failed_and_can_be_made_again(
    in_memory: App,
) -> None:
    payment = await a_processed_payment(in_memory)
    processor_of(in_memory).faults.append("timeout")
    pending = await a_refund(in_memory, payment, 10_000)
    lost = await resolve_refund(in_memory, caller(), pending)
    assert (lost.state, lost.failure and lost.failure.code) == (
        RefundState.FAILED,
        "never_happened",
    )
    assert (await current(in_memory, payment)).refundable_minor == 10_000
    assert (await a_refund(in_memory, payment, 10_000)).state is RefundState.SUCCEEDED


async def test_a_refund_whose_processor_is_down_releases_its_amount_and_key(
    in_memory: App,
) -> None:
    payment = await a_processed_payment(in_memory)
    processor_of(in_memory).faults.append("down")
    down = await refund(
        in_memory, caller(), payment.id, amount_minor=10_000, key=key_of("refund", "k1")
    )
    assert isinstance(rejected(down), ProcessorUnavailable)
    [failed] = store_of(in_memory).refunds_by_id.values()
    assert (await current_refund(in_memory, failed)).state is RefundState.FAILED
    assert (await current(in_memory, payment)).refunded_minor == 0
    again = await refund(
        in_memory, caller(), payment.id, amount_minor=10_000, key=key_of("refund", "k1")
    )
    assert isinstance(again, Accepted)
    assert balances(in_memory)["test/merchant/acme"] == 0
