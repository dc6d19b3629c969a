"""The topologies beside each other: what a month costs, and from where on which is the cheapest."""

import json
import math
from pathlib import Path

import pytest

from remit_infra.graph.graph import Graph
from remit_infra.plan.compare import (
    MOST,
    VOLUMES,
    Cheapest,
    CostComparison,
    Crossover,
    MonthlyCost,
    cheapest_at,
    compare,
    total,
)
from remit_infra.plan.cost import costs
from remit_infra.plan.plan import TOPOLOGIES
from remit_infra.plan.pricing import Cost, read_prices
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
    at_ten_million = [cost for cost in found.costs if cost.payments == 10 * MILLION]
    assert at_ten_million == [
        MonthlyCost("no rent", 10 * MILLION, 600.0, 60.0),
        MonthlyCost("some rent", 10 * MILLION, 240.0, 24.0),
        MonthlyCost("much rent", 10 * MILLION, 1_010.0, 101.0),
    ]
    assert {payments: cheapest_at(STRAIGHT, payments) for payments in VOLUMES} == {
        MILLION: "no rent",
        10 * MILLION: "some rent",
        100 * MILLION: "much rent",
    }


def test_the_cheapest_changes_where_two_lines_cross_below_all_others() -> None:
    # 60 n = 120 + 12 n at 2.5 million, and 120 + 12 n = 1000 + n at 80 million.
    assert compare(STRAIGHT).cheapest == [
        Cheapest(0, "no rent"),
        Cheapest(2_500_001, "some rent"),
        Cheapest(80_000_001, "much rent"),
    ]


def test_every_two_lines_that_cross_have_a_crossover() -> None:
    # Besides those: 60 n = 1000 + n at 16.949153 million, where both cost 1,016.95.
    found = compare(STRAIGHT).crossovers
    assert [(one.payments, one.below, one.above) for one in found] == [
        (2_500_001, "no rent", "some rent"),
        (16_949_153, "no rent", "much rent"),
        (80_000_001, "some rent", "much rent"),
    ]
    assert [round(one.month, 2) for one in found] == [150.0, 1_016.95, 1_080.0]


def test_a_line_that_is_included_or_shared_bends_and_its_crossover_is_found() -> None:
    bent = {
        "bent": [line(10, 10e-6, included=MILLION), line(0, 4e-6, shared=8, packed=1e-6)],
        "straight": [line(11, 8e-6)],
    }
    assert total(bent["bent"], MILLION) == 14.0
    assert math.isclose(total(bent["bent"], 4 * MILLION), 10 + 30 + 12)
    # 10 + 4 n = 11 + 8 n never; 10 n - 10 + 10 + 4 n = 11 + 8 n at 11/6 million.
    found = compare(bent)
    assert found.cheapest == [Cheapest(0, "bent"), Cheapest(1_833_334, "straight")]
    [crossover] = found.crossovers
    month = total(bent["straight"], 1_833_334)
    assert crossover == Crossover(1_833_334, month, below="bent", above="straight")


@pytest.fixture(scope="module")
def ours(prod_graphs: dict[str, Graph]) -> dict[str, list[Cost]]:
    prices = read_prices()
    return {topology: costs(graph, prices) for topology, graph in prod_graphs.items()}


@pytest.fixture(scope="module")
def found(ours: dict[str, list[Cost]]) -> CostComparison:
    return compare(ours)


def test_every_topology_is_there_at_every_volume(found: CostComparison) -> None:
    assert {(cost.topology, cost.payments) for cost in found.costs} == {
        (topology, payments) for topology in TOPOLOGIES for payments in VOLUMES
    }


def test_more_payments_cost_more_in_all_and_less_each(found: CostComparison) -> None:
    for topology in TOPOLOGIES:
        own = [cost for cost in found.costs if cost.topology == topology]
        assert [cost.month for cost in own] == sorted(cost.month for cost in own)
        assert [cost.million for cost in own] == sorted(
            (cost.million for cost in own), reverse=True
        )


def test_before_each_change_another_is_the_cheapest(
    ours: dict[str, list[Cost]], found: CostComparison
) -> None:
    assert [one.payments for one in found.cheapest] == sorted(t.payments for t in found.cheapest)
    for before, after in zip(found.cheapest, found.cheapest[1:], strict=False):
        assert cheapest_at(ours, after.payments - 1) == before.topology
        assert cheapest_at(ours, after.payments) == after.topology
        gap = total(ours[before.topology], after.payments) - total(
            ours[after.topology], after.payments
        )
        assert 0 <= gap < 0.01
    ends = [one.payments for one in found.cheapest[1:]] + [MOST]
    for one, end in zip(found.cheapest, ends, strict=True):
        assert cheapest_at(ours, (one.payments + end) // 2) == one.topology


def test_each_crossover_is_where_both_cost_the_same(
    ours: dict[str, list[Cost]], found: CostComparison
) -> None:
    assert {one.payments for one in found.crossovers} >= {
        one.payments for one in found.cheapest[1:]
    }
    for one in found.crossovers:
        below, above = (total(ours[side], one.payments) for side in (one.below, one.above))
        assert math.isclose(below, above, rel_tol=1e-6)
        assert one.month == above


def test_the_command_shows_all_of_it_and_what_it_leaves_out(tmp_path: Path) -> None:
    chart = tmp_path / "charts" / "compare.svg"
    shown = infra("compare", "--env", "dev", "--chart", str(chart))
    assert shown.returncode == 0, shown.stderr
    for word in (*TOPOLOGIES, "the cheapest", "assumed: ", "left out: ", "10,000 requests a day"):
        assert word in shown.stdout
    assert "What the topologies cost in dev" in chart.read_text(encoding="utf-8")
    data = json.loads(infra("compare", "--env", "dev", "--json").stdout)
    assert (data["env"], data["cheapest"][0]["payments"]) == ("dev", 0)
    assert len(data["costs"]) == len(TOPOLOGIES) * len(VOLUMES)
    for one in data["crossovers"]:
        assert f"{one['payments']:,}" in shown.stdout
