"""What every topology is, in each environment and on every day: its names, its shape, its bytes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from remit_infra.graph.graph import Graph
from tests.infra.graphs import (
    PULUMI,
    SUFFIXES,
    graph_of,
    graph_with,
    of,
    ordered,
    recorded_in_2100,
    shape,
    template_of,
)

pytestmark = pytest.mark.xdist_group("graphs")

NAMES = {
    "fargate-aurora": {
        "ecs/cluster:Cluster": {"payment-cluster-staging-001"},
        "ecs/service:Service": {"payment-service-staging-001"},
        "ecs/taskDefinition:TaskDefinition": {"payment-task-staging-001"},
        "lb/targetGroup:TargetGroup": {"payment-tg-staging-001"},
        "ec2/securityGroup:SecurityGroup": {"payment-db-sg-staging-001"},
        "cloudwatch/logGroup:LogGroup": {"/ecs/payment-staging-001"},
    },
    "lambda-dynamodb": {
        "sns/topic:Topic": {"payment-alarms-staging-001"},
        "cloudwatch/metricAlarm:MetricAlarm": {
            "api-latency-staging-001",
            "dynamodb-throttle-staging-001",
            "payment-validation-errors-staging-001",
            "health-monitor-errors-staging-001",
        },
    },
    "lambda-postgres": {
        "ec2/vpc:Vpc": {"payment-vpc-staging-001"},
        "rds/instance:Instance": {"payment-db-staging-001"},
        "lb/loadBalancer:LoadBalancer": {"payment-alb-staging-001"},
        "apigateway/restApi:RestApi": {"payment-api-staging-001"},
    },
}
"""By topology and type, names of the contract that are among those there are."""

ALL_NAMES = {
    "lambda-dynamodb": {
        "dynamodb/table:Table": {"transactions-staging-001"},
        "sqs/queue:Queue": {
            "failed-transactions-staging-001",
            "failed-transactions-dlq-staging-001",
        },
        "lambda/function:Function": {
            "payment-validation-staging-001",
            "payment-processing-staging-001",
            "payment-delivery-staging-001",
            "health-monitor-staging-001",
        },
        "cloudwatch/dashboard:Dashboard": {"payment-dashboard-staging-001"},
    },
    "lambda-postgres": {
        "ec2/vpc:Vpc": {"payment-vpc-staging-001"},
        "rds/instance:Instance": {"payment-db-staging-001"},
        "lb/loadBalancer:LoadBalancer": {"payment-alb-staging-001"},
        "apigateway/restApi:RestApi": {"payment-api-staging-001"},
    },
}
"""And where there are no others."""


def names_of(graph: Graph, kind: str) -> set[str]:
    """What AWS calls the resources of a type."""
    found = set()
    for resource in of(graph, kind):
        given = resource.properties
        keys = ("name", "family", "identifier", "dashboardName")
        named = [given[key] for key in keys if isinstance(given.get(key), str)]
        found.add(named[0] if named else given["tags"]["Name"])
    return found


@pytest.mark.parametrize(
    ("topology", "kind"), [(topology, kind) for topology, kinds in NAMES.items() for kind in kinds]
)
def test_names_are_those_of_the_contract(topology: str, kind: str) -> None:
    assert NAMES[topology][kind] <= names_of(graph_of(topology, "staging-001"), kind)


@pytest.mark.parametrize(
    ("topology", "kind"),
    [(topology, kind) for topology, kinds in ALL_NAMES.items() for kind in kinds],
)
def test_there_are_no_names_but_those_of_the_contract(topology: str, kind: str) -> None:
    assert names_of(graph_of(topology, "staging-001"), kind) == ALL_NAMES[topology][kind]


@pytest.mark.parametrize(
    ("topology", "output", "value"),
    [
        ("fargate-aurora", "service_name", "payment-service-staging-001"),
        ("lambda-postgres", "lambda_function_name", "payment-validator-staging-001"),
    ],
)
def test_an_output_is_the_name_in_aws(topology: str, output: str, value: str) -> None:
    assert graph_of(topology, "staging-001").outputs[output] == value


def test_environments_of_lambda_postgres_differ_in_values_alone() -> None:
    dev, staging, prod = (shape(graph_of("lambda-postgres", suffix)) for suffix in SUFFIXES)
    assert dev == staging == prod


def test_environments_of_lambda_dynamodb_differ_in_values_alone() -> None:
    """In the template itself: the CDK makes names of what it holds."""
    dev, staging, prod = (
        sorted(
            (resource["Type"], sorted(resource.get("Properties", {})))
            for resource in template_of(suffix)["Resources"].values()
        )
        for suffix in SUFFIXES
    )
    assert dev == staging == prod


def test_environments_of_fargate_aurora_are_of_one_shape_but_for_what_multi_az_adds() -> None:
    dev, staging, prod = (graph_of("fargate-aurora", suffix) for suffix in SUFFIXES)
    kinds = [{resource.type for resource in graph.resources} for graph in (dev, staging, prod)]
    assert kinds == [kinds[0]] * 3
    small, large = ({r.name for r in graph.resources} for graph in (staging, prod))
    assert large - small == {
        *(f"payment-{tier}-subnet-3" for tier in ("public", "task", "data")),
        *("payment-public-routes-3", "payment-data-routes-3"),
        *("payment-task-3-routes", "payment-task-3-routes-1", "payment-task-route-3"),
        "payment-db-reader-1",
        *("payment-cache-replicas-in", "payment-cache-replicas-out"),
    }
    assert small < large


def test_dev_and_staging_of_fargate_aurora_are_of_one_shape() -> None:
    dev, staging = (graph_with("fargate-aurora", suffix) for suffix in ("dev", "staging-001"))
    assert shape(dev) == shape(staging)


@pytest.mark.parametrize("topology", PULUMI)
def test_two_days_give_the_same_program(topology: str) -> None:
    assert ordered(recorded_in_2100(topology)) == ordered(graph_of(topology, "dev"))


def test_two_days_give_the_same_template(tmp_path: Path) -> None:
    """The second day is far away, for Python's clock and for that of the CDK's JavaScript."""
    (tmp_path / "later.js").write_text(
        "const then = 4102444800000, Now = Date;\n"
        "globalThis.Date = class extends Now {\n"
        "  constructor(...a) { if (a.length) super(...a); else super(then); }\n"
        "  static now() { return then; }\n"
        "};\n"
    )
    code = (
        "import json, sys, time; time.time = lambda: 4102444800.0\n"
        "from remit_infra.topologies.lambda_dynamodb.stack import synthesise\n"
        "sys.stdout.write(json.dumps(synthesise(suffix='dev')[1]))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NODE_OPTIONS": f"--require {tmp_path / 'later.js'}"},
    )
    assert ran.stdout == json.dumps(template_of("dev"))
