"""Refunds over memory: reserved before the call, posted once, released if they fail."""

import asyncio

import pytest

from remit.domain.errors import InvalidState, KeyReused, NotFound, ProcessorUnavailable
from remit.domain.operation import OperationKind
from remit.domain.refund import Refund, RefundState
from remit.payments.operations import advance
from remit.payments.refund import refund
from remit.payments.results import Accepted, Replayed
from remit.ports.app import App
from tests.builders import Fault, caller, clock_of, held, key_of, processor_of
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
    assert await held(in_memory.processor, payment.id) == 6_000
    [instruction] = [i for i, _ in processor_of(in_memory).results.values()][1:]
    assert (instruction.operation, instruction.reference, instruction.card) == (
        OperationKind.REFUND,
        payment.processor_reference,
        None,
    )


async def test_a_refund_without_an_amount_refunds_the_rest(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory)
    await a_refund(in_memory, payment, 4_000)
    assert (await a_refund(in_memory, payment)).amount_minor == 6_000
    nothing_left = await refund(in_memory, caller(), payment.id)
    assert isinstance(rejected(nothing_left), InvalidState)
    assert balances(in_memory) == {}


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


async def finish(app: App, pending: Refund) -> Refund:
    """The refund after its operation was sent again, once nobody has it leased any more."""
    [operation] = [o for o in store_of(app).operations_by_id.values() if o.refund_id == pending.id]
    clock_of(app).advance(3_600)
    claim = await advance(app, caller(), operation.id)
    assert claim is not None
    assert claim.refund == await current_refund(app, pending)
    return claim.refund


@pytest.mark.parametrize("fault", ["lost", "timeout"])
async def test_a_refund_without_a_result_is_sent_again_and_posted_once(
    in_memory: App, fault: Fault
) -> None:
    payment = await a_processed_payment(in_memory)
    processor_of(in_memory).faults.append(fault)
    pending = await a_refund(in_memory, payment, 4_000)
    assert pending.state is RefundState.PENDING
    resolved = await finish(in_memory, pending)
    assert resolved.state is RefundState.SUCCEEDED
    assert balances(in_memory)["test/merchant/acme"] == -6_000
    assert await finish(in_memory, pending) == resolved
    assert balances(in_memory)["test/merchant/acme"] == -6_000
    assert len(processor_of(in_memory).results) == 2


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
    assert balances(in_memory) == {}
