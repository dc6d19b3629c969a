"""The topologies beside each other: what a month costs in each, and which is the cheapest from how
many payments on.

What the figures are made of is in `cost.py` and `usage.py`; what they leave out is said here.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

import msgspec

from remit_infra.graph.graph import Graph
from remit_infra.plan.cost import costs
from remit_infra.plan.plan import TOPOLOGIES, plan_stack
from remit_infra.plan.pricing import Cost, read_prices

MILLION = 1_000_000
VOLUMES = (MILLION, 10 * MILLION, 100 * MILLION)
MOST = 1_000 * MILLION
"""Payments a month up to which the topologies are compared."""

STEPS = 512
"""Into how many parts that is divided at first. Within a part each cost is nearly a line."""

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
"""Prod needs a certificate. One costs nothing, so the comparison names one that is not there."""

ASSUMED = (
    "A payment is validate and process, 9 kB kept, two notifications. Tasks and capacity units "
    "are used at 35 % on average; a database of staging is active all month, of dev 176 hours.",
)
LEFT_OUT = (
    "Data transfer out, subscribers of notifications, free tiers, savings plans, reserved "
    "instances, support, what earlier months left in storage.",
    "lambda-postgres has one database, of one size, whatever the load; its API Gateway takes "
    "10,000 requests a day of a key unless its usage plan is raised, and each function runs "
    "10, 40 and 40 times at once in dev, staging and prod (of lambda-dynamodb 10, 50 and 200), "
    "within what the account allows.",
    "lambda-dynamodb archives 2,000 audit entries a minute, which is 29 million payments a month: "
    "with more, the trail falls behind.",
)


class MonthlyCost(msgspec.Struct, frozen=True):
    """Dollars a month at a number of payments, and for each million of them."""

    topology: str
    payments: int
    month: float
    million: float


class Cheapest(msgspec.Struct, frozen=True):
    """From so many payments a month on, this topology is the cheapest."""

    payments: int
    topology: str


class Crossover(msgspec.Struct, frozen=True):
    """Up to so many payments a month `below` costs less, from there on `above`; there, both cost
    `month` dollars.
    """

    payments: int
    month: float
    below: str
    above: str


class CostComparison(msgspec.Struct, frozen=True):
    costs: list[MonthlyCost]
    cheapest: list[Cheapest]
    crossovers: list[Crossover]


Lines = Mapping[str, Sequence[Cost]]
"""The lines of each topology's estimate."""


def compare(lines: Lines) -> CostComparison:
    """Every topology at every volume, which is the cheapest from where on, and where two cross."""
    return CostComparison(
        costs=[
            MonthlyCost(
                topology, payments, month := total(own, payments), month / payments * MILLION
            )
            for topology, own in lines.items()
            for payments in VOLUMES
        ],
        cheapest=cheapest_from(lines),
        crossovers=crossovers(lines),
    )


def lines_of(suffix: str) -> dict[str, list[Cost]]:
    """The estimate of every topology in an environment. Raises ConfigurationError."""
    prices = read_prices()
    return {topology: costs(graph, prices) for topology, graph in graphs_of(suffix).items()}


def graphs_of(suffix: str) -> dict[str, Graph]:
    """The graph of every topology in an environment. Raises ConfigurationError."""
    return {
        topology: plan_stack(topology, suffix, _configuration(topology)).graph
        for topology in TOPOLOGIES
    }


def _configuration(topology: str) -> dict[str, str]:
    return {} if topology == "lambda-dynamodb" else {"certificateArn": CERTIFICATE}


def total(lines: Sequence[Cost], payments: float) -> float:
    """Dollars a month."""
    return sum(line.month(payments) for line in lines)


def cheapest_at(lines: Lines, payments: float) -> str:
    """The topology that costs least at a number of payments a month."""
    return min(lines, key=lambda topology: total(lines[topology], payments))


def cheapest_from(lines: Lines) -> list[Cheapest]:
    """Each topology that becomes the cheapest between no payment and `MOST`, and from where on."""
    found = [Cheapest(0, cheapest_at(lines, 0))]
    marks = [round(MOST * (step / STEPS) ** 3) for step in range(STEPS + 1)]
    for low, high in pairwise(marks):
        while (last := found[-1]).topology != cheapest_at(lines, high):
            found.append(_change(lines, last.topology, max(low, last.payments), high))
    return found


def _change(lines: Lines, before: str, low: int, high: int) -> Cheapest:
    """The first number of payments in between at which another is the cheapest, by bisection."""
    while high - low > 1:
        middle = (low + high) // 2
        if cheapest_at(lines, middle) == before:
            low = middle
        else:
            high = middle
    return Cheapest(high, cheapest_at(lines, high))


def crossovers(lines: Lines) -> list[Crossover]:
    """Where the cheaper of any two topologies changes, between no payment and `MOST`."""
    found = [
        Crossover(
            after.payments,
            total(lines[after.topology], after.payments),
            before.topology,
            after.topology,
        )
        for pair in combinations(lines, 2)
        for before, after in pairwise(cheapest_from({one: lines[one] for one in pair}))
    ]
    return sorted(found, key=lambda one: one.payments)
