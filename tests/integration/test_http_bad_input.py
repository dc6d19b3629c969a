"""What cannot be taken is refused with its one exact answer, leaves one audit entry and no more."""

import json
from typing import Any

import pytest

from remit.ports.app import App
from tests.builders import GOOD_CARD
from tests.integration.http_server import JSON, HttpServer
from tests.unit.steps import store_of

FINE: dict[str, Any] = {
    "amount": "99.99",
    "currency": "USD",
    "card": {"number": GOOD_CARD, "exp_month": 12, "exp_year": 2030, "cvc": "123"},
}
AMEX = "378282246310005"
FIELDS = "amount, currency, customer_id, payment_id, card, metadata"


def fine(**fields: object) -> str:
    """The body of a payment that is right but for `fields`."""
    return json.dumps(FINE | fields)


def card(**fields: object) -> str:
    return fine(card=FINE["card"] | fields)


def amount(written: str, currency: str = "USD") -> str:
    """The body with the amount exactly as written, which `json.dumps` might not write so."""
    return f'{{"amount": {written}, "currency": "{currency}"}}'


def wrong(code: str, message: str, param: str | None = None) -> dict[str, str]:
    error = {"type": "invalid_request_error", "code": code, "message": message}
    return error | ({} if param is None else {"param": param})


NOT_JSON = wrong("json", "The body is not valid JSON.")
NO_AMOUNT = wrong(
    "amount_invalid", "amount must be a number, or a decimal string such as '99.99'.", "amount"
)
TOO_SMALL = wrong("amount_too_small", "amount must be greater than zero.", "amount")
TOO_LARGE = wrong("amount_too_large", "amount must be at most 999999.99 USD.", "amount")
NO_CURRENCY = wrong(
    "currency_unknown", "currency must be a three-letter ISO 4217 code, such as USD.", "currency"
)
NO_CARD = wrong(
    "card_number_invalid",
    "card.number must be the 13 to 19 digits of a card we accept.",
    "card.number",
)
MISPLACED = "looks like it holds a card number, which may only be sent in card."

REJECTED: dict[str, tuple[str | bytes, dict[str, str]]] = {
    "no body": ("", wrong("body_empty", "The body is empty.")),
    "blank body": (" \n", wrong("body_empty", "The body is empty.")),
    "null": ("null", wrong("body_invalid", "The body is not right: Expected object, got null.")),
    "list": ("[]", wrong("body_invalid", "The body is not right: Expected object, got array.")),
    "broken JSON": ('{"amount": 1', NOT_JSON),
    "two values": ('{"amount": 1} {}', NOT_JSON),
    "deeply nested": (
        '{"amount":' + "[" * 30_000 + "]" * 30_000 + "}",
        wrong("json", "The body is nested too deeply."),
    ),
    "repeated field": (
        '{"amount": 1, "amount": 2}',
        wrong("field_repeated", "A field appears more than once.", "amount"),
    ),
    "repeated field inside": (
        fine().replace('"exp_month": 12', '"exp_month": 12, "exp_month": 1'),
        wrong("field_repeated", "A field appears more than once.", "exp_month"),
    ),
    "not UTF-8": (b'{"amount": "\xff"}', NOT_JSON),
    "UTF-16": (fine().encode("utf-16"), NOT_JSON),
    "half a surrogate pair": (fine(customer_id="\ud800"), NOT_JSON),
    "no amount": ("{}", wrong("field_missing", "amount is required.", "amount")),
    "amount null": (amount("null"), NO_AMOUNT),
    "amount true": (amount("true"), NO_AMOUNT),
    "amount list": (amount("[1]"), NO_AMOUNT),
    "amount word": (amount('"lots"'), NO_AMOUNT),
    "amount blank": (amount('""'), NO_AMOUNT),
    "amount with a sign": (amount('"+1"'), NO_AMOUNT),
    "amount with a comma": (amount('"1,00"'), NO_AMOUNT),
    "amount in other digits": (amount('"\\uff11"'), NO_AMOUNT),
    "amount NaN": (amount("NaN"), NOT_JSON),
    "amount Infinity": (amount("Infinity"), NOT_JSON),
    "amount 'NaN'": (amount('"NaN"'), NO_AMOUNT),
    "amount -5": (amount("-5"), TOO_SMALL),
    "amount 0": (amount("0"), TOO_SMALL),
    "amount -0.0": (amount("-0.0"), TOO_SMALL),
    "amount 1e309": (amount("1e309"), TOO_LARGE),
    "amount 1e99999999": (amount("1e99999999"), TOO_LARGE),
    "amount of 400 digits": (amount("9" * 400), TOO_LARGE),
    "amount text of 400 digits": (amount(f'"{"9" * 400}"'), NO_AMOUNT),
    "amount text of 40 digits": (amount(f'"{"9" * 40}"'), TOO_LARGE),
    "amount one cent too much": (amount("1000000.00"), TOO_LARGE),
    "amount 0.001 USD": (
        amount("0.001"),
        wrong(
            "amount_too_precise",
            "amount has too many decimals: USD has at most 2 decimals.",
            "amount",
        ),
    ),
    "amount 1e-999999": (
        amount("1e-999999"),
        wrong(
            "amount_too_precise",
            "amount has too many decimals: USD has at most 2 decimals.",
            "amount",
        ),
    ),
    "amount 10.5 JPY": (
        amount("10.5", "JPY"),
        wrong("amount_too_precise", "amount has too many decimals: JPY has no decimals.", "amount"),
    ),
    "unknown currency": (amount("1", "ZZZ"), NO_CURRENCY),
    "currency in small letters": (amount("1", "usd"), NO_CURRENCY),
    "currency without a minor unit": (amount("1", "XAU"), NO_CURRENCY),
    "long currency": (
        amount("1", "USDX"),
        wrong("field_invalid", "currency is not right: Expected str of length <= 3.", "currency"),
    ),
    "currency number": (
        fine(currency=840),
        wrong("field_invalid", "currency is not right: Expected str | null, got int.", "currency"),
    ),
    "card fails Luhn": (
        card(number="4242424242424241"),
        wrong(
            "card_number_incorrect",
            "card.number is not a valid card number: its check digit is wrong.",
            "card.number",
        ),
    ),
    "card as text fails Luhn": (
        fine(card="4242424242424241"),
        wrong(
            "card_number_incorrect",
            "card.number is not a valid card number: its check digit is wrong.",
            "card.number",
        ),
    ),
    "card too short": (card(number="424242"), NO_CARD),
    "card of no brand": (card(number="9" * 16), NO_CARD),
    "card in letters": (card(number="four two four two"), NO_CARD),
    "card expired": (
        card(exp_month=10, exp_year=2026),
        wrong("card_expired", "The card has expired.", "card.exp_month"),
    ),
    "card month": (
        card(exp_month=13),
        wrong(
            "card_expiry_invalid",
            "card.exp_month must be a month from 1 to 12.",
            "card.exp_month",
        ),
    ),
    "card year": (
        card(exp_year=30),
        wrong("card_expiry_invalid", "card.exp_year must be a four-digit year.", "card.exp_year"),
    ),
    "CVC of four digits on Visa": (
        card(cvc="1234"),
        wrong("card_cvc_invalid", "card.cvc must be 3 digits for this card.", "card.cvc"),
    ),
    "CVC of three digits on Amex": (
        card(number=AMEX),
        wrong("card_cvc_invalid", "card.cvc must be 4 digits for this card.", "card.cvc"),
    ),
    "unknown field": (
        fine(tip="1.00"),
        wrong("field_unknown", f"tip is not a known field. Known: {FIELDS}.", "tip"),
    ),
    "unknown field in the card": (
        card(track="1"),
        wrong(
            "field_unknown",
            "card.track is not a known field. Known: number, exp_month, exp_year, cvc.",
            "card.track",
        ),
    ),
    "card number as a field's name": (
        fine(**{GOOD_CARD: 1}),
        wrong("field_unknown", f"A field is not a known field. Known: {FIELDS}."),
    ),
    "card number in metadata": (
        fine(metadata={"note": f"card {GOOD_CARD}"}),
        wrong("card_number_misplaced", f"metadata {MISPLACED}", "metadata"),
    ),
    "card number as payment_id": (
        fine(payment_id="4242 4242 4242 4242"),
        wrong("card_number_misplaced", f"payment_id {MISPLACED}", "payment_id"),
    ),
    "NUL in customer_id": (
        fine(customer_id="a\0b"),
        wrong("invalid", "customer_id must not contain the NUL character.", "customer_id"),
    ),
    "empty payment_id": (
        fine(payment_id=""),
        wrong(
            "field_invalid", "payment_id is not right: Expected str of length >= 1.", "payment_id"
        ),
    ),
    "payment_id too long": (
        fine(payment_id="x" * 256),
        wrong(
            "field_invalid",
            "payment_id is not right: Expected str of length <= 255.",
            "payment_id",
        ),
    ),
    "metadata of a number": (
        fine(metadata={"n": 1}),
        wrong("field_invalid", "metadata is not right: Expected str, got int.", "metadata"),
    ),
    "too much metadata": (
        fine(metadata={f"n{number}": "" for number in range(51)}),
        wrong("metadata_too_large", "metadata can have at most 50 entries.", "metadata"),
    ),
}


@pytest.mark.parametrize("name", REJECTED)
def test_a_wrong_body_is_rejected_with_its_exact_error(server: HttpServer, name: str) -> None:
    body, error = REJECTED[name]
    response = server.send("POST", "/validate", body, JSON | {"x-api-key": server.key})
    assert (response.status, response.body["error"]) == (400, error)
    assert response.body["request_id"] == response.headers["x-request-id"]
    assert GOOD_CARD not in json.dumps(response.body)
    rejected_once(server, "validate", error["code"])


def rejected_once(server: HttpServer, action: str, code: str) -> None:
    """Nothing is stored but one audit entry that says so."""
    assert rejection_of(server.app) == (action, code)


def rejection_of(app: App) -> tuple[str, str | None]:
    """What was refused, and why: the only thing that the store holds."""
    store = store_of(app)
    assert (store.payments, store.records, store.messages) == ({}, {}, {})
    [entry] = store.audit
    assert entry.outcome == "refused"
    return entry.action, entry.code


@pytest.mark.parametrize(
    "body",
    [
        amount("1.234", "BHD"),
        amount('"1.234"', "BHD"),
        amount("1e2"),
        amount("0.01"),
        amount("10.10"),
        amount("999999.99"),
        amount("500.0", "JPY"),
        fine(card=GOOD_CARD),
        fine(customer_id="кл\U0001f600", metadata={"ключ": ""}),
    ],
    ids=lambda body: body[:40] + body[-40:],
)
def test_an_unusual_body_that_is_right_is_accepted(server: HttpServer, body: str) -> None:
    response = server.send("POST", "/validate", body, JSON | {"x-api-key": server.key})
    assert (response.status, response.body["status"]) == (200, "validated")


PROCESS_REJECTED: dict[str, tuple[str, dict[str, str]]] = {
    "no body": ("", wrong("body_empty", "The body is empty.")),
    "no id": (
        "{}",
        wrong("field_missing", "transaction_id is required.", "transaction_id"),
    ),
    "id of the wrong type": (
        '{"transaction_id": 7}',
        wrong(
            "field_invalid", "transaction_id is not right: Expected str, got int.", "transaction_id"
        ),
    ),
    "id too long": (
        f'{{"transaction_id": "{"x" * 65}"}}',
        wrong(
            "field_invalid",
            "transaction_id is not right: Expected str of length <= 64.",
            "transaction_id",
        ),
    ),
    "unknown field": (
        '{"transaction_id": "x", "amount": 1}',
        wrong(
            "field_unknown", "amount is not a known field. Known: transaction_id, card.", "amount"
        ),
    ),
    "repeated field": (
        '{"transaction_id": "x", "transaction_id": "y"}',
        wrong("field_repeated", "A field appears more than once.", "transaction_id"),
    ),
    "bad card": ('{"transaction_id": "x", "card": "424242"}', NO_CARD),
}


@pytest.mark.parametrize("name", PROCESS_REJECTED)
def test_a_wrong_body_of_process_is_rejected_with_its_exact_error(
    server: HttpServer, name: str
) -> None:
    body, error = PROCESS_REJECTED[name]
    response = server.send("POST", "/process", body, JSON | {"x-api-key": server.key})
    assert (response.status, response.body["error"]) == (400, error)
    rejected_once(server, "process", error["code"])


@pytest.mark.parametrize(
    "transaction_id", ["x", "", "018f4e7c-1234-7abc-8def-0123456789ab", "' OR 1=1 --", "\0", "é"]
)
def test_an_unknown_id_is_not_found(server: HttpServer, transaction_id: str) -> None:
    error = wrong("not_found", "No such payment.", "transaction_id")
    response = server.post("/process", {"transaction_id": transaction_id})
    assert (response.status, response.body["error"]) == (404, error)
    rejected_once(server, "process", "not_found")


@pytest.mark.parametrize("path", ["/payments/x", "/payments/%00", "/payments/"])
def test_a_path_without_a_payment_is_not_found(server: HttpServer, path: str) -> None:
    error = wrong("not_found", "No such payment.", "transaction_id")
    assert (server.get(path).status, server.get(path).body["error"]) == (404, error)
