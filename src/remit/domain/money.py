"""Money: an integer of minor units with its currency, and its form in major units.

No amount is ever a float, and no arithmetic crosses currencies. The number of decimals of a
currency is ISO 4217's minor unit: https://www.six-group.com/en/products-services/financial-information/data-standards.html
"""

import re
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from functools import cache

import iso4217
import msgspec

from remit.domain.errors import InvalidRequest

_DECIMAL_TEXT = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)

# The default context rounds to 28 digits, which would hide decimals that must be rejected.
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


class Money(msgspec.Struct, frozen=True):
    """An exact amount. `amount_minor` counts the currency's smallest unit (cents, yen, fils)."""

    amount_minor: int
    currency: str

    def __str__(self) -> str:
        return major_units(self.amount_minor, self.currency)


@cache
def exponent(currency: str) -> int:
    """The number of decimals of `currency`.

    Raises InvalidRequest for a code that ISO 4217 does not list, and for a code that it lists
    without a minor unit (gold, bond units, the testing code), because that cannot be charged.
    """
    try:
        digits = iso4217.Currency(currency).exponent
    except ValueError:
        digits = None
    if digits is None:
        raise InvalidRequest(
            "currency must be a three-letter ISO 4217 code, such as USD.",
            param="currency",
            code="currency_unknown",
        )
    return int(digits)


def major_units(amount_minor: int, currency: str) -> str:
    """The amount as a decimal string with exactly the decimals of the currency: `99.99`, `500`."""
    digits = exponent(currency)
    if digits == 0:
        return str(amount_minor)
    sign = "-" if amount_minor < 0 else ""
    whole, part = divmod(abs(amount_minor), 10**digits)
    return f"{sign}{whole}.{part:0{digits}d}"


def read_amount(amount: object, currency: str, *, maximum_minor: int) -> Money:
    """Reads an amount in major units, from a JSON number or a decimal string.

    The result is exact: positive, at most `maximum_minor`, and without rounding. Raises
    InvalidRequest for anything else, and for more decimals than the currency has.
    """
    match amount:
        case bool():
            value = None
        case int() | Decimal():
            value = Decimal(amount)
        case str() if _DECIMAL_TEXT.fullmatch(amount):
            value = Decimal(amount)
        case _:
            value = None
    if value is None or not value.is_finite():
        raise _invalid_amount(
            "amount must be a number, or a decimal string such as '99.99'.", "invalid"
        )
    if value <= 0:
        raise _invalid_amount("amount must be greater than zero.", "too_small")
    digits = exponent(currency)
    if value.adjusted() + digits > len(str(maximum_minor)):
        raise _too_large(maximum_minor, currency)
    minor = value.scaleb(digits, _EXACT)
    if minor != minor.to_integral_value():
        decimals = "no decimals" if digits == 0 else f"at most {digits} decimals"
        raise _invalid_amount(
            f"amount has too many decimals: {currency} has {decimals}.", "too_precise"
        )
    if minor > maximum_minor:
        raise _too_large(maximum_minor, currency)
    return Money(int(minor), currency)


def _too_large(maximum_minor: int, currency: str) -> InvalidRequest:
    limit = major_units(maximum_minor, currency)
    return _invalid_amount(f"amount must be at most {limit} {currency}.", "too_large")


def _invalid_amount(message: str, reason: str) -> InvalidRequest:
    return InvalidRequest(message, param="amount", code=f"amount_{reason}")
