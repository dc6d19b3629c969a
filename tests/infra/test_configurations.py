"""What a topology is configured by: what does not fit is refused, and what fits reaches it."""

from typing import Any

import pytest

from remit_infra.model.environments import ConfigurationError
from remit_infra.topologies.lambda_dynamodb.stack import synthesise
from tests.infra.graphs import graph_with, of, template_graph

pytestmark = pytest.mark.xdist_group("graphs")

REFUSED: dict[str, list[tuple[str, dict[str, str], str]]] = {
    "fargate-aurora": [
        ("test", {}, "must begin with one of dev, staging, prod"),
        ("staging-of-the-far-north", {}, "the environment suffix can have"),
        ("dev", {"environment": "prod"}, "environment is prod, and the suffix 'dev' is one of dev"),
        ("dev", {"environment": "test"}, "environment"),
        ("dev", {"migrationDate": "yesterday"}, "must be a date such as 2026-11-20"),
        ("prod", {}, "prod speaks HTTPS only: set certificateArn"),
        ("prod", {"allowHttp": "true"}, "prod speaks HTTPS only: set certificateArn"),
        ("dev", {"allowHttp": "false"}, "Set certificateArn, or allowHttp"),
        ("dev", {"vpcSidr": "10.0.0.0/16"}, "vpcSidr"),
        ("dev", {"vpcCidr": "the office"}, "vpcCidr"),
        ("dev", {"enableMultiAZ": "perhaps"}, "enableMultiAZ"),
        ("dev", {"minTasks": "0"}, "minTasks"),
        ("dev", {"minTasks": "20"}, "minTasks is 20, which is more than maxTasks"),
        ("dev", {"readerCount": "16"}, "readerCount"),
        ("dev", {"natGateways": "3"}, "natGateways is 3, and there are 2 zones"),
        ("dev", {"postgresVersion": "16"}, "must be one of Aurora's, such as 16.8"),
        ("dev", {"domainName": "pay.example.com"}, "domainName and hostedZoneId belong together"),
        ("dev", {"thresholds": '{"payment-db-spin": 1}'}, "there is no alarm 'payment-db-spin'"),
        ("dev", {"cpuTarget": "101"}, "cpuTarget"),
    ],
    "lambda-postgres": [
        ("test", {}, "must begin with one of dev, staging, prod"),
        ("staging-of-the-north", {}, "the environment suffix can have 16 here"),
        ("dev", {"migrationDate": "yesterday"}, "must be a date such as 2026-11-20"),
        ("prod", {}, "prod speaks HTTPS only: set certificateArn"),
        ("prod", {"allowHttp": "true"}, "prod speaks HTTPS only: set certificateArn"),
        ("dev", {"allowHttp": "false"}, "Set certificateArn, or allowHttp"),
        ("dev", {"vpcSidr": "10.0.0.0/16"}, "vpcSidr"),
        ("dev", {"vpcCidr": "10.0.0.0/20"}, "vpcCidr"),
        ("dev", {"vpcCidr": "the office"}, "vpcCidr"),
        ("dev", {"awsRegion": "eu-west-1"}, "they must agree"),
    ],
}


@pytest.mark.parametrize(
    ("topology", "suffix", "configuration", "said"),
    [(topology, *row) for topology, rows in REFUSED.items() for row in rows],
)
def test_what_does_not_fit_a_program_is_refused_before_anything_is_built(
    topology: str, suffix: str, configuration: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        graph_with(topology, suffix, **configuration)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"suffix": "test"}, "must begin with one of dev, staging, prod"),
        ({"suffix": "staging-of-the-north"}, "the environment suffix can have 16 here"),
        ({"suffix": "dev", "migration_date": "yesterday"}, "must be a date such as 2026-11-20"),
    ],
    ids=["environment", "length", "date"],
)
def test_what_does_not_fit_the_stack_is_refused_before_anything_is_built(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        synthesise(**options)


def test_a_setting_that_the_service_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no setting 'colour'"):
        synthesise(settings={"colour": "red"})


def test_configuration_reaches_the_template() -> None:
    _, template = synthesise(
        suffix="dev-2",
        migration_date="2027-01-31",
        alarm_email="ops@example.com",
        settings={"default_currency": "EUR"},
        architecture="x86_64",
    )
    graph = template_graph("dev-2", template)
    [subscription] = of(graph, "sns/topicSubscription:TopicSubscription")
    told = (subscription.properties["protocol"], subscription.properties["endpoint"])
    assert told == ("email", "ops@example.com")
    for function in of(graph, "lambda/function:Function"):
        given = function.properties
        assert given["environment"]["variables"]["REMIT_DEFAULT_CURRENCY"] == "EUR"
        assert given["architectures"] == ["x86_64"]
        assert given["tags"]["MigrationDate"] == "2027-01-31"


def test_what_is_configured_of_fargate_aurora_is_no_edit_of_code() -> None:
    graph = graph_with(
        "fargate-aurora",
        "dev",
        readerCount="2",
        enableMultiAZ="true",
        maxTasks="30",
        cpuTarget="50",
        requestsTarget="900",
        queueDepthTarget="10",
        thresholds='{"payment-queue-depth": 250}',
        settings='{"max_amount_minor": "1000"}',
    )
    assert len(of(graph, "rds/clusterInstance:ClusterInstance")) == 3
    limits = {r.properties["maxCapacity"] for r in of(graph, "appautoscaling/target:Target")}
    targets = {
        r.name: r.properties["targetTrackingScalingPolicyConfiguration"]["targetValue"]
        for r in of(graph, "appautoscaling/policy:Policy")
    }
    assert (limits, targets) == (
        {30},
        {
            "payment-service-by-cpu": 50,
            "payment-service-by-requests": 900,
            "payment-worker-by-cpu": 50,
            "payment-worker-by-queue": 10,
        },
    )
    [depth] = [
        r.properties
        for r in of(graph, "cloudwatch/metricAlarm:MetricAlarm")
        if r.name == "payment-queue-depth-alarm"
    ]
    assert depth["threshold"] == 250
    [task] = [r for r in of(graph, "ecs/taskDefinition:TaskDefinition") if r.name == "payment-task"]
    assert "REMIT_MAX_AMOUNT_MINOR" in task.properties["containerDefinitions"]
