"""A payer who has to act before a charge has a result, as in 3-D Secure."""

from datetime import timedelta

import pytest

from remit.delivery.relay import relay
from remit.domain.operation import (
    Approved,
    Declined,
    NextAction,
    NotDone,
    ProcessorResult,
    Received,
)
from remit.domain.payment import Payment, State
from remit.payments.decisions import decide
from remit.payments.operation_results import NOT_AUTHENTICATED, RECEIVED_DECISION_AFTER
from remit.payments.operations import apply_notice
from remit.payments.process import ProcessRequest, authorize, cancel, process
from remit.payments.results import StepResult
from remit.ports.app import App
from remit.ports.processor import Instruction
from tests.builders import caller, clock_of, key_of
from tests.unit.steps import (
    TwoPhaseProcessor,
    a_processed_payment,
    a_validated_payment,
    accepted,
    balances,
    current,
    history,
    notice,
    pass_time,
    published,
    queued,
    rejected,
    replayed,
    the_operation,
)

HOUR = timedelta(hours=1)
FAILED = Declined("authentication_failed", "The payer did not authenticate.")


def processor_of(app: App) -> TwoPhaseProcessor:
    assert isinstance(app.processor, TwoPhaseProcessor)
    return app.processor


async def a_payment_that_requires_action(app: App) -> Payment:
    processor_of(app).action = NextAction("https://issuer.test/3ds", clock_of(app)() + HOUR)
    return await a_processed_payment(app)


async def test_the_payer_is_sent_to_the_processor_and_the_card_is_not_kept(two_phase: App) -> None:
    payment = await a_payment_that_requires_action(two_phase)
    assert payment.state is State.REQUIRES_ACTION
    assert payment.next_action == processor_of(two_phase).action
    assert payment.encrypted_card is None
    assert (await history(two_phase, payment))[-1] == ("process", "requires_action")
    await relay(two_phase)
    events = [kind for kind, _ in published(two_phase.delivery.notifications)]
    assert events[-1] == "payment_intent.requires_action"


@pytest.mark.parametrize(
    ("result", "state"), [(Approved("pi_1"), State.CAPTURED), (FAILED, State.DECLINED)]
)
@pytest.mark.parametrize("has_notice", [True, False])
async def test_the_payment_goes_on_once_the_payer_has_acted(
    two_phase: App, result: ProcessorResult, state: State, has_notice: bool
) -> None:
    payment = await a_payment_that_requires_action(two_phase)
    if has_notice:
        await apply_notice(two_phase, notice(the_operation(two_phase).id, result))
    else:
        processor_of(two_phase).known = result
        await pass_time(two_phase, timedelta(minutes=1))
    ended = await current(two_phase, payment)
    assert (ended.state, ended.next_action, ended.pending) == (state, None, None)
    assert bool(balances(two_phase)) == (state is State.CAPTURED)
    assert "fence" not in processor_of(two_phase).methods()


async def test_a_payer_who_never_acts_ends_the_payment_when_the_time_is_over(
    two_phase: App,
) -> None:
    payment = await a_payment_that_requires_action(two_phase)
    processor_of(two_phase).fenced = NotDone()
    for _ in range(11):
        await pass_time(two_phase, HOUR / 12)
        assert (await current(two_phase, payment)).state is State.REQUIRES_ACTION
    assert "fence" not in processor_of(two_phase).methods()
    await pass_time(two_phase, HOUR / 12)
    declined = await current(two_phase, payment)
    assert (declined.state, declined.failure) == (State.DECLINED, NOT_AUTHENTICATED)
    assert processor_of(two_phase).methods().count("execute") == 1


async def test_two_persons_who_find_nothing_done_end_the_payment_as_declined(
    two_phase: App,
) -> None:
    payment = await a_payment_that_requires_action(two_phase)
    await pass_time(two_phase, RECEIVED_DECISION_AFTER)
    for person in ("ann", "ben"):
        await decide(two_phase, person, the_operation(two_phase).id, NotDone())
    declined = await current(two_phase, payment)
    assert (declined.state, declined.failure) == (State.DECLINED, NOT_AUTHENTICATED)


async def test_a_cancel_does_not_wait_for_the_payer(two_phase: App) -> None:
    payment = await a_payment_that_requires_action(two_phase)
    processor_of(two_phase).fenced = NotDone()
    queued(await cancel(two_phase, caller(), payment.id))
    assert (await current(two_phase, payment)).state is State.CANCELED
    assert processor_of(two_phase).methods()[-2:] == ["read", "fence"]


async def test_an_action_that_comes_after_the_cancel_is_not_waited_for(two_phase: App) -> None:
    """The answer of the charge was on its way when its payment was canceled."""
    processor, payment = processor_of(two_phase), await a_validated_payment(two_phase)
    processor.action = NextAction("https://issuer.test/3ds", clock_of(two_phase)() + HOUR)
    processor.fenced = NotDone()
    execute = processor.execute

    async def cancel_meanwhile(instruction: Instruction) -> ProcessorResult | Received:
        queued(await cancel(two_phase, caller(), payment.id))
        return await execute(instruction)

    processor.execute = cancel_meanwhile  # type: ignore[method-assign]
    accepted(await process(two_phase, caller(), ProcessRequest(payment.id)))
    assert (await current(two_phase, payment)).state is State.UNKNOWN
    await pass_time(two_phase, timedelta(minutes=1))
    assert (await current(two_phase, payment)).state is State.CANCELED


async def test_a_request_that_is_repeated_is_answered_with_the_action_and_asks_nobody(
    two_phase: App,
) -> None:
    payment = await a_payment_that_requires_action(two_phase)
    calls = list(processor_of(two_phase).calls)
    for key in (None, key_of("process", "k2"), key_of("process", "k2")):
        again = await process(two_phase, caller(), ProcessRequest(payment.id), key)
        assert replayed(again).next_action == payment.next_action
    rejected(await authorize(two_phase, caller(), ProcessRequest(payment.id)))
    assert processor_of(two_phase).calls == calls
    await apply_notice(two_phase, notice(the_operation(two_phase).id, Approved("pi_1")))
    result = await process(two_phase, caller(), ProcessRequest(payment.id), key_of("process", "k2"))
    assert replayed(result).state is State.CAPTURED


async def test_the_key_of_the_request_has_the_action_first_and_then_the_result(
    two_phase: App,
) -> None:
    processor_of(two_phase).action = NextAction("https://issuer.test/3ds", clock_of(two_phase)())
    payment = await a_validated_payment(two_phase)

    async def once() -> StepResult:
        request = ProcessRequest(payment.id)
        return await process(two_phase, caller(), request, key_of("process", "k1"))

    assert accepted(await once()).state is State.REQUIRES_ACTION
    assert replayed(await once()).state is State.REQUIRES_ACTION
    await apply_notice(two_phase, notice(the_operation(two_phase).id, Approved("pi_1")))
    assert replayed(await once()).state is State.CAPTURED
