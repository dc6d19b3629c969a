"""Processing over memory: charges, new cards, authorizations, captures in parts, cancels."""

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
from remit.domain.operation import Declined, OperationKind, ProcessorResult
from remit.domain.payment import Payment, State
from remit.payments.operations import advance
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
    held,
    key_of,
    plain_card,
    processor_of,
)
from tests.unit.steps import (
    a_processed_payment,
    a_validated_payment,
    accepted,
    an_authorized_payment,
    balances,
    current,
    history,
    invalid_field,
    rejected,
    replayed,
    store_of,
)

DECLINED = Declined("card_declined", "The card was declined.", "generic_decline")


async def test_a_payment_is_charged_once_with_its_own_card(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory, "100.00")
    assert (payment.state, payment.captured_minor) == (State.CAPTURED, 10_000)
    [(instruction, _)] = processor_of(in_memory).results.values()
    assert (instruction.operation, instruction.amount_minor, instruction.card) == (
        OperationKind.CHARGE,
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


async def test_processing_twice_returns_the_first_result(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory)
    again = await process(
        in_memory, caller(), ProcessRequest(payment.id), key_of("process", "another-key")
    )
    assert replayed(again) == payment
    assert len(processor_of(in_memory).results) == 1


async def test_the_card_is_erased_once_processed(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory)
    assert (await current(in_memory, payment)).encrypted_card is None
    assert payment.card == CardSummary("visa", "4242", 12, 2030)


async def test_the_card_is_erased_once_declined(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory, card=DECLINED_CARD)
    stored = await current(in_memory, payment)
    assert (stored.state, stored.failure, stored.encrypted_card) == (State.DECLINED, DECLINED, None)
    assert balances(in_memory) == {}


async def test_a_declined_payment_is_replayed_without_a_new_card(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory, card=DECLINED_CARD)
    again = await process(in_memory, caller(), ProcessRequest(payment.id))
    assert replayed(again) == payment
    assert len(processor_of(in_memory).results) == 1


async def test_a_declined_payment_is_charged_with_a_new_card(in_memory: App) -> None:
    declined = await a_processed_payment(in_memory, card=DECLINED_CARD)
    request = ProcessRequest(declined.id, CardInput("378282246310005", 1, 2029, "1234"))
    payment = accepted(await process(in_memory, caller(), request))
    assert (payment.state, payment.failure) == (State.CAPTURED, None)
    assert payment.card == CardSummary("amex", "0005", 1, 2029)
    assert payment.encrypted_card is None
    assert len(processor_of(in_memory).results) == 2
    assert balances(in_memory)["test/merchant/acme"] == -10_000


async def test_a_new_card_can_be_declined_too(in_memory: App) -> None:
    declined = await a_processed_payment(in_memory, card=DECLINED_CARD)
    request = ProcessRequest(declined.id, DECLINED_CARD)
    again = accepted(await process(in_memory, caller(), request))
    assert again.state is State.DECLINED
    assert len(processor_of(in_memory).results) == 2


async def test_a_wrong_new_card_is_rejected_and_changes_nothing(in_memory: App) -> None:
    payment = await a_validated_payment(in_memory)
    request = ProcessRequest(payment.id, "4242424242424241")
    assert invalid_field(await process(in_memory, caller(), request)) == (
        "card.number",
        "card_number_incorrect",
    )
    assert await current(in_memory, payment) == payment


async def test_a_payment_without_a_card_is_processed_without_one(in_memory: App) -> None:
    validated = await a_validated_payment(in_memory, card=None)
    payment = accepted(await process(in_memory, caller(), ProcessRequest(validated.id)))
    assert payment.state is State.CAPTURED
    [(instruction, _)] = processor_of(in_memory).results.values()
    assert instruction.card is None


@pytest.mark.parametrize(
    "encrypted_card", [None, "b3RoZXIgY2lwaGVydGV4dA=="], ids=["erased", "unreadable"]
)
async def test_a_payment_whose_card_is_lost_needs_it_again(
    in_memory: App, encrypted_card: str | None
) -> None:
    validated = await a_validated_payment(in_memory)
    lost = replace(validated, encrypted_card=encrypted_card)
    store_of(in_memory).payments[validated.id] = lost
    request = ProcessRequest(validated.id)
    error = rejected(await process(in_memory, caller(), request))
    assert isinstance(error, InvalidState)
    assert "Send it again" in error.message
    with_card = ProcessRequest(validated.id, CardInput(GOOD_CARD, 12, 2030))
    assert accepted(await process(in_memory, caller(), with_card)).state is State.CAPTURED


async def test_an_authorization_reserves_money_and_posts_none(in_memory: App) -> None:
    payment = await an_authorized_payment(in_memory)
    assert (payment.state, payment.authorized_minor, payment.captured_minor) == (
        State.AUTHORIZED,
        10_000,
        0,
    )
    assert payment.encrypted_card is None
    assert balances(in_memory) == {}
    error = rejected(await process(in_memory, caller(), ProcessRequest(payment.id)))
    assert isinstance(error, InvalidState)


async def test_a_declined_authorization_declines_the_payment(in_memory: App) -> None:
    validated = await a_validated_payment(in_memory, card=DECLINED_CARD)
    payment = accepted(await authorize(in_memory, caller(), ProcessRequest(validated.id)))
    assert (payment.state, payment.authorized_minor) == (State.DECLINED, 0)


async def test_a_payment_captured_in_parts_posts_each_part(in_memory: App) -> None:
    payment = await an_authorized_payment(in_memory)
    for amount_minor, state in ((2_500, State.AUTHORIZED), (3_000, State.AUTHORIZED)):
        result = await capture(
            in_memory, caller(), payment.id, amount_minor=amount_minor, final=False
        )
        assert accepted(result).state is state
    whole = accepted(await capture(in_memory, caller(), payment.id))
    assert (whole.state, whole.captured_minor) == (State.CAPTURED, 10_000)
    debits = [p for p in store_of(in_memory).postings if p.account == "test/processor/scripted"]
    assert [posting.amount_minor for posting in debits] == [2_500, 3_000, 4_500]
    assert len({posting.transaction_id for posting in debits}) == 3
    assert balances(in_memory) == {
        "test/processor/scripted": 10_000,
        "test/merchant/acme": -10_000,
    }
    assert await held(in_memory.processor, payment.id) == 10_000


async def test_more_than_was_authorized_is_never_captured(in_memory: App) -> None:
    payment = await an_authorized_payment(in_memory)
    await capture(in_memory, caller(), payment.id, amount_minor=9_999, final=False)
    result = await capture(in_memory, caller(), payment.id, amount_minor=2)
    assert isinstance(rejected(result), InvalidState)
    assert balances(in_memory)["test/merchant/acme"] == -9_999


async def test_a_capture_repeated_under_its_key_is_done_once(in_memory: App) -> None:
    payment = await an_authorized_payment(in_memory)
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
    assert isinstance(rejected(other), KeyReused)
    assert (await current(in_memory, payment)).captured_minor == 2_500


async def test_an_authorization_is_voided_at_the_processor(in_memory: App) -> None:
    payment = await an_authorized_payment(in_memory)
    canceled = accepted(await cancel(in_memory, caller(), payment.id))
    assert canceled.state is State.CANCELED
    instructions = [instruction for instruction, _ in processor_of(in_memory).results.values()]
    assert [instruction.operation for instruction in instructions] == [
        OperationKind.AUTHORIZE,
        OperationKind.VOID,
    ]
    assert instructions[1].reference == payment.processor_reference
    assert balances(in_memory) == {}


async def test_the_rest_of_an_authorization_is_released_and_its_part_stays_captured(
    in_memory: App,
) -> None:
    payment = await an_authorized_payment(in_memory)
    await capture(in_memory, caller(), payment.id, amount_minor=1, final=False)
    released = accepted(await cancel(in_memory, caller(), payment.id))
    assert (released.state, released.captured_minor) == (State.CAPTURED, 1)
    void = list(processor_of(in_memory).results.values())[-1][0]
    assert (void.operation, void.amount_minor) == (OperationKind.VOID, 9_999)


@pytest.mark.parametrize("card", [GOOD_CARD, None])
async def test_a_payment_without_an_operation_is_canceled_without_a_call(
    in_memory: App, card: str | None
) -> None:
    payment = await a_validated_payment(in_memory, card=card)
    canceled = accepted(await cancel(in_memory, caller(), payment.id, key=key_of("cancel", "k1")))
    assert (canceled.state, canceled.encrypted_card) == (State.CANCELED, None)
    assert processor_of(in_memory).results == {}
    assert (
        replayed(await cancel(in_memory, caller(), payment.id, key=key_of("cancel", "k1")))
        == canceled
    )
    assert replayed(await cancel(in_memory, caller(), payment.id)) == canceled
    error = rejected(await process(in_memory, caller(), ProcessRequest(payment.id)))
    assert isinstance(error, InvalidState)


async def test_a_captured_payment_is_not_canceled(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory)
    assert isinstance(rejected(await cancel(in_memory, caller(), payment.id)), InvalidState)
    assert await current(in_memory, payment) == payment


async def test_a_processor_that_is_down_leaves_the_payment_as_it_was(in_memory: App) -> None:
    validated = await a_validated_payment(in_memory)
    processor_of(in_memory).down = True
    request = ProcessRequest(validated.id)
    error = rejected(await process(in_memory, caller(), request, key_of("process", "k1")))
    assert isinstance(error, ProcessorUnavailable)
    stored = await current(in_memory, validated)
    assert stored == replace(validated, version=3)
    assert store_of(in_memory).records == {}
    processor_of(in_memory).down = False
    captured = accepted(await process(in_memory, caller(), request, key_of("process", "k1")))
    assert captured.state is State.CAPTURED


async def test_a_payment_in_progress_is_not_processed_twice(in_memory: App) -> None:
    validated = await a_validated_payment(in_memory)
    processor_of(in_memory).faults.append("timeout")
    await process(in_memory, caller(), ProcessRequest(validated.id), key_of("process", "k1"))
    request = ProcessRequest(validated.id)
    in_progress = rejected(await process(in_memory, caller(), request))
    assert isinstance(in_progress, InvalidState)
    assert in_progress.retry_after_seconds == 1
    in_flight = rejected(await process(in_memory, caller(), request, key_of("process", "k1")))
    assert isinstance(in_flight, KeyInFlight)
    assert processor_of(in_memory).results == {}


async def test_an_instruction_without_a_result_is_sent_again_under_its_key(
    in_memory: App,
) -> None:
    processor_of(in_memory).faults.append("lost")
    unknown = await a_processed_payment(in_memory)
    assert unknown.state is State.UNKNOWN
    assert unknown.encrypted_card is not None
    assert balances(in_memory) == {}
    assert await current(in_memory, unknown) == unknown
    resolved = await finish(in_memory, unknown)
    assert (resolved.state, resolved.encrypted_card, resolved.pending) == (
        State.CAPTURED,
        None,
        None,
    )
    assert balances(in_memory)["test/merchant/acme"] == -10_000
    assert len(processor_of(in_memory).results) == 1
    assert (await history(in_memory, unknown))[-2:] == [
        ("process", "no_answer"),
        ("process", "done"),
    ]
    assert await finish(in_memory, unknown) == resolved
    assert balances(in_memory)["test/merchant/acme"] == -10_000


async def test_an_instruction_that_never_arrived_is_sent_again_and_not_given_up(
    in_memory: App,
) -> None:
    """That the processor does not know it proves nothing: it may still be on its way."""
    processor_of(in_memory).faults.append("timeout")
    unknown = await a_processed_payment(in_memory)
    processor_of(in_memory).down = True
    for _ in range(3):
        assert (await finish(in_memory, unknown)).state is State.UNKNOWN
    processor_of(in_memory).down = False
    assert (await finish(in_memory, unknown)).state is State.CAPTURED
    assert len(processor_of(in_memory).results) == 1


async def finish(app: App, payment: Payment) -> Payment:
    """The payment after its operation was sent again, once nobody has it leased any more."""
    assert payment.pending is not None
    clock_of(app).advance(3_600)
    claim = await advance(app, caller(), payment.pending.operation_id)
    assert claim is not None
    assert claim.payment == await current(app, payment)
    return claim.payment


class SilentProcessor(ScriptedProcessor):
    """A processor that does the operation and never responds."""

    async def execute(self, instruction: Instruction) -> ProcessorResult:
        await super().execute(instruction)
        return await asyncio.Future[ProcessorResult]()


async def test_a_processor_that_never_answers_times_out(new_app: AppFactory) -> None:
    app = new_app(settings=Settings(processor_timeout_seconds=0.01))
    silent = dataclasses.replace(app, processor=SilentProcessor())
    unknown = await a_processed_payment(silent)
    assert unknown.state is State.UNKNOWN
    assert (await finish(silent, unknown)).state is State.UNKNOWN
    assert (await finish(app, unknown)).state is State.CAPTURED


async def test_a_request_after_the_lease_resolves_the_payment_first(in_memory: App) -> None:
    processor_of(in_memory).faults.append("lost")
    unknown = await a_processed_payment(in_memory)
    clock_of(in_memory).advance(in_memory.settings.processor_timeout_seconds)
    again = await process(in_memory, caller(), ProcessRequest(unknown.id))
    assert replayed(again).state is State.CAPTURED
    assert len(processor_of(in_memory).results) == 1


async def test_a_payment_of_another_merchant_is_not_found(in_memory: App) -> None:
    payment = await a_validated_payment(in_memory)
    other = caller("zenith")
    results = [
        await process(in_memory, other, ProcessRequest(payment.id)),
        await authorize(in_memory, other, ProcessRequest(payment.id)),
        await capture(in_memory, other, payment.id),
        await cancel(in_memory, other, payment.id),
        await process(in_memory, replace(caller(), mode="live"), ProcessRequest(payment.id)),
        await process(in_memory, caller(), ProcessRequest("not-an-id")),
    ]
    assert [type(rejected(result)) for result in results] == [NotFound] * 6
    assert await current(in_memory, payment) == payment
