"""Validation: what is stored of an accepted payment. A rejected one leaves an audit entry."""

from datetime import timedelta

import msgspec
import pytest

from remit.domain.card import CardSummary
from remit.domain.errors import KeyReused, ReferenceTaken
from remit.domain.payment import Payment
from remit.payments.validate import MAX_METADATA_ENTRIES, CardInput, PaymentRequest, validate
from remit.ports.app import App
from remit.settings import Settings
from tests.builders import GOOD_CARD, AppFactory, caller, clock_of, key_of, order, plain_card
from tests.unit.steps import accepted, history, invalid_field, rejected, replayed, store_of


async def test_a_valid_payment_is_stored_whole(in_memory: App) -> None:
    request = order("99.99", reference="order-1", customer_id="cus_1", metadata={"cart": "7"})
    payment = accepted(await validate(in_memory, caller(), request, None))
    now = clock_of(in_memory).now
    assert payment == Payment(
        id=payment.id,
        merchant_id="acme",
        mode="test",
        amount_minor=9_999,
        currency="USD",
        created_at=now,
        fingerprint=payment.fingerprint,
        customer_id="cus_1",
        reference="order-1",
        metadata={"cart": "7"},
        card=CardSummary("visa", "4242", 12, 2030),
        encrypted_card=payment.encrypted_card,
        due_at=now + timedelta(days=7),
    )
    assert store_of(in_memory).payments == {payment.id: payment}
    assert await history(in_memory, payment) == [("validate", "accepted")]
    [message] = store_of(in_memory).messages.values()
    assert (message.topic, message.kind, message.payment_id) == (
        "notifications",
        "payment_intent.created",
        payment.id,
    )


async def test_the_card_is_stored_encrypted_for_its_payment(in_memory: App) -> None:
    payment = accepted(await validate(in_memory, caller(), order(), None))
    assert payment.encrypted_card is not None
    assert await in_memory.vault.decrypt(payment.encrypted_card, payment.id) == plain_card()


async def test_no_full_number_and_no_cvc_is_stored_anywhere(in_memory: App) -> None:
    request = PaymentRequest(amount=order().amount, card=CardInput(GOOD_CARD, 12, 2030, "987"))
    payment = accepted(await validate(in_memory, caller(), request, key_of("validate", "key-1")))
    store = store_of(in_memory)
    stored = b"".join(
        msgspec.json.encode(list(values))
        for values in (
            [msgspec.structs.replace(payment, encrypted_card=None)],
            store.records.values(),
            store.audit,
            store.messages.values(),
        )
    )
    assert GOOD_CARD.encode() not in stored
    assert b'"987"' not in stored
    assert b"encrypted_card" not in msgspec.json.encode(list(store.audit))
    [record] = store.records.values()
    assert record.payment is not None
    assert record.payment.encrypted_card is None


async def test_a_payment_needs_no_card(in_memory: App) -> None:
    payment = accepted(await validate(in_memory, caller(), order(card=None), None))
    assert (payment.card, payment.encrypted_card, payment.due_at) == (None, None, None)


async def test_the_currency_defaults_to_the_settings(new_app: AppFactory) -> None:
    app = new_app(settings=Settings(default_currency="JPY"))
    payment = accepted(await validate(app, caller(), order("500", None), None))
    assert (payment.amount_minor, payment.currency) == (500, "JPY")
    assert invalid_field(await validate(app, caller(), order("500.5", None), None)) == (
        "amount",
        "amount_too_precise",
    )


async def test_the_largest_amount_is_a_setting(new_app: AppFactory) -> None:
    app = new_app(settings=Settings(max_amount_minor=500))
    accepted(await validate(app, caller(), order("5.00"), None))
    assert invalid_field(await validate(app, caller(), order("5.01"), None)) == (
        "amount",
        "amount_too_large",
    )


def entries(count: int) -> dict[str, str]:
    return {f"name-{number}": "value" for number in range(count)}


async def test_metadata_has_a_limit(in_memory: App) -> None:
    most = order(metadata=entries(MAX_METADATA_ENTRIES))
    accepted(await validate(in_memory, caller(), most, None))
    too_many = order(metadata=entries(MAX_METADATA_ENTRIES + 1))
    assert invalid_field(await validate(in_memory, caller(), too_many, None)) == (
        "metadata",
        "metadata_too_large",
    )


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (order(customer_id=GOOD_CARD), "customer_id"),
        (order(reference="4242 4242 4242 4242 12/30"), "payment_id"),
        (order(metadata={"note": f"card {GOOD_CARD}"}), "metadata"),
        (order(metadata={GOOD_CARD: "note"}), "metadata"),
    ],
    ids=["customer", "reference", "metadata value", "metadata name"],
)
async def test_a_card_number_outside_the_card_is_rejected_and_not_stored(
    in_memory: App, request_: PaymentRequest, param: str
) -> None:
    assert invalid_field(await validate(in_memory, caller(), request_, None)) == (
        param,
        "card_number_misplaced",
    )
    assert b"4242" not in msgspec.json.encode(store_of(in_memory).audit)


async def test_a_nul_character_is_rejected(in_memory: App) -> None:
    request = order(customer_id="cus\x001")
    assert invalid_field(await validate(in_memory, caller(), request, None)) == (
        "customer_id",
        "invalid",
    )


async def test_a_rejected_payment_leaves_an_audit_entry_and_nothing_else(in_memory: App) -> None:
    request = order("-1", reference="order-1")
    assert invalid_field(
        await validate(in_memory, caller(), request, key_of("validate", "key-1"))
    ) == (
        "amount",
        "amount_too_small",
    )
    store = store_of(in_memory)
    [entry] = store.audit
    assert (entry.action, entry.outcome, entry.code, entry.param) == (
        "validate",
        "refused",
        "amount_too_small",
        "amount",
    )
    assert (store.payments, store.records, store.messages) == ({}, {}, {})


async def test_a_replayed_key_returns_the_first_payment(in_memory: App) -> None:
    first = accepted(await validate(in_memory, caller(), order(), key_of("validate", "key-1")))
    again = replayed(await validate(in_memory, caller(), order(), key_of("validate", "key-1")))
    assert again == msgspec.structs.replace(first, encrypted_card=None)
    assert len(store_of(in_memory).payments) == 1
    assert await history(in_memory, first) == [("validate", "accepted"), ("validate", "replayed")]


@pytest.mark.parametrize(
    "other",
    [
        order("100.01"),
        order(currency="EUR"),
        order(card="4000000000000002"),
        order(card=None),
        order(customer_id="cus_2"),
        order(metadata={"cart": "8"}),
    ],
    ids=["amount", "currency", "card", "no card", "customer", "metadata"],
)
async def test_a_key_with_another_request_is_rejected(
    in_memory: App, other: PaymentRequest
) -> None:
    accepted(await validate(in_memory, caller(), order(), key_of("validate", "key-1")))
    assert isinstance(
        rejected(await validate(in_memory, caller(), other, key_of("validate", "key-1"))), KeyReused
    )
    assert len(store_of(in_memory).payments) == 1


async def test_a_reference_names_one_payment(in_memory: App) -> None:
    first = accepted(await validate(in_memory, caller(), order(reference="order-1"), None))
    again = await validate(in_memory, caller(), order("100", reference="order-1"), None)
    assert replayed(again) == first
    other = await validate(in_memory, caller(), order("2.00", reference="order-1"), None)
    assert isinstance(rejected(other), ReferenceTaken)
    assert len(store_of(in_memory).payments) == 1


async def test_merchants_share_neither_references_nor_keys(in_memory: App) -> None:
    request = order(reference="order-1")
    first = accepted(
        await validate(in_memory, caller("acme"), request, key_of("validate", "key-1"))
    )
    second = accepted(
        await validate(in_memory, caller("zenith"), request, key_of("validate", "key-1", "zenith"))
    )
    assert (first.merchant_id, second.merchant_id) == ("acme", "zenith")
    assert first.id != second.id
