"""How an operation ends: sent again, by a read, a fence, a notice, or a decision of two persons."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from remit.delivery.relay import relay
from remit.domain.errors import ProcessorTimeout, ProcessorUnavailable
from remit.domain.operation import (
    Approved,
    Declined,
    NotDone,
    OperationState,
    ProcessorResult,
    Reversed,
)
from remit.domain.payment import Payment, State
from remit.payments.operation_results import (
    EXPIRED,
    RECEIVED_DECISION_AFTER,
)
from remit.payments.operations import apply_notice
from remit.payments.process import ProcessRequest, cancel, capture, process
from remit.payments.results import Queued, Rejected
from remit.ports.app import App
from remit.ports.processor import Instruction
from tests.builders import (
    ScriptedProcessor,
    caller,
    key_of,
    processor_of,
    replace_parts,
)
from tests.unit.steps import (
    KEY_LIFETIME,
    TwoPhaseProcessor,
    a_processed_payment,
    a_validated_payment,
    accepted,
    alerts,
    an_authorized_payment,
    balances,
    current,
    notice,
    pass_time,
    rejected,
    replayed,
    store_of,
    the_operation,
)

REVERSED = Reversed("failed_later", "It failed afterwards.")


def two_phases_of(app: App) -> TwoPhaseProcessor:
    assert isinstance(app.processor, TwoPhaseProcessor)
    return app.processor


# Two phases


async def test_the_reference_is_committed_before_money_can_move(two_phase: App) -> None:
    processor = two_phases_of(two_phase)
    stored: list[str | None] = []
    execute = processor.execute

    async def look_first(instruction: Instruction) -> Any:
        stored.append(the_operation(two_phase).reference)
        return await execute(instruction)

    processor.execute = look_first  # type: ignore[method-assign]
    payment = await a_processed_payment(two_phase)
    reference = f"pi_{the_operation(two_phase).id}"
    assert payment.state is State.CAPTURED
    assert stored == [reference]
    assert processor.calls == [("prepare", None), ("execute", reference)]


async def test_an_operation_that_could_not_be_prepared_was_not_done(two_phase: App) -> None:
    """What may have been prepared moves no money without the call that never came."""
    two_phases_of(two_phase).is_silent = True
    payment = await a_validated_payment(two_phase)
    result = await process(two_phase, caller(), ProcessRequest(payment.id))
    assert isinstance(result, Rejected)
    assert (await current(two_phase, payment)).state is State.VALIDATED
    assert the_operation(two_phase).state is OperationState.NOT_DONE
    assert two_phases_of(two_phase).methods() == ["prepare"]


async def test_an_instruction_is_sent_again_while_its_key_is_certainly_kept(
    two_phase: App,
) -> None:
    two_phases_of(two_phase).faults.append("lost")
    payment = await a_processed_payment(two_phase)
    assert payment.state is State.UNKNOWN
    await pass_time(two_phase, KEY_LIFETIME / 2 - timedelta(seconds=1))
    assert (await current(two_phase, payment)).state is State.CAPTURED
    assert two_phases_of(two_phase).methods() == ["prepare", "execute", "execute"]


async def a_charge_whose_key_is_old(app: App) -> Payment:
    two_phases_of(app).faults.append("timeout")
    payment = await a_processed_payment(app)
    two_phases_of(app).calls.clear()
    return payment


async def test_an_instruction_whose_key_may_be_forgotten_is_not_sent_again(two_phase: App) -> None:
    payment = await a_charge_whose_key_is_old(two_phase)
    two_phases_of(two_phase).known = Approved("pi_1")
    await pass_time(two_phase, KEY_LIFETIME / 2)
    captured = await current(two_phase, payment)
    assert (captured.state, captured.processor_reference) == (State.CAPTURED, "pi_1")
    assert two_phases_of(two_phase).methods() == ["read"]


async def test_what_was_prepared_and_is_not_done_is_fenced_and_expires(two_phase: App) -> None:
    payment = await a_charge_whose_key_is_old(two_phase)
    two_phases_of(two_phase).fenced = NotDone()
    await pass_time(two_phase, KEY_LIFETIME / 2)
    declined = await current(two_phase, payment)
    assert (declined.state, declined.failure) == (State.DECLINED, EXPIRED)
    assert two_phases_of(two_phase).methods() == ["read", "fence"]


async def test_what_was_prepared_and_canceled_is_fenced_and_not_sent_again(two_phase: App) -> None:
    processor = two_phases_of(two_phase)
    processor.faults.append("timeout")
    payment = await a_processed_payment(two_phase)
    assert isinstance(await cancel(two_phase, caller(), payment.id), Queued)
    processor.fenced = NotDone()
    await pass_time(two_phase, timedelta(minutes=1))
    assert (await current(two_phase, payment)).state is State.CANCELED
    assert processor.methods() == ["prepare", "execute", "read", "fence"]
    assert balances(two_phase) == {}


async def test_an_operation_that_nobody_knows_of_stays_open(two_phase: App) -> None:
    """Absence is never concluded."""
    payment = await a_charge_whose_key_is_old(two_phase)
    for _ in range(5):
        await pass_time(two_phase, KEY_LIFETIME)
    assert (await current(two_phase, payment)).state is State.UNKNOWN
    assert "execute" not in two_phases_of(two_phase).methods()


# Received for later


@pytest.mark.parametrize(
    ("result", "state"),
    [
        (Approved("psp_1"), State.CAPTURED),
        (Declined("card_declined", "The card was declined."), State.DECLINED),
    ],
)
async def test_a_received_operation_ends_by_its_notice_however_often_that_comes(
    later: App, result: ProcessorResult, state: State
) -> None:
    payment = await a_processed_payment(later)
    assert payment.state is State.UNKNOWN
    operation = the_operation(later)
    assert (operation.is_received, operation.reference) == (True, f"psp_{operation.id}")
    for _ in range(3):
        await apply_notice(later, notice(operation.id, result))
    assert (await current(later, payment)).state is state
    assert alerts(later) == []
    await relay(later)
    assert len(balances(later)) == (2 if state is State.CAPTURED else 0)


async def test_a_received_operation_is_not_sent_again_and_is_shown_to_a_person_in_the_end(
    later: App,
) -> None:
    await a_processed_payment(later)
    days = RECEIVED_DECISION_AFTER // timedelta(days=1)
    for _ in range(days):
        assert not the_operation(later).needs_decision
        await pass_time(later, timedelta(days=1))
    assert the_operation(later).needs_decision
    await relay(later)
    assert alerts(later) == ["operation_needs_decision"]
    assert later.processor.sent == 1  # type: ignore[attr-defined]


async def test_a_notice_that_names_no_operation_is_an_alert(in_memory: App) -> None:
    assert await apply_notice(in_memory, notice(in_memory.new_id(), NotDone())) is None
    await relay(in_memory)
    assert alerts(in_memory) == ["notice_unmatched"]


# What a caller was told stays true


async def test_a_replay_under_a_new_key_is_kept_under_that_key(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory)
    request, key = ProcessRequest(payment.id), key_of("process", "k2")
    assert replayed(await process(in_memory, caller(), request, key)).state is State.CAPTURED
    await apply_notice(in_memory, notice(the_operation(in_memory).id, REVERSED))
    again = replayed(await process(in_memory, caller(), request, key))
    assert again.state is State.CAPTURED


async def test_a_decline_recorded_by_another_process_is_told_though_the_payment_has_changed(
    in_memory: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that sent the charge was paused. Meanwhile its payment was declined, and
    canceled.
    """
    payment = await a_validated_payment(in_memory)
    execute: Callable[[Instruction], Any] = in_memory.processor.execute

    async def pause(instruction: Instruction) -> Any:
        monkeypatch.setattr(in_memory.processor, "execute", execute)
        declined = Declined("card_declined", "The card was declined.")
        await apply_notice(in_memory, notice(instruction.key, declined))

        accepted(await cancel(in_memory, caller(), payment.id))
        raise ProcessorTimeout("The processor did not answer in time.")

    monkeypatch.setattr(in_memory.processor, "execute", pause)
    key = key_of("process", "k1")
    told = replayed(await process(in_memory, caller(), ProcessRequest(payment.id), key))
    assert (told.state, (await current(in_memory, payment)).state) == (
        State.DECLINED,
        State.CANCELED,
    )


class OtherProcessor(ScriptedProcessor):
    name = "other"


async def test_no_operation_goes_to_another_processor_than_the_payments(in_memory: App) -> None:
    """As when a deployment was given another processor, with payments at the first."""
    authorized = await an_authorized_payment(in_memory)
    assert authorized.processor == "scripted"
    other = OtherProcessor()
    app = replace_parts(in_memory, processor=other)
    assert isinstance(rejected(await capture(app, caller(), authorized.id)), ProcessorUnavailable)
    processor_of(in_memory).faults.append("lost")
    await capture(in_memory, caller(), authorized.id)
    await pass_time(app, timedelta(minutes=1))
    assert (await current(app, authorized)).state is State.UNKNOWN
    assert other.results == {}
    await pass_time(in_memory, timedelta(hours=1))
    assert (await current(in_memory, authorized)).state is State.CAPTURED
    assert [posting.account for posting in store_of(in_memory).postings] == [
        "test/processor/scripted",
        "test/merchant/acme",
    ]
