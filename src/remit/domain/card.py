"""Cards: which numbers are possible, what may be shown of one, and how one is found in free text.

The issuer identification number (ISO/IEC 7812) decides the brand. The brand's own rules decide the
lengths of its numbers and of its CVC. A full number exists in memory only, or encrypted by the
vault.
"""

import re
from datetime import datetime

import msgspec
from stdnum import luhn

from remit.domain.errors import InvalidRequest

MIN_NUMBER_DIGITS = 13
MAX_NUMBER_DIGITS = 19


class Brand(msgspec.Struct, frozen=True):
    """One card brand. `prefixes` are the ranges of its numbers, as first and last prefix."""

    name: str
    prefixes: tuple[tuple[int, int], ...]
    lengths: tuple[int, ...]
    cvc_digits: int = 3


BRANDS = (
    Brand("amex", ((34, 34), (37, 37)), (15,), cvc_digits=4),
    Brand("diners", ((300, 305), (36, 36), (38, 39)), (14, 16, 19)),
    Brand("discover", ((6011, 6011), (644, 649), (65, 65)), (16, 19)),
    Brand("jcb", ((3528, 3589),), (16, 17, 18, 19)),
    Brand("mastercard", ((51, 55), (2221, 2720)), (16,)),
    Brand("unionpay", ((62, 62), (81, 81)), (16, 17, 18, 19)),
    Brand("visa", ((4, 4),), (13, 16, 19)),
)


class Card(msgspec.Struct, frozen=True, omit_defaults=True):
    """A card with a valid number. Its representation does not show the number."""

    number: str
    brand: str
    exp_month: int | None = None
    exp_year: int | None = None

    def __repr__(self) -> str:
        return f"Card({self.brand} ending in {self.last4})"

    @property
    def last4(self) -> str:
        return self.number[-4:]

    def summary(self) -> "CardSummary":
        return CardSummary(self.brand, self.last4, self.exp_month, self.exp_year)


class CardSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of a card that may be stored, logged and shown (PCI DSS 4.0.1, requirement 3.4)."""

    brand: str
    last4: str
    exp_month: int | None = None
    exp_year: int | None = None


_BY_PREFIX = {
    str(prefix): brand
    for brand in BRANDS
    for first, last in brand.prefixes
    for prefix in range(first, last + 1)
}


def brand_of(number: str) -> Brand | None:
    for length in (4, 3, 2, 1):
        if (brand := _BY_PREFIX.get(number[:length])) is not None:
            return brand
    return None


def read_card(
    number: str, exp_month: int | None, exp_year: int | None, cvc: str | None, *, now: datetime
) -> Card:
    """The card, once its number, expiry and CVC length are checked. The CVC is then dropped.

    Spaces and dashes between digits are accepted, because people type them. A card is valid until
    the end of its expiry month. Raises InvalidRequest, whose message never quotes the number.
    """
    digits = number.replace(" ", "").replace("-", "")
    brand = None
    if (
        digits.isascii()
        and digits.isdigit()
        and MIN_NUMBER_DIGITS <= len(digits) <= MAX_NUMBER_DIGITS
    ):
        brand = brand_of(digits)
    if brand is None or len(digits) not in brand.lengths:
        raise InvalidRequest(
            "card.number must be the 13 to 19 digits of a card we accept.",
            param="card.number",
            code="card_number_invalid",
        )
    if not luhn.is_valid(digits):
        raise InvalidRequest(
            "card.number is not a valid card number: its check digit is wrong.",
            param="card.number",
            code="card_number_incorrect",
        )
    _check_expiry(exp_month, exp_year, now)
    if cvc is not None and not (cvc.isascii() and cvc.isdigit() and len(cvc) == brand.cvc_digits):
        raise InvalidRequest(
            f"card.cvc must be {brand.cvc_digits} digits for this card.",
            param="card.cvc",
            code="card_cvc_invalid",
        )
    return Card(digits, brand.name, exp_month, exp_year)


def _check_expiry(exp_month: int | None, exp_year: int | None, now: datetime) -> None:
    if exp_month is None and exp_year is None:
        return
    if exp_month is None or not 1 <= exp_month <= 12:
        raise InvalidRequest(
            "card.exp_month must be a month from 1 to 12.",
            param="card.exp_month",
            code="card_expiry_invalid",
        )
    if exp_year is None or not 2000 <= exp_year <= now.year + 50:
        raise InvalidRequest(
            "card.exp_year must be a four-digit year.",
            param="card.exp_year",
            code="card_expiry_invalid",
        )
    if (exp_year, exp_month) < (now.year, now.month):
        raise InvalidRequest("The card has expired.", param="card.exp_month", code="card_expired")


_GROUPINGS = (
    r"[0-9]{13,19}",
    r"[0-9]{4}(?P<gap>[ -])[0-9]{4}(?P=gap)[0-9]{4}(?P=gap)[0-9]{1,7}",
    r"[0-9]{4}(?P<gap>[ -])(?:[0-9]{4}(?P=gap)){3}[0-9]{3}",
    r"[0-9]{4}(?P<gap>[ -])[0-9]{6}(?P=gap)[0-9]{4,5}",
)
"""The groupings in which card numbers are written and printed. Other groupings are not cards."""

_ENOUGH_DIGITS = re.compile(rf"(?:[0-9][^0-9]?){{{MIN_NUMBER_DIGITS}}}")
_PATTERNS = tuple(
    re.compile(rf"(?<![0-9])(?=({grouping})(?![0-9]))")  # a lookahead finds overlapping numbers
    for grouping in _GROUPINGS
)
_IDENTIFIER = re.compile(
    r"(?<![0-9a-z])(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32,})(?![0-9a-z])",
    re.IGNORECASE,
)
"""A UUID or a digest, whose digits can look like a card number by chance."""


def holds_card_number(text: str) -> bool:
    """Whether `text` contains a possible card number. Such text must not be stored."""
    if _ENOUGH_DIGITS.search(text) is None:
        return False
    text = _IDENTIFIER.sub("", text)
    return any(
        _could_be_a_card(re.sub("[ -]", "", match[1]))
        for pattern in _PATTERNS
        for match in pattern.finditer(text)
    )


def mask_card_numbers(text: str) -> str:
    """`text` with every possible card number replaced by its last four digits."""

    def mask(match: re.Match[str]) -> str:
        digits = re.sub("[ -]", "", match[0])
        return f"…{digits[-4:]}" if _could_be_a_card(digits) else match[0]

    if _ENOUGH_DIGITS.search(text) is None:
        return text
    for grouping in _GROUPINGS:
        text = re.sub(rf"(?<![0-9]){grouping}(?![0-9])", mask, text)
    return text


def _could_be_a_card(digits: str) -> bool:
    brand = brand_of(digits)
    return brand is not None and len(digits) in brand.lengths and luhn.is_valid(digits)
