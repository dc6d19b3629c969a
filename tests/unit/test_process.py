"""Processing a payment over memory: the card's end, captures in parts, cancels, new cards."""

import asyncio
import dataclasses

import pytest
from msgspec.structs import replace

from remit.domain.card import CardSummary
from remit.domain.errors import (
    InvalidState,
    KeyInFlight,
    KeyReused,
    NotFound,
    ProcessorUnavailable,
)
from remit.domain.payment import Declined, Operation, ProcessorResult, State
from remit.payments.operations import resolve
from remit.payments.process import ProcessRequest, authorize, cancel, capture, process
from remit.payments.validate import CardInput
from remit.ports.app import App
from remit.ports.processor import Instruction
from remit.settings import Settings
from tests.builders import (
    DECLINED_CARD,
    GOOD_CARD,
    AppFactory,
    ScriptedProcessor,
    caller,
    clock_of,
    key_of,
    plain_card,
    processor_of,
)
from tests.unit.arranged import (
    a_processed,
    a_validated,
    accepted,
    an_authorized,
    balances,
    current,
    history,
    invalid,
    refused,
    replayed,
    store_of,
)

DECLINED = Declined("card_declined", "The card was declined.", "generic_decline")


async def test_a_payment_is_charged_once_with_its_own_card(in_memory: App) -> None:
    payment = await a_processed(in_memory, "100.00")
    assert (payment.state, payment.captured_minor) == (State.CAPTURED, 10_000)
    [(instruction, _)] = processor_of(in_memory).answers.values()
    assert (instruction.operation, instruction.amount_minor, instruction.card) == (
        Operation.CHARGE,
        10_000,
        plain_card(),
    )
    assert balances(in_memory) == {
        "test/processor/scripted": 10_000,
        "test/merchant/acme": -10_000,
    }
    assert await history(in_memory, payment) == [
        ("validate", "accepted"),
        ("process", "claimed"),
        ("process", "done"),
    ]


async def test_processing_twice_returns_the_first_outcome(in_memory: App) -> None:
    payment = await a_processed(in_memory)
    again = await process(
        in_memory, caller(), ProcessRequest(payment.id), key_of("process", "another-key")
    )
    assert replayed(again) == payment
    assert len(processor_of(in_memory).answers) == 1


async def test_the_card_is_erased_once_processed(in_memory: App) -> None:
    payment = await a_processed(in_memory)
    assert (await current(in_memory, payment)).encrypted_card is None
    assert payment.card == CardSummary("visa", "4242", 12, 2030)


async def test_the_card_is_erased_once_declined(in_memory: App) -> None:
    payment = await a_processed(in_memory, card=DECLINED_CARD)
    stored = await current(in_memory, payment)
    assert (stored.state, stored.failure, stored.encrypted_card) == (State.DECLINED, DECLINED, None)
    assert balances(in_memory) == {}


async def test_a_declined_payment_answers_the_same_without_a_new_card(in_memory: App) -> None:
    payment = await a_processed(in_memory, card=DECLINED_CARD)
    again = await process(in_memory, caller(), ProcessRequest(payment.id))
    assert replayed(again) == payment
    assert len(processor_of(in_memory).answers) == 1


async def test_a_declined_payment_is_taken_with_a_new_card(in_memory: App) -> None:
    declined = await a_processed(in_memory, card=DECLINED_CARD)
    request = ProcessRequest(declined.id, CardInput("378282246310005", 1, 2029, "1234"))
    payment = accepted(await process(in_memory, caller(), request))
    assert (payment.state, payment.failure) == (State.CAPTURED, None)
    assert payment.card == CardSummary("amex", "0005", 1, 2029)
    assert payment.encrypted_card is None
    assert len(processor_of(in_memory).answers) == 2
    assert balances(in_memory)["test/merchant/acme"] == -10_000


async def test_a_new_card_can_be_declined_too(in_memory: App) -> None:
    declined = await a_processed(in_memory, card=DECLINED_CARD)
    request = ProcessRequest(declined.id, DECLINED_CARD)
    again = accepted(await process(in_memory, caller(), request))
    assert (again.state, again.attempt) == (State.DECLINED, 2)


async def test_a_wrong_new_card_is_refused_before_anything_happens(in_memory: App) -> None:
    payment = await a_validated(in_memory)
    request = ProcessRequest(payment.id, "4242424242424241")
    assert invalid(await process(in_memory, caller(), request)) == (
        "card.number",
        "card_number_incorrect",
    )
    assert await current(in_memory, payment) == payment


async def test_a_payment_without_a_card_is_processed_without_one(in_memory: App) -> None:
    validated = await a_validated(in_memory, card=None)
    payment = accepted(await process(in_memory, caller(), ProcessRequest(validated.id)))
    assert payment.state is State.CAPTURED
    [(instruction, _)] = processor_of(in_memory).answers.values()
    assert instruction.card is None


@pytest.mark.parametrize(
    "encrypted_card", [None, "c2VhbGVkIGVsc2V3aGVyZQ=="], ids=["erased", "unreadable"]
)
async def test_a_payment_whose_card_is_lost_asks_for_it_again(
    in_memory: App, encrypted_card: str | None
) -> None:
    validated = await a_validated(in_memory)
    lost = replace(validated, encrypted_card=encrypted_card)
    store_of(in_memory).payments[validated.id] = lost
    request = ProcessRequest(validated.id)
    error = refused(await process(in_memory, caller(), request))
    assert isinstance(error, InvalidState)
    assert "Send it again" in error.message
    with_card = ProcessRequest(validated.id, CardInput(GOOD_CARD, 12, 2030))
    assert accepted(await process(in_memory, caller(), with_card)).state is State.CAPTURED


async def test_an_authorization_holds_money_and_books_none(in_memory: App) -> None:
    payment = await an_authorized(in_memory)
    assert (payment.state, payment.authorized_minor, payment.captured_minor) == (
        State.AUTHORIZED,
        10_000,
        0,
    )
    assert payment.encrypted_card is None
    assert balances(in_memory) == {}
    error = refused(await process(in_memory, caller(), ProcessRequest(payment.id)))
    assert isinstance(error, InvalidState)


async def test_a_declined_authorization_is_no_authorization(in_memory: App) -> None:
    validated = await a_validated(in_memory, card=DECLINED_CARD)
    payment = accepted(await authorize(in_memory, caller(), ProcessRequest(validated.id)))
    assert (payment.state, payment.authorized_minor) == (State.DECLINED, 0)


async def test_a_payment_captured_in_parts_books_each_part(in_memory: App) -> None:
    payment = await an_authorized(in_memory)
    for amount_minor, state in ((2_500, State.AUTHORIZED), (3_000, State.AUTHORIZED)):
        outcome = await capture(
            in_memory, caller(), payment.id, amount_minor=amount_minor, final=False
        )
        assert accepted(outcome).state is state
    whole = accepted(await capture(in_memory, caller(), payment.id))
    assert (whole.state, whole.captured_minor) == (State.CAPTURED, 10_000)
    owed = [p for p in store_of(in_memory).postings if p.account == "test/processor/scripted"]
    assert [posting.amount_minor for posting in owed] == [2_500, 3_000, 4_500]
    assert len({posting.transaction_id for posting in owed}) == 3
    assert balances(in_memory) == {
        "test/processor/scripted": 10_000,
        "test/merchant/acme": -10_000,
    }
    assert await in_memory.processor.balance(payment.id) == 10_000


async def test_more_than_was_authorized_is_never_captured(in_memory: App) -> None:
    payment = await an_authorized(in_memory)
    await capture(in_memory, caller(), payment.id, amount_minor=9_999, final=False)
    outcome = await capture(in_memory, caller(), payment.id, amount_minor=2)
    assert isinstance(refused(outcome), InvalidState)
    assert balances(in_memory)["test/merchant/acme"] == -9_999


async def test_a_capture_repeated_under_its_key_is_done_once(in_memory: App) -> None:
    payment = await an_authorized(in_memory)
    first = await capture(
        in_memory,
        caller(),
        payment.id,
        amount_minor=2_500,
        final=False,
        key=key_of("capture", "k1"),
    )
    again = await capture(
        in_memory,
        caller(),
        payment.id,
        amount_minor=2_500,
        final=False,
        key=key_of("capture", "k1"),
    )
    assert replayed(again) == accepted(first)
    other = await capture(
        in_memory, caller(), payment.id, amount_minor=2_600, key=key_of("capture", "k1")
    )
    assert isinstance(refused(other), KeyReused)
    assert (await current(in_memory, payment)).captured_minor == 2_500


async def test_an_authorization_is_voided_at_the_processor(in_memory: App) -> None:
    payment = await an_authorized(in_memory)
    canceled = accepted(await cancel(in_memory, caller(), payment.id))
    assert canceled.state is State.CANCELED
    asked = [instruction for instruction, _ in processor_of(in_memory).answers.values()]
    assert [instruction.operation for instruction in asked] == [
        Operation.AUTHORIZE,
        Operation.VOID,
    ]
    assert asked[1].reference == payment.processor_reference
    assert balances(in_memory) == {}


async def test_an_authorization_captured_in_part_is_not_canceled(in_memory: App) -> None:
    payment = await an_authorized(in_memory)
    await capture(in_memory, caller(), payment.id, amount_minor=1, final=False)
    error = refused(await cancel(in_memory, caller(), payment.id))
    assert "can be refunded, not canceled" in error.message
    assert (await current(in_memory, payment)).state is State.AUTHORIZED


@pytest.mark.parametrize("card", [GOOD_CARD, None])
async def test_a_payment_never_asked_about_is_canceled_without_asking(
    in_memory: App, card: str | None
) -> None:
    payment = await a_validated(in_memory, card=card)
    canceled = accepted(await cancel(in_memory, caller(), payment.id, key=key_of("cancel", "k1")))
    assert (canceled.state, canceled.encrypted_card) == (State.CANCELED, None)
    assert processor_of(in_memory).answers == {}
    assert (
        replayed(await cancel(in_memory, caller(), payment.id, key=key_of("cancel", "k1")))
        == canceled
    )
    assert replayed(await cancel(in_memory, caller(), payment.id)) == canceled
    error = refused(await process(in_memory, caller(), ProcessRequest(payment.id)))
    assert isinstance(error, InvalidState)


async def test_a_captured_payment_is_not_canceled(in_memory: App) -> None:
    payment = await a_processed(in_memory)
    assert isinstance(refused(await cancel(in_memory, caller(), payment.id)), InvalidState)
    assert await current(in_memory, payment) == payment


async def test_a_processor_that_is_down_leaves_the_payment_as_it_was(in_memory: App) -> None:
    validated = await a_validated(in_memory)
    processor_of(in_memory).down = True
    request = ProcessRequest(validated.id)
    error = refused(
        await process(in_memory, caller(), request, key_of("process", "k1"), requeue=False)
    )
    assert isinstance(error, ProcessorUnavailable)
    stored = await current(in_memory, validated)
    assert stored == replace(validated, version=3)
    assert store_of(in_memory).records == {}
    processor_of(in_memory).down = False
    taken = accepted(await process(in_memory, caller(), request, key_of("process", "k1")))
    assert taken.state is State.CAPTURED


async def test_a_payment_in_progress_is_not_taken_twice(in_memory: App) -> None:
    validated = await a_validated(in_memory)
    processor_of(in_memory).faults.append("timeout")
    await process(in_memory, caller(), ProcessRequest(validated.id), key_of("process", "k1"))
    request = ProcessRequest(validated.id)
    busy = refused(await process(in_memory, caller(), request))
    assert isinstance(busy, InvalidState)
    assert busy.retry_after_seconds == 1
    in_flight = refused(await process(in_memory, caller(), request, key_of("process", "k1")))
    assert isinstance(in_flight, KeyInFlight)
    assert processor_of(in_memory).answers == {}


async def test_an_answer_that_was_lost_is_found_and_charged_once(in_memory: App) -> None:
    processor_of(in_memory).faults.append("lost")
    unknown = await a_processed(in_memory)
    assert unknown.state is State.UNKNOWN
    assert unknown.encrypted_card is not None
    assert balances(in_memory) == {}
    found = await resolve(in_memory, caller(), unknown)
    assert (found.state, found.encrypted_card, found.pending) == (State.CAPTURED, None, None)
    assert balances(in_memory)["test/merchant/acme"] == -10_000
    assert len(processor_of(in_memory).answers) == 1
    assert (await history(in_memory, unknown))[-2:] == [
        ("process", "no_answer"),
        ("resolve", "done"),
    ]
    assert await resolve(in_memory, caller(), found) == found
    assert await resolve(in_memory, caller(), unknown) == found
    assert balances(in_memory)["test/merchant/acme"] == -10_000


async def test_a_question_that_never_arrived_is_taken_back(in_memory: App) -> None:
    processor_of(in_memory).faults.append("timeout")
    unknown = await a_processed(in_memory)
    back = await resolve(in_memory, caller(), unknown)
    assert (back.state, back.pending) == (State.VALIDATED, None)
    assert back.encrypted_card is not None
    assert (await history(in_memory, unknown))[-1] == ("resolve", "never_happened")
    taken = accepted(await process(in_memory, caller(), ProcessRequest(unknown.id)))
    assert taken.state is State.CAPTURED
    assert len(processor_of(in_memory).answers) == 1


class SilentProcessor(ScriptedProcessor):
    """Does the work and keeps the line open for ever."""

    async def execute(self, instruction: Instruction) -> ProcessorResult:
        await super().execute(instruction)
        return await asyncio.Future[ProcessorResult]()


async def test_a_processor_that_never_answers_is_cut_off(new_app: AppFactory) -> None:
    made = new_app(settings=Settings(processor_timeout_seconds=0.01))
    app = dataclasses.replace(made, processor=SilentProcessor())
    unknown = await a_processed(app)
    assert unknown.state is State.UNKNOWN
    assert (await resolve(app, caller(), unknown)).state is State.CAPTURED


async def test_once_the_wait_is_over_the_next_request_finds_out_first(in_memory: App) -> None:
    processor_of(in_memory).faults.append("lost")
    unknown = await a_processed(in_memory)
    clock_of(in_memory).advance(in_memory.settings.processor_timeout_seconds)
    again = await process(in_memory, caller(), ProcessRequest(unknown.id))
    assert replayed(again).state is State.CAPTURED
    assert len(processor_of(in_memory).answers) == 1


async def test_a_payment_of_another_merchant_is_not_there(in_memory: App) -> None:
    payment = await a_validated(in_memory)
    other = caller("zenith")
    outcomes = [
        await process(in_memory, other, ProcessRequest(payment.id)),
        await authorize(in_memory, other, ProcessRequest(payment.id)),
        await capture(in_memory, other, payment.id),
        await cancel(in_memory, other, payment.id),
        await process(in_memory, replace(caller(), mode="live"), ProcessRequest(payment.id)),
        await process(in_memory, caller(), ProcessRequest("not-an-id")),
    ]
    assert [type(refused(outcome)) for outcome in outcomes] == [NotFound] * 6
    assert await current(in_memory, payment) == payment
