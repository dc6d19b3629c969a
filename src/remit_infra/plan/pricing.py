"""Prices, the lines of an estimate, and how long a month is."""

import math
import tomllib
from pathlib import Path

import msgspec

MONTH_HOURS = 730
MONTH_MINUTES = 43_800
MONTH_SECONDS = MONTH_HOURS * 3_600
PRICES = Path(__file__).with_name("prices.toml")


class Prices(msgspec.Struct, frozen=True):
    """Dollars for a month, an hour, a million and a gigabyte, and the day they were looked up."""

    date: str
    month: dict[str, float]
    hour: dict[str, float]
    million: dict[str, float]
    gigabyte: dict[str, float]


class Cost(msgspec.Struct, frozen=True):
    """One line of an estimate: dollars a month without payments, and for each payment after those
    that are `included`. Payments that share what they use cost at most `shared` in all, and
    `packed` for each.
    """

    service: str
    what: str
    idle: float
    payment: float
    included: float = 0.0
    shared: float = math.inf
    packed: float = 0.0

    def month(self, payments: float) -> float:
        """Dollars in a month of so many payments."""
        alone = self.payment * max(0.0, payments - self.included)
        return self.idle + min(alone, self.shared + self.packed * payments)


def read_prices(path: Path = PRICES) -> Prices:
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Prices)
