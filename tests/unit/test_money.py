"""Money: amounts are read exactly, and written with the decimals of their currency."""

from decimal import Decimal

import pytest

from remit.domain.errors import InvalidRequest
from remit.domain.money import Money, exponent, major_units, read_amount

MAXIMUM_MINOR = 99_999_999


def rejection(amount: object, currency: str = "USD", maximum_minor: int = MAXIMUM_MINOR) -> str:
    with pytest.raises(InvalidRequest) as rejected:
        read_amount(amount, currency, maximum_minor=maximum_minor)
    assert rejected.value.param == "amount"
    return rejected.value.reason


@pytest.mark.parametrize(
    ("currency", "digits"),
    [("USD", 2), ("EUR", 2), ("JPY", 0), ("ISK", 0), ("BHD", 3), ("TND", 3), ("CLF", 4)],
)
def test_a_currency_has_the_decimals_of_iso_4217(currency: str, digits: int) -> None:
    assert exponent(currency) == digits


@pytest.mark.parametrize(
    "code",
    ["XAU", "XTS", "XBA", "ZZZ", "usd", "US", "", "USDX", "840", "\uff35SD", "U\x00D"],
    ids=repr,
)
def test_a_currency_that_cannot_be_charged_is_rejected(code: str) -> None:
    with pytest.raises(InvalidRequest) as rejected:
        exponent(code)
    assert (rejected.value.param, rejected.value.reason) == ("currency", "currency_unknown")


@pytest.mark.parametrize(
    ("written", "currency", "amount_minor"),
    [
        ("99.99", "USD", 9_999),
        ("99.9", "USD", 9_990),
        ("99", "USD", 9_900),
        ("0.01", "USD", 1),
        ("0000.10", "USD", 10),
        ("1.10000", "USD", 110),
        (99, "USD", 9_900),
        (Decimal("99.99"), "USD", 9_999),
        (Decimal("0.29"), "USD", 29),
        (Decimal("1.15"), "USD", 115),
        (Decimal("1E+2"), "USD", 10_000),
        (Decimal("1.5e1"), "USD", 1_500),
        (Decimal("100E-2"), "USD", 100),
        ("999999.99", "USD", 99_999_999),
        ("500", "JPY", 500),
        ("500.0", "JPY", 500),
        (Decimal("1E+3"), "JPY", 1_000),
        ("1.234", "BHD", 1_234),
        ("1.2345", "CLF", 12_345),
    ],
    ids=repr,
)
def test_an_amount_is_read_exactly(written: object, currency: str, amount_minor: int) -> None:
    read = read_amount(written, currency, maximum_minor=MAXIMUM_MINOR)
    assert read == Money(amount_minor, currency)
    assert type(read.amount_minor) is int


@pytest.mark.parametrize(
    "written",
    [
        None,
        True,
        False,
        1.5,
        99.0,
        [1],
        {"amount": 1},
        b"1",
        "",
        " 1",
        "1 ",
        "+1",
        "1.",
        ".5",
        "1,50",
        "1_000",
        "1e2",
        "0x10",
        "NaN",
        "Infinity",
        "1.2.3",
        "--1",
        "1\n",
        "\u0663",
        "\uff11",
        "9" * 41,
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
    ],
    ids=repr,
)
def test_a_value_that_is_no_amount_is_rejected(written: object) -> None:
    assert rejection(written) == "amount_invalid"


@pytest.mark.parametrize(
    "written", [0, -1, "0", "0.00", "-0.01", "-5", Decimal("-0"), "-0"], ids=repr
)
def test_an_amount_of_zero_or_less_is_rejected(written: object) -> None:
    assert rejection(written) == "amount_too_small"


@pytest.mark.parametrize(
    ("written", "currency"),
    [
        ("0.001", "USD"),
        ("99.999", "USD"),
        ("500.5", "JPY"),
        ("1.2345", "BHD"),
        ("1.23456", "CLF"),
        (Decimal("1E-3"), "USD"),
        (Decimal("1E-99999999999"), "USD"),
        ("1." + "0" * 39 + "1", "USD"),
        (Decimal("1." + "0" * 5_000 + "1"), "USD"),
        (Decimal("10.00" + "9" * 60), "JPY"),
    ],
)
def test_more_decimals_than_the_currency_has_are_rejected_and_never_rounded(
    written: object, currency: str
) -> None:
    assert rejection(written, currency) == "amount_too_precise"


@pytest.mark.parametrize(
    "written",
    ["1000000.00", "1000000", 10**400, Decimal("1E+9999999"), "9" * 40],
    ids=["text", "whole", "int", "exponent", "long"],
)
def test_an_amount_over_the_maximum_is_rejected(written: object) -> None:
    assert rejection(written) == "amount_too_large"


def test_the_maximum_itself_is_accepted_and_one_more_is_not() -> None:
    assert read_amount("5.00", "USD", maximum_minor=500) == Money(500, "USD")
    with pytest.raises(InvalidRequest, match=r"amount must be at most 5\.00 USD\."):
        read_amount("5.01", "USD", maximum_minor=500)
    assert rejection("501", "JPY", 500) == "amount_too_large"


def test_the_error_says_how_many_decimals_there_may_be() -> None:
    with pytest.raises(InvalidRequest, match="JPY has no decimals"):
        read_amount("1.5", "JPY", maximum_minor=MAXIMUM_MINOR)
    with pytest.raises(InvalidRequest, match="BHD has at most 3 decimals"):
        read_amount("1.2345", "BHD", maximum_minor=MAXIMUM_MINOR)


@pytest.mark.parametrize(
    ("amount_minor", "currency", "written"),
    [
        (9_999, "USD", "99.99"),
        (5, "USD", "0.05"),
        (0, "USD", "0.00"),
        (-5, "USD", "-0.05"),
        (-12_345, "USD", "-123.45"),
        (500, "JPY", "500"),
        (-500, "JPY", "-500"),
        (1, "BHD", "0.001"),
        (12_345, "CLF", "1.2345"),
        (10**30, "USD", "1" + "0" * 28 + ".00"),
    ],
)
def test_money_is_written_with_exactly_its_decimals(
    amount_minor: int, currency: str, written: str
) -> None:
    assert major_units(amount_minor, currency) == written
    assert str(Money(amount_minor, currency)) == written
