"""What a processor does too late or takes back, and what a person decides."""

from datetime import timedelta

import pytest

from remit.delivery.relay import relay
from remit.domain.errors import InvalidState, NotFound
from remit.domain.operation import (
    Approved,
    NotDone,
    Operation,
    OperationKind,
    OperationState,
    Reversed,
)
from remit.domain.payment import State
from remit.domain.refund import RefundState
from remit.payments.decisions import decide
from remit.payments.operation_results import (
    DECISION_AFTER,
    MAX_ATTEMPTS,
)
from remit.payments.operations import apply_notice
from remit.payments.process import ProcessRequest, authorize, process
from remit.payments.results import Rejected
from remit.ports.app import App
from tests.builders import (
    caller,
    processor_of,
)
from tests.unit.steps import (
    a_processed_payment,
    a_refund,
    a_validated_payment,
    alerts,
    balances,
    current,
    handle_all,
    notice,
    pass_time,
    published,
    store_of,
    the_operation,
)

REVERSED = Reversed("failed_later", "It failed afterwards.")
LATE = Approved("late-1")
PROCESSOR, MERCHANT, SUSPENSE = "test/processor/scripted", "test/merchant/acme", "test/suspense"


async def test_a_charge_done_after_it_was_certainly_not_is_given_back(in_memory: App) -> None:
    """The refusal was false. The caller was told that nothing would be done."""
    processor_of(in_memory).faults.append("down")
    payment = await a_validated_payment(in_memory)
    assert isinstance(await process(in_memory, caller(), ProcessRequest(payment.id)), Rejected)
    operation = the_operation(in_memory)
    for _ in range(3):
        await apply_notice(in_memory, notice(operation.id, LATE))
    assert balances(in_memory) == {PROCESSOR: 10_000, SUSPENSE: -10_000}
    assert (await current(in_memory, payment)).state is State.VALIDATED
    await handle_all(in_memory)
    [compensation] = [o for o in store_of(in_memory).operations_by_id.values() if o.compensates]
    [sent] = [i for i, _ in processor_of(in_memory).results.values()]
    assert (compensation.compensates, compensation.state) == (
        operation.id,
        OperationState.SUCCEEDED,
    )
    assert (sent.operation, sent.amount_minor, sent.reference) == (
        OperationKind.REFUND,
        10_000,
        "late-1",
    )
    assert balances(in_memory) == {}
    assert alerts(in_memory) == ["operation_contradicted"]


async def test_an_authorization_done_after_it_was_certainly_not_is_voided(
    in_memory: App,
) -> None:
    processor_of(in_memory).faults.append("down")
    payment = await a_validated_payment(in_memory)
    await authorize(in_memory, caller(), ProcessRequest(payment.id))
    await apply_notice(in_memory, notice(the_operation(in_memory).id, LATE))
    await handle_all(in_memory)
    [sent] = [i for i, _ in processor_of(in_memory).results.values()]
    assert (sent.operation, sent.reference) == (OperationKind.VOID, "late-1")
    assert (await current(in_memory, payment)).state is State.VALIDATED


async def test_a_result_that_takes_back_an_approval_is_an_alert(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory)
    await apply_notice(in_memory, notice(the_operation(in_memory).id, NotDone()))
    await relay(in_memory)
    assert alerts(in_memory) == ["operation_contradicted"]
    assert (await current(in_memory, payment)).state is State.CAPTURED


async def test_a_compensation_is_sent_until_the_processor_has_it(in_memory: App) -> None:
    processor_of(in_memory).faults.append("down")
    payment = await a_validated_payment(in_memory)
    await process(in_memory, caller(), ProcessRequest(payment.id))
    await apply_notice(in_memory, notice(the_operation(in_memory).id, LATE))
    processor_of(in_memory).down = True
    for _ in range(3):
        await pass_time(in_memory, timedelta(days=2))
    assert balances(in_memory) == {PROCESSOR: 10_000, SUSPENSE: -10_000}
    processor_of(in_memory).down = False
    await pass_time(in_memory, timedelta(days=2))
    assert balances(in_memory) == {}


async def test_a_charge_that_fails_afterwards_is_posted_back_and_its_merchant_is_told(
    in_memory: App,
) -> None:
    payment = await a_processed_payment(in_memory)
    for _ in range(3):
        await apply_notice(in_memory, notice(the_operation(in_memory).id, REVERSED))
    after = await current(in_memory, payment)
    assert (after.state, after.captured_minor) == (State.DECLINED, 0)
    assert balances(in_memory) == {}
    await relay(in_memory)
    assert published(in_memory.delivery.notifications)[-1][0] == "payment_intent.payment_failed"


async def test_news_of_the_failure_can_come_before_the_result(later: App) -> None:
    payment = await a_processed_payment(later)
    operation_id = the_operation(later).id
    await apply_notice(later, notice(operation_id, REVERSED))
    await apply_notice(later, notice(operation_id, Approved("psp_1")))
    assert (await current(later, payment)).state is State.DECLINED
    assert the_operation(later).state is OperationState.REVERSED
    assert (balances(later), alerts(later)) == ({}, [])


async def test_a_refund_that_fails_afterwards_can_be_made_again(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory)
    refund = await a_refund(in_memory, payment)
    [operation] = [o for o in store_of(in_memory).operations_by_id.values() if o.refund_id]
    await apply_notice(in_memory, notice(operation.id, REVERSED))
    assert store_of(in_memory).refunds_by_id[refund.id].state is RefundState.FAILED
    assert (await current(in_memory, payment)).refunded_minor == 0
    assert balances(in_memory) == {PROCESSOR: 10_000, MERCHANT: -10_000}


async def test_what_fails_after_it_was_refunded_is_missing_and_a_person_is_told(
    in_memory: App,
) -> None:
    payment = await a_processed_payment(in_memory)
    charge = the_operation(in_memory)
    await a_refund(in_memory, payment)
    await apply_notice(in_memory, notice(charge.id, REVERSED))
    assert balances(in_memory) == {PROCESSOR: -10_000, SUSPENSE: 10_000}
    await relay(in_memory)
    assert alerts(in_memory) == ["reversal_needs_decision"]


async def test_what_was_done_too_late_and_fails_is_not_in_suspense_any_more(
    in_memory: App,
) -> None:
    processor_of(in_memory).faults.append("down")
    payment = await a_validated_payment(in_memory)
    await process(in_memory, caller(), ProcessRequest(payment.id))
    operation_id = the_operation(in_memory).id
    await apply_notice(in_memory, notice(operation_id, LATE))
    await apply_notice(in_memory, notice(operation_id, REVERSED))
    assert balances(in_memory) == {}
    await relay(in_memory)
    assert alerts(in_memory) == ["operation_contradicted", "reversal_needs_decision"]


async def test_what_was_not_done_for_us_and_failed_changes_nothing(in_memory: App) -> None:
    """The processor did it too late, it failed, and the news of the failure comes first."""
    processor_of(in_memory).faults.append("down")
    payment = await a_validated_payment(in_memory)
    await process(in_memory, caller(), ProcessRequest(payment.id))
    operation_id = the_operation(in_memory).id
    for _ in range(2):
        await apply_notice(in_memory, notice(operation_id, REVERSED))
        await apply_notice(in_memory, notice(operation_id, LATE))
    await relay(in_memory)
    assert (balances(in_memory), alerts(in_memory)) == ({}, [])
    assert (await current(in_memory, payment)).state is State.VALIDATED


# A person


async def an_operation_that_needs_a_decision(app: App) -> Operation:
    processor_of(app).faults.extend(["timeout"] * 50)
    await a_processed_payment(app)
    await pass_time(app, DECISION_AFTER)
    await relay(app)
    operation = the_operation(app)
    assert (operation.needs_decision, alerts(app)) == (True, ["operation_needs_decision"])
    return operation


async def test_two_persons_end_an_operation_that_does_not_end_by_itself(in_memory: App) -> None:
    operation = await an_operation_that_needs_a_decision(in_memory)
    proposed = await decide(in_memory, "ann", operation.id, LATE)
    assert proposed.operation.is_open
    with pytest.raises(InvalidState, match="a second person"):
        await decide(in_memory, "ann", operation.id, LATE)
    after = await decide(in_memory, "ben", operation.id, LATE)
    assert (after.operation.state, after.payment.state) == (
        OperationState.SUCCEEDED,
        State.CAPTURED,
    )
    assert [(e.actor, e.outcome) for e in store_of(in_memory).audit[-2:]] == [
        ("operator:ann", "proposed"),
        ("operator:ben", "done"),
    ]


async def test_a_second_person_who_says_otherwise_proposes_anew(in_memory: App) -> None:
    operation = await an_operation_that_needs_a_decision(in_memory)
    await decide(in_memory, "ann", operation.id, LATE)
    other = await decide(in_memory, "ben", operation.id, NotDone())
    assert other.operation.is_open
    after = await decide(in_memory, "ann", operation.id, NotDone())
    assert (after.operation.state, after.payment.state) == (
        OperationState.NOT_DONE,
        State.VALIDATED,
    )


async def test_an_operation_that_ends_by_itself_needs_no_decision(in_memory: App) -> None:
    processor_of(in_memory).faults.append("timeout")
    await a_processed_payment(in_memory)
    with pytest.raises(InvalidState, match="no decision is needed"):
        await decide(in_memory, "ann", the_operation(in_memory).id, LATE)
    with pytest.raises(NotFound):
        await decide(in_memory, "ann", in_memory.new_id(), LATE)


async def test_attempts_have_an_end(in_memory: App) -> None:
    processor_of(in_memory).faults.extend(["timeout"] * 1_000)
    await a_processed_payment(in_memory)
    for _ in range(MAX_ATTEMPTS + 20):
        await pass_time(in_memory, timedelta(days=1))
    operation = the_operation(in_memory)
    assert operation.attempts == MAX_ATTEMPTS
    await relay(in_memory)
    assert alerts(in_memory) == ["operation_needs_decision"]
