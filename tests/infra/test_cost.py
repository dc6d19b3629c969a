"""What a month costs, from the template and the price table."""

import math
from typing import Any

import msgspec
import pytest

from remit_infra.graph.graph import Graph, Resource, graph_of_template
from remit_infra.plan.cost import costs
from remit_infra.plan.pricing import read_prices
from remit_infra.plan.usage import PRICED, USES
from remit_infra.topologies import fargate_aurora
from remit_infra.topologies.lambda_postgres import record_graph
from tests.infra.graphs import Template

pytestmark = pytest.mark.xdist_group("cdk")


def test_each_fixed_price_follows_what_is_in_the_template(templates: dict[str, Template]) -> None:
    lines = {line.what: line for line in costs(graph_of(templates["dev"]), read_prices())}
    assert lines["4 × key"].idle == 4.0
    assert lines["1 × web ACL with its rules"].idle == 5.0 + 3 * 1.0
    assert lines["1 × dashboard"].idle == 3.0
    without = {**templates["dev"], "Resources": dict(templates["dev"]["Resources"])}
    key = next(n for n, r in without["Resources"].items() if r["Type"] == "AWS::KMS::Key")
    del without["Resources"][key]
    assert {line.what for line in costs(graph_of(without), read_prices())} >= {"3 × key"}


def test_payments_cost_in_proportion_and_nothing_else_does(templates: dict[str, Template]) -> None:
    lines = costs(graph_of(templates["prod"]), read_prices())
    idle = sum(line.month(0) for line in lines)
    hundred, thousand, million = (sum(line.month(n) for line in lines) for n in (100, 1e3, 1e6))
    assert math.isclose((thousand - idle) / (hundred - idle), 10)
    # Those of one minute share a segment of the trail, and those of one second a trace.
    assert 600 < (million - idle) / (thousand - idle) < 1_000
    assert 0 < idle < 40
    assert sum(line.month(30_000) for line in lines) < 50


def test_environments_of_one_structure_cost_the_same_when_idle(
    templates: dict[str, Template],
) -> None:
    idle = {
        round(sum(c.idle for c in costs(graph_of(t), read_prices())), 6) for t in templates.values()
    }
    assert len(idle) == 1


def test_everything_that_a_payment_uses_has_a_price_a_service_and_a_label() -> None:
    prices = read_prices()
    for use in USES.values():
        assert use.number.keys() | use.batched.keys() <= prices.million.keys()
        assert use.gigabytes.keys() <= prices.gigabyte.keys()
    used = {name for use in USES.values() for name in (*use.number, *use.batched, *use.gigabytes)}
    assert used == PRICED.keys()
    assert prices.date == "2026-11-20"
    assert [
        name for name, priced in PRICED.items() if "_" in priced.label or "GB" in priced.label
    ] == []
    assert len({(*priced,) for priced in PRICED.values()}) == len(PRICED)


def graph_of(template: Template) -> Graph:
    return graph_of_template("lambda-dynamodb", "dev", template)


@pytest.fixture(scope="module")
def programs() -> dict[str, Graph]:
    suffixes = ("dev", "staging-001", "prod")
    return {suffix: record_graph(suffix, certificateArn="arn") for suffix in suffixes}


def with_database(graph: Graph, instance_class: str, storage_gib: int) -> Graph:
    """The same with another database."""
    changed = {"instanceClass": instance_class, "allocatedStorage": storage_gib}
    return msgspec.structs.replace(
        graph,
        resources=tuple(
            msgspec.structs.replace(resource, properties={**resource.properties, **changed})
            if resource.type == "aws:rds/instance:Instance"
            else resource
            for resource in graph.resources
        ),
    )


PLAIN = {
    "dev": ("db.t3.medium", 100),
    "staging-001": ("db.t3.medium", 100),
    "prod": ("db.m5.large", 100),
}
"""The database of a plain build of the same requirements, by environment."""


def test_lambda_postgres_costs_less_than_a_plain_build(programs: dict[str, Graph]) -> None:
    prices = read_prices()
    # aws.amazon.com/rds/postgresql/pricing on the same day: Multi-AZ.
    plain_prices = msgspec.structs.replace(
        prices, hour={**prices.hour, "db.t3.medium": 0.145, "db.m5.large": 0.356}
    )
    for suffix, graph in programs.items():
        ours = sum(line.month(30_000) for line in costs(graph, prices))
        plain = with_database(graph, *PLAIN[suffix])
        theirs = sum(line.month(30_000) for line in costs(plain, plain_prices))
        assert ours < theirs


def test_the_network_of_lambda_postgres_is_in_the_estimate(programs: dict[str, Graph]) -> None:
    lines = {line.what: line.idle for line in costs(programs["staging-001"], read_prices())}
    assert math.isclose(lines["3 × NAT gateway"], 3 * 0.045 * 730)
    assert math.isclose(lines["3 × public IPv4 address"], 3 * 0.005 * 730)
    assert math.isclose(lines["1 × load balancer with its addresses"], (0.0225 + 0.015) * 730)
    assert math.isclose(lines["1 × database with its storage"], 0.065 * 730 + 20 * 0.23)
    assert lines["1 × database login"] == 0.4


@pytest.fixture(scope="module")
def containers() -> dict[str, Graph]:
    suffixes = ("dev", "staging-001", "prod")
    return {
        suffix: fargate_aurora.record_graph(suffix, certificateArn="arn") for suffix in suffixes
    }


MOST = {"dev": 100, "staging-001": 220, "prod": 400}
"""Dollars a month at a thousand payments a day."""


def plain(graph: Graph) -> Graph:
    """The same requirements as they are often built: tasks twice as large, a database of a unit at
    least that never pauses, and a NAT gateway with its address for each zone.
    """

    def changed(resource: Resource) -> Resource:
        given: dict[str, Any] = {}
        if resource.type == "aws:ecs/taskDefinition:TaskDefinition":
            given = {"cpu": "512", "memory": "1024"}
        elif resource.type == "aws:rds/cluster:Cluster":
            limits = resource.properties["serverlessv2ScalingConfiguration"]
            given = {"serverlessv2ScalingConfiguration": {**limits, "minCapacity": 1}}
        return msgspec.structs.replace(resource, properties={**resource.properties, **given})

    zones = {one.properties["availabilityZone"] for one in graph.of("aws:ec2/subnet:Subnet")}
    ways = [
        Resource(type=kind, name=f"{kind}-{zone}", properties={})
        for zone in sorted(zones)
        for kind in ("aws:ec2/natGateway:NatGateway", "aws:ec2/eip:Eip")
    ]
    return msgspec.structs.replace(graph, resources=(*map(changed, graph.resources), *ways))


def test_fargate_aurora_costs_little_and_less_than_a_plain_build(
    containers: dict[str, Graph],
) -> None:
    prices = read_prices()
    for suffix, graph in containers.items():
        ours, theirs = (
            sum(line.month(30_000) for line in costs(one, prices)) for one in (graph, plain(graph))
        )
        assert ours < MOST[suffix]
        assert ours < theirs


def test_the_way_out_of_fargate_aurora_costs_nothing(containers: dict[str, Graph]) -> None:
    graph = containers["prod"]
    assert len(graph.of("aws:ec2/egressOnlyInternetGateway:EgressOnlyInternetGateway")) == 1
    assert not [line for line in costs(graph, read_prices()) if line.service == "VPC"]


def test_every_part_of_fargate_aurora_is_in_the_estimate(containers: dict[str, Graph]) -> None:
    prod = {line.what: line.idle for line in costs(containers["prod"], read_prices())}
    assert math.isclose(prod["1 × load balancer with its addresses"], (0.0225 + 0.015) * 730)
    assert math.isclose(prod["1 × cache with its nodes"], 2 * 0.016 * 730)
    assert math.isclose(prod["1 capacity units at least, 730 hours"], 2 * 0.5 * 0.12 * 730)
    assert math.isclose(prod["4 tasks at least"], 4 * (0.25 * 0.03238 + 0.5 * 0.00356) * 730)
    assert math.isclose(prod["141 metrics of Container Insights"], 141 * 0.07)
    # Two workers: a receive request every 10 s, dead letters every 5 s and every minute.
    seconds = 730 * 3_600
    requests = 2 * (seconds / 10 + seconds / 5 + seconds / 60)
    assert math.isclose(
        prod[f"{requests:,.0f} requests of workers without work"], requests * 0.4e-6
    )
    assert math.isclose(prod["metrics published by workers"], 2 * 730 * 60 * 10e-6)
    assert math.isclose(prod["the health monitor's reads of 6 metrics"], 2 * 6 * 730 * 60 * 10e-6)
    assert prod["1 × database login"] == 0.4


def test_a_database_that_pauses_costs_its_active_hours(containers: dict[str, Graph]) -> None:
    dev = {line.what: line.idle for line in costs(containers["dev"], read_prices())}
    assert math.isclose(dev["0.5 capacity units at least, 176 hours"], 0.5 * 0.12 * 176)
    assert math.isclose(dev["2 Spot tasks at least"], 2 * (0.25 * 0.00972 + 0.5 * 0.00107) * 730)
    assert math.isclose(dev["metrics published by workers"], 176 * 60 * 10e-6)
