"""The topologies beside each other: what a month of so many payments costs in each, which is the
cheapest, and from how many payments on.

What the figures are made of is in `cost.py` and `usage.py`; what they leave out is said here.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec

from remit_infra.plan.cost import costs
from remit_infra.plan.plan import TOPOLOGIES, planned
from remit_infra.plan.pricing import Cost, read_prices

MILLION = 1_000_000
VOLUMES = (MILLION, 10 * MILLION, 100 * MILLION)
MOST = 1_000 * MILLION
"""Payments a month up to which it is looked who is the cheapest."""

STEPS = 512
"""Into how many parts that is divided at first; within a part each bill is nearly straight."""

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
"""To look with: what it names costs nothing."""

ASSUMED = (
    "A payment is validate and process, 9 kB kept, two notifications. Tasks and capacity units "
    "are used at 35 % on average; a database of staging is awake all month, of dev 176 hours.",
)
LEFT_OUT = (
    "Data transfer out, subscribers of notifications, free tiers, savings plans, reserved "
    "instances, support, what earlier months left in storage.",
    "lambda-postgres has one database, of one size, whatever the load; its API Gateway takes "
    "10,000 requests a day of a key unless its usage plan is raised, and each function runs "
    "10, 40 and 40 times at once in dev, staging and prod (of lambda-dynamodb 10, 50 and 200), "
    "within what the account allows.",
    "lambda-dynamodb seals 2,000 audit entries a minute, which is 29 million payments a month: "
    "with more, the trail falls behind.",
)


class Bill(msgspec.Struct, frozen=True):
    """Dollars a month at a number of payments, and for each million of them."""

    topology: str
    payments: int
    month: float
    million: float


class Turn(msgspec.Struct, frozen=True):
    """From so many payments a month on, this topology is the cheapest."""

    payments: int
    topology: str


class Comparison(msgspec.Struct, frozen=True):
    bills: list[Bill]
    cheapest: dict[int, str]
    turns: list[Turn]


Lines = Mapping[str, Sequence[Cost]]


def compare(lines: Lines) -> Comparison:
    """Every topology at every volume, which is the cheapest there, and where that changes."""
    bills = [
        Bill(topology, payments, month := total(own, payments), month / payments * MILLION)
        for topology, own in lines.items()
        for payments in VOLUMES
    ]
    return Comparison(
        bills=bills,
        cheapest={payments: cheapest(lines, payments) for payments in VOLUMES},
        turns=turns(lines),
    )


def lines_of(suffix: str) -> dict[str, list[Cost]]:
    """The bill of every topology in an environment. Raises Refused."""
    prices = read_prices()
    return {
        topology: costs(planned(topology, suffix, _configured(topology)).graph, prices)
        for topology in TOPOLOGIES
    }


def _configured(topology: str) -> dict[str, str]:
    return {} if topology == "lambda-dynamodb" else {"certificateArn": CERTIFICATE}


def total(lines: Sequence[Cost], payments: float) -> float:
    """Dollars a month."""
    return sum(line.month(payments) for line in lines)


def cheapest(lines: Lines, payments: float) -> str:
    return min(lines, key=lambda topology: total(lines[topology], payments))


def turns(lines: Lines) -> list[Turn]:
    """From none to `MOST` payments, each topology that becomes the cheapest, and where."""
    found = [Turn(0, cheapest(lines, 0))]
    marks = [round(MOST * (step / STEPS) ** 3) for step in range(STEPS + 1)]
    for low, high in pairwise(marks):
        while (last := found[-1].topology) != cheapest(lines, high):
            found.append(_turn(lines, last, max(low, found[-1].payments), high))
    return found


def _turn(lines: Lines, last: str, low: int, high: int) -> Turn:
    """The first number of payments in between at which another is the cheapest, by bisection."""
    while high - low > 1:
        middle = (low + high) // 2
        if cheapest(lines, middle) == last:
            low = middle
        else:
            high = middle
    return Turn(high, cheapest(lines, high))
