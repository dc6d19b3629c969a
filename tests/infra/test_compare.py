"""The topologies beside each other: what a month costs, and from where on which is the cheapest."""

import json
import math

import pytest

from remit_infra.plan.compare import (
    MOST,
    VOLUMES,
    Bill,
    Comparison,
    Turn,
    cheapest,
    compare,
    lines_of,
    total,
)
from remit_infra.plan.plan import TOPOLOGIES
from remit_infra.plan.pricing import Cost
from tests.infra.test_infra_commands import infra

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("recorded")]

MILLION = 1_000_000


def line(idle: float, payment: float, **more: float) -> Cost:
    return Cost("a service", "something", idle, payment, **more)


STRAIGHT = {
    "no rent": [line(0, 60e-6)],
    "some rent": [line(100, 0), line(20, 12e-6)],
    "much rent": [line(1_000, 1e-6)],
}


def test_totals_are_what_they_are_by_hand() -> None:
    found = compare(STRAIGHT)
    at_ten_million = [bill for bill in found.bills if bill.payments == 10 * MILLION]
    assert at_ten_million == [
        Bill("no rent", 10 * MILLION, 600.0, 60.0),
        Bill("some rent", 10 * MILLION, 240.0, 24.0),
        Bill("much rent", 10 * MILLION, 1_010.0, 101.0),
    ]
    assert found.cheapest == {
        MILLION: "no rent",
        10 * MILLION: "some rent",
        100 * MILLION: "much rent",
    }


def test_a_turn_is_where_two_bills_cross() -> None:
    # 60 n = 120 + 12 n at 2.5 million, and 120 + 12 n = 1000 + n at 80 million.
    assert compare(STRAIGHT).turns == [
        Turn(0, "no rent"),
        Turn(2_500_001, "some rent"),
        Turn(80_000_001, "much rent"),
    ]


def test_a_line_that_is_included_or_shared_bends_and_its_turns_are_found() -> None:
    bent = {
        "bent": [line(10, 10e-6, included=MILLION), line(0, 4e-6, shared=8, packed=1e-6)],
        "straight": [line(11, 8e-6)],
    }
    assert total(bent["bent"], MILLION) == 14.0
    assert math.isclose(total(bent["bent"], 4 * MILLION), 10 + 30 + 12)
    # 10 + 4 n = 11 + 8 n never; 10 n - 10 + 10 + 4 n = 11 + 8 n at 11/6 million.
    assert compare(bent).turns == [Turn(0, "bent"), Turn(1_833_334, "straight")]


@pytest.fixture(scope="module")
def ours() -> dict[str, list[Cost]]:
    return lines_of("prod")


@pytest.fixture(scope="module")
def found(ours: dict[str, list[Cost]]) -> Comparison:
    return compare(ours)


def test_every_topology_is_there_at_every_volume(found: Comparison) -> None:
    assert {(bill.topology, bill.payments) for bill in found.bills} == {
        (topology, payments) for topology in TOPOLOGIES for payments in VOLUMES
    }


def test_more_payments_cost_more_in_all_and_less_each(found: Comparison) -> None:
    for topology in TOPOLOGIES:
        bills = [bill for bill in found.bills if bill.topology == topology]
        assert [bill.month for bill in bills] == sorted(bill.month for bill in bills)
        assert [bill.million for bill in bills] == sorted(
            (bill.million for bill in bills), reverse=True
        )


def test_before_each_turn_another_is_the_cheapest(
    ours: dict[str, list[Cost]], found: Comparison
) -> None:
    assert [turn.payments for turn in found.turns] == sorted(t.payments for t in found.turns)
    for before, turn in zip(found.turns, found.turns[1:], strict=False):
        assert cheapest(ours, turn.payments - 1) == before.topology
        assert cheapest(ours, turn.payments) == turn.topology
        gap = total(ours[before.topology], turn.payments) - total(
            ours[turn.topology], turn.payments
        )
        assert 0 <= gap < 0.01
    ends = [turn.payments for turn in found.turns[1:]] + [MOST]
    for turn, end in zip(found.turns, ends, strict=True):
        assert cheapest(ours, (turn.payments + end) // 2) == turn.topology


def test_the_command_shows_all_of_it_and_what_it_leaves_out() -> None:
    shown = infra("compare", "--env", "dev")
    assert shown.returncode == 0, shown.stderr
    for word in (*TOPOLOGIES, "the cheapest", "assumed: ", "left out: ", "10,000 requests a day"):
        assert word in shown.stdout
    data = json.loads(infra("compare", "--env", "dev", "--json").stdout)
    assert (data["env"], data["turns"][0]["payments"]) == ("dev", 0)
    assert len(data["bills"]) == len(TOPOLOGIES) * len(VOLUMES)
