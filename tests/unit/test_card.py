"""Cards: which numbers are accepted, why others are rejected, and what is never shown."""

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn

from remit.domain.card import (
    Card,
    CardSummary,
    holds_card_number,
    mask_card_numbers,
    read_card,
)
from remit.domain.errors import InvalidRequest
from remit.payments.process import ProcessRequest
from remit.payments.validate import Amount, CardInput, PaymentRequest
from tests.builders import GOOD_CARD

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def numbered(prefix: str, length: int) -> str:
    """A number with this prefix and length that passes the Luhn check."""
    payload = prefix.ljust(length - 1, "0")
    return payload + luhn.calc_check_digit(payload)


def read(
    number: str = GOOD_CARD,
    exp_month: int | None = 12,
    exp_year: int | None = 2030,
    cvc: str | None = "123",
    now: datetime = NOW,
) -> Card:
    return read_card(number, exp_month, exp_year, cvc, now=now)


def rejection(
    number: str = GOOD_CARD,
    exp_month: int | None = 12,
    exp_year: int | None = 2030,
    cvc: str | None = "123",
    now: datetime = NOW,
) -> tuple[str | None, str]:
    with pytest.raises(InvalidRequest) as rejected:
        read(number, exp_month, exp_year, cvc, now)
    assert not number or number not in str(rejected.value)
    return rejected.value.param, rejected.value.reason


BRANDS = [
    ("visa", ["4"], [13, 16, 19], 3),
    ("mastercard", ["51", "55", "2221", "2720", "2500"], [16], 3),
    ("amex", ["34", "37"], [15], 4),
    ("discover", ["6011", "644", "649", "65"], [16, 19], 3),
    ("diners", ["300", "305", "36", "38", "39"], [14, 16, 19], 3),
    ("jcb", ["3528", "3589"], [16, 17, 18, 19], 3),
    ("unionpay", ["62", "81"], [16, 17, 18, 19], 3),
]


@pytest.mark.parametrize(
    ("brand", "prefix", "length", "cvc_digits"),
    [
        (brand, prefix, length, cvc_digits)
        for brand, prefixes, lengths, cvc_digits in BRANDS
        for prefix in prefixes
        for length in lengths
    ],
)
def test_a_number_of_a_brand_is_accepted(
    brand: str, prefix: str, length: int, cvc_digits: int
) -> None:
    number = numbered(prefix, length)
    assert read(number, cvc="1" * cvc_digits) == Card(number, brand, 12, 2030)
    for wrong in {3, 4} - {cvc_digits}:
        assert rejection(number, cvc="1" * wrong) == ("card.cvc", "card_cvc_invalid")


@pytest.mark.parametrize(
    ("prefix", "length"),
    [
        (prefix, length)
        for _, prefixes, lengths, _ in BRANDS
        for prefix in prefixes
        for length in {12, 13, 14, 15, 16, 17, 18, 19, 20} - set(lengths)
    ],
)
def test_a_number_of_a_length_its_brand_does_not_have_is_rejected(prefix: str, length: int) -> None:
    assert rejection(numbered(prefix, length)) == ("card.number", "card_number_invalid")


@pytest.mark.parametrize("prefix", ["0", "1", "2220", "2721", "50", "56", "306", "3527", "3590"])
def test_a_number_of_no_brand_is_rejected(prefix: str) -> None:
    assert rejection(numbered(prefix, 16)) == ("card.number", "card_number_invalid")


@pytest.mark.parametrize("number", ["4242424242424241", "4242424242424224"])
def test_a_wrong_check_digit_is_rejected(number: str) -> None:
    assert rejection(number) == ("card.number", "card_number_incorrect")


@pytest.mark.parametrize(
    "written", ["4242 4242 4242 4242", "4242-4242-4242-4242", " 4242 424242-424242 "]
)
def test_spaces_and_dashes_are_accepted_and_left_out(written: str) -> None:
    assert read(written) == read(GOOD_CARD)


@pytest.mark.parametrize(
    "number",
    [
        "",
        "4242",
        "4242.4242.4242.4242",
        "4242\t4242\t4242\t4242",
        GOOD_CARD.replace("4", "\uff14"),
        "\u0664" * 16,
        "424242424242424\u00b2",
        "+4242424242424242",
        "424242424242424x",
    ],
    ids=repr,
)
def test_anything_but_ascii_digits_is_rejected(number: str) -> None:
    assert rejection(number) == ("card.number", "card_number_invalid")


def test_a_card_is_valid_until_the_last_second_of_its_month() -> None:
    last = datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC)
    assert read(exp_month=11, exp_year=2026, now=last) == Card(GOOD_CARD, "visa", 11, 2026)
    first = datetime(2026, 12, 1, tzinfo=UTC)
    assert rejection(exp_month=11, exp_year=2026, now=first) == ("card.exp_month", "card_expired")
    december = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert read(exp_month=12, exp_year=2026, now=december).exp_month == 12
    january = datetime(2027, 1, 1, tzinfo=UTC)
    assert rejection(exp_month=12, exp_year=2026, now=january) == ("card.exp_month", "card_expired")


@pytest.mark.parametrize(
    ("exp_month", "exp_year", "param"),
    [
        (0, 2030, "card.exp_month"),
        (13, 2030, "card.exp_month"),
        (-1, 2030, "card.exp_month"),
        (None, 2030, "card.exp_month"),
        (12, None, "card.exp_year"),
        (12, 30, "card.exp_year"),
        (12, 1999, "card.exp_year"),
        (12, 2077, "card.exp_year"),
    ],
)
def test_an_expiry_that_is_no_month_is_rejected(
    exp_month: int | None, exp_year: int | None, param: str
) -> None:
    assert rejection(exp_month=exp_month, exp_year=exp_year) == (param, "card_expiry_invalid")


def test_a_number_alone_is_a_card_without_expiry() -> None:
    assert read(GOOD_CARD, None, None, None) == Card(GOOD_CARD, "visa")


@pytest.mark.parametrize(
    "cvc", ["", "12", "12a", "\uff11\uff12\uff13", "12\u00b2", "1 3", "12345"], ids=repr
)
def test_a_cvc_of_another_length_than_the_brands_is_rejected(cvc: str) -> None:
    assert rejection(cvc=cvc) == ("card.cvc", "card_cvc_invalid")


def test_a_summary_has_the_brand_the_last_four_digits_and_the_expiry() -> None:
    assert read().summary() == CardSummary("visa", "4242", 12, 2030)


def test_no_representation_shows_a_card_number_or_cvc() -> None:
    given = CardInput(GOOD_CARD, 12, 2030, "987")
    shown = [
        repr(Card(GOOD_CARD, "visa", 12, 2030)),
        repr(given),
        repr(PaymentRequest(amount=Amount("1.00"), card=given)),
        repr(PaymentRequest(amount=Amount("1.00"), card=GOOD_CARD)),
        repr(ProcessRequest("id-1", given)),
        repr(ProcessRequest("id-1", GOOD_CARD)),
        str(given),
        f"{Card(GOOD_CARD, 'visa')}",
    ]
    assert [text for text in shown if GOOD_CARD in text or "987" in text] == []
    assert shown[0] == "Card(visa ending in 4242)"
    assert shown[4] == "ProcessRequest('id-1')"


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242",
        "4242 4242 4242 4242",
        "4242-4242-4242-4242",
        "paid with 4242424242424242 yesterday",
        "card4242424242424242x",
        "4242424242424242 12/30",
        "4242 4242 4242 4242 123",
        "order 17 4242424242424242",
        "12 4242-4242-4242-4242",
        "no 4111-1111-1111-1112 but 4111-1111-1111-1111",
        "3782 822463 10005",
        numbered("4", 13),
        numbered("62", 19),
    ],
)
def test_a_card_number_is_found_in_text(text: str) -> None:
    assert holds_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "order-1001",
        "4242424242424241",
        "424242424242",
        "00004242424242424242",
        "4242424242424242" + "0000",
        numbered("9", 16),
        numbered("4", 17),
        "2026-11-20 12:00:00",
        "018f4e7c-1234-7abc-8def-0123456789ab",
        "4242  4242  4242  4242 far apart",
        "4242-4242 4242-4242",
        "1763687404-4283746-1",
        "2026-11-20T12:00:00.123456Z",
        "1763687404123456789",
        "42424242-4242-7242-8242-424242424242",
        "4242424242424242" * 2,
        "9f86d081" + "4242424242424242" + "a9b27c5d0e0000aa",
    ],
)
def test_other_digits_are_no_card_number(text: str) -> None:
    assert not holds_card_number(text)


@given(st.uuids(), st.sampled_from(["{}", "order-{}", "{}-1", "key_{}"]))
def test_a_uuid_is_never_taken_for_a_card(value: uuid.UUID, pattern: str) -> None:
    assert not holds_card_number(pattern.format(value))
    assert not holds_card_number(value.hex)


@given(st.integers(1_600_000_000, 2_500_000_000), st.integers(0, 10**9 - 1), st.integers(1, 99))
def test_a_time_and_a_number_are_never_taken_for_a_card(at: int, part: int, count: int) -> None:
    assert not holds_card_number(f"{at}-{part}-{count}")
    assert not holds_card_number(f"{at}.{part:09d}")


def test_card_numbers_are_masked_to_their_last_four_digits() -> None:
    text = "a 4242424242424242 b 4242-4242-4242-4242, 3782 822463 10005; order 1234567890123456"
    assert mask_card_numbers(text) == "a …4242 b …4242, …0005; order 1234567890123456"
    assert mask_card_numbers("nothing here") == "nothing here"
