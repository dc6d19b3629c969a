"""What a month costs, from the template and the price table."""

import math

import pytest

from remit_infra.cost import PAYMENT, PAYMENT_GB, SERVICE_OF, costs, read_prices
from tests.infra.promises import Template

pytestmark = pytest.mark.xdist_group("cdk")


def test_each_fixed_price_follows_what_is_in_the_template(templates: dict[str, Template]) -> None:
    lines = {line.what: line for line in costs(templates["dev"], read_prices())}
    assert lines["3 keys"].idle == 3.0
    assert (lines["1 web firewalls"].idle, lines["3 rules"].idle) == (5.0, 3.0)
    assert lines["1 dashboards"].idle == 3.0
    without = {**templates["dev"], "Resources": dict(templates["dev"]["Resources"])}
    key = next(n for n, r in without["Resources"].items() if r["Type"] == "AWS::KMS::Key")
    del without["Resources"][key]
    assert {line.what for line in costs(without, read_prices())} >= {"2 keys"}


def test_payments_cost_in_proportion_and_nothing_else_does(templates: dict[str, Template]) -> None:
    lines = costs(templates["prod"], read_prices())
    idle = sum(line.month(0) for line in lines)
    thousand, million = (sum(line.month(n) for line in lines) for n in (1_000, 1_000_000))
    assert math.isclose((million - idle) / (thousand - idle), 1_000)
    assert 0 < idle < 40
    assert sum(line.month(30_000) for line in lines) < 50


def test_environments_of_one_structure_cost_the_same_when_idle(
    templates: dict[str, Template],
) -> None:
    idle = {round(sum(c.idle for c in costs(t, read_prices())), 6) for t in templates.values()}
    assert len(idle) == 1


def test_everything_that_a_payment_uses_has_a_price_and_a_service() -> None:
    prices = read_prices()
    assert PAYMENT.keys() <= prices.million.keys()
    assert PAYMENT_GB.keys() <= prices.gigabyte.keys()
    assert PAYMENT.keys() | PAYMENT_GB.keys() == SERVICE_OF.keys()
    assert prices.date == "2026-11-20"
