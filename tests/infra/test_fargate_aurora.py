"""The fargate-aurora program keeps its promises, in every environment and on every day."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from remit_infra.graph.graph import Graph
from remit_infra.model.environments import ConfigurationError
from remit_infra.topologies.fargate_aurora import record_graph
from tests.infra import promises_of_all, promises_of_egress, promises_of_fargate
from tests.infra.recorded import (
    CERTIFICATE,
    SUFFIXES,
    Change,
    all_actions,
    altered,
    giving,
    gone,
    of,
    ordered,
    recorded_in_2100,
    shape,
    unordered,
    without,
)
from tests.infra.recorded import broken as broken_of

pytestmark = pytest.mark.xdist_group("recorded")

NAMES = {
    "ecs/cluster:Cluster": "payment-cluster-staging-001",
    "ecs/service:Service": "payment-service-staging-001",
    "ecs/taskDefinition:TaskDefinition": "payment-task-staging-001",
    "lb/targetGroup:TargetGroup": "payment-tg-staging-001",
    "ec2/securityGroup:SecurityGroup": "payment-db-sg-staging-001",
    "cloudwatch/logGroup:LogGroup": "/ecs/payment-staging-001",
}
PROMISES = (
    *promises_of_all.PROMISES,
    *promises_of_egress.PROMISES,
    *promises_of_fargate.PROMISES,
)


def broken(graph: Graph) -> dict[str, list[str]]:
    return broken_of(graph, PROMISES)


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    return {suffix: record_graph(suffix, certificateArn=CERTIFICATE) for suffix in SUFFIXES}


@pytest.fixture
def graph(graphs: dict[str, Graph]) -> Graph:
    return graphs["staging-001"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_promise_is_kept(graphs: dict[str, Graph], suffix: str) -> None:
    assert broken(graphs[suffix]) == {}


@pytest.mark.parametrize(
    "configuration",
    [
        {},
        {"natGateways": "1"},
        {"image": "123456789012.dkr-ecr.us-east-1.on.aws/payment-service-dev@sha256:00"},
        {"domainName": "pay.example.com", "hostedZoneId": "Z0000000000000"},
        {"thresholds": '{"payment-dlq-not-empty": 5}'},
    ],
)
def test_every_promise_is_kept_however_it_is_configured(configuration: dict[str, str]) -> None:
    assert broken(record_graph("dev", **configuration)) == {}


def test_environments_are_of_one_shape_but_for_what_multi_az_adds(
    graphs: dict[str, Graph],
) -> None:
    def kinds(graph: Graph) -> set[str]:
        return {resource.type for resource in graph.resources}

    dev, staging, prod = graphs.values()
    assert kinds(dev) == kinds(staging) == kinds(prod)
    assert shape(record_graph("staging-001")) == shape(record_graph("dev"))
    more = {r.name for r in prod.resources} - {r.name for r in staging.resources}
    assert more == {
        *(f"payment-{tier}-subnet-3" for tier in ("public", "task", "data")),
        *("payment-public-routes-3", "payment-data-routes-3"),
        *("payment-task-3-routes", "payment-task-3-routes-1", "payment-task-route-3"),
        "payment-db-reader-1",
        *("payment-cache-replicas-in", "payment-cache-replicas-out"),
    }
    assert {r.name for r in staging.resources} < {r.name for r in prod.resources}


def test_two_days_give_the_same_program(graphs: dict[str, Graph]) -> None:
    assert ordered(recorded_in_2100("fargate_aurora")) == ordered(graphs["dev"])


@pytest.mark.parametrize("kind", NAMES)
def test_names_are_those_of_the_contract(graph: Graph, kind: str) -> None:
    names = {r.properties.get("name") or r.properties.get("family") for r in of(graph, kind)}
    assert NAMES[kind] in names


def test_outputs_are_those_of_the_contract(graph: Graph) -> None:
    assert set(graph.outputs) == {
        "alb_dns_name",
        "database_endpoint",
        "cache_endpoint",
        "payment_queue_url",
        "vpc_id",
        "cluster_name",
        "service_name",
    }
    assert graph.outputs["service_name"] == "payment-service-staging-001"


@pytest.mark.parametrize(
    ("suffix", "configuration", "said"),
    [
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
)
def test_what_does_not_fit_is_refused_before_anything_is_built(
    suffix: str, configuration: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        record_graph(suffix, **configuration)


def test_what_is_configured_is_no_edit_of_code() -> None:
    graph = record_graph(
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


def container(change: Change) -> Change:
    """A change of a task's container."""

    def changed(given: dict[str, Any]) -> dict[str, Any]:
        [found] = json.loads(given["containerDefinitions"])
        return given | {"containerDefinitions": json.dumps([change(found)])}

    return changed


TASK = "ecs/taskDefinition:TaskDefinition"
SERVICE = "ecs/service:Service"

TRAPS: dict[str, Callable[[Graph], Graph]] = {
    "private tasks that reach nothing": lambda g: altered(
        g, "ec2/route:Route", "payment-task-route", gone
    ),
    "tasks with addresses of IPv4, which lead nowhere": lambda g: altered(
        g, "ec2/subnet:Subnet", "task-subnet", giving(ipv6Native=False, cidrBlock="10.1.64.0/20")
    ),
    "tasks that the internet reaches": lambda g: altered(
        g,
        "ec2/route:Route",
        "payment-task-route",
        giving(gatewayId="${aws_internet_gateway.payment-igw.id}"),
    ),
    "an image that only IPv4 reaches": lambda g: altered(
        g,
        TASK,
        "payment-task",
        container(giving(image="123456789012.dkr.ecr.us-east-1.amazonaws.com/payment:1")),
    ),
    "AWS asked over IPv4": lambda g: altered(
        g, TASK, "payment-worker", container(giving(environment=[]))
    ),
    "a root file system that can be written": lambda g: altered(
        g, TASK, "payment-task", container(giving(readonlyRootFilesystem=False))
    ),
    "a task as root": lambda g: altered(g, TASK, "payment-task", container(giving(user="0"))),
    "a task that nobody asks whether it lives": lambda g: altered(
        g, TASK, "payment-worker", container(without("healthCheck"))
    ),
    "two tasks with one role": lambda g: altered(
        g, TASK, "payment-worker", giving(taskRoleArn="${aws_iam_role.payment-api-role.arn}")
    ),
    "a service that is updated before the database": lambda g: unordered(
        g, SERVICE, "payment-service"
    ),
    "a migration of the old image": lambda g: own(g, giving(task_definition="payment-task:1")),
    "a migration before there is a database": lambda g: own(g, None),
    "a deployment that does not roll back": lambda g: altered(
        g, SERVICE, "payment-service", without("deploymentCircuitBreaker")
    ),
    "a deployment that no alarm stops": lambda g: altered(
        g, SERVICE, "payment-worker", without("alarms")
    ),
    "a service that may be without a task": lambda g: altered(
        g, SERVICE, "payment-service", giving(deploymentMinimumHealthyPercent=0)
    ),
    "a service that is not scaled": lambda g: altered(
        g, "appautoscaling/target:Target", "payment-worker", gone
    ),
    "a queue that no scaling looks at": lambda g: altered(
        g, "appautoscaling/policy:Policy", "by-queue", gone
    ),
    "a health check that asks the database": lambda g: altered(
        g, "lb/targetGroup:TargetGroup", "", giving(healthCheck={"path": "/health", "interval": 30})
    ),
    "requests that are cut off": lambda g: altered(
        g, "lb/targetGroup:TargetGroup", "", giving(deregistrationDelay=0)
    ),
    "a load balancer without a firewall": lambda g: altered(
        g, "wafv2/webAclAssociation:WebAclAssociation", "", gone
    ),
    "HTTP that is answered": lambda g: altered(
        g,
        "lb/listener:Listener",
        "payment-alb-http",
        giving(defaultActions=[{"type": "forward"}]),
    ),
    "a database that is not encrypted": lambda g: altered(
        g, "rds/cluster:Cluster", "", giving(storageEncrypted=False)
    ),
    "a database without TLS": lambda g: altered(
        g, "rds/clusterParameterGroup:ClusterParameterGroup", "", giving(parameters=[])
    ),
    "a database open to the network": lambda g: altered(
        g,
        "vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        "payment-db",
        giving(referencedSecurityGroupId="", cidrIpv4="10.1.0.0/16"),
    ),
    "a password in the program": lambda g: altered(
        g, "rds/cluster:Cluster", "", giving(masterPassword=CERTIFICATE)
    ),
    "a database that is always awake in staging": lambda g: altered(
        g,
        "rds/cluster:Cluster",
        "",
        giving(serverlessv2ScalingConfiguration={"minCapacity": 0, "maxCapacity": 8}),
    ),
    "a cache without TLS": lambda g: altered(
        g,
        "elasticache/replicationGroup:ReplicationGroup",
        "",
        giving(transitEncryptionEnabled=False),
    ),
    "a cache that asks nobody who they are": lambda g: altered(
        g, "elasticache/replicationGroup:ReplicationGroup", "", without("userGroupIds")
    ),
    "a cache user that may do everything": lambda g: altered(
        g, "elasticache/user:User", "payment-cache-user", giving(accessString="on ~* +@all")
    ),
    "a queue that gives nothing up": lambda g: altered(
        g, "sqs/queue:Queue", "payment-queue", without("redrivePolicy")
    ),
    "dead letters that nobody is told of": lambda g: altered(
        g, "cloudwatch/metricAlarm:MetricAlarm", "payment-dlq-not-empty", gone
    ),
    "a queue that takes requests without TLS": lambda g: altered(
        g, "sqs/queuePolicy:QueuePolicy", "payment-queue", giving(policy='{"Statement": []}')
    ),
    "a tag that comes to mean another image": lambda g: altered(
        g, "ecr/repository:Repository", "", giving(imageTagMutability="MUTABLE")
    ),
    "a repository that cannot be destroyed": lambda g: altered(
        g, "ecr/repository:Repository", "", without("forceDelete")
    ),
    "a log that is kept for ever": lambda g: altered(
        g, "cloudwatch/logGroup:LogGroup", "payment-logs", without("retentionInDays")
    ),
    "a database log without exports": lambda g: altered(
        g, "rds/cluster:Cluster", "", without("enabledCloudwatchLogsExports")
    ),
    "an alarm without an OK action": lambda g: altered(
        g, "cloudwatch/metricAlarm:MetricAlarm", "payment-db-cpu", without("okActions")
    ),
    "a role that may do everything": lambda g: altered(
        g, "iam/rolePolicy:RolePolicy", "payment-worker", all_actions
    ),
    "versions that are never deleted": lambda g: altered(
        g,
        "s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "audit",
        lambda given: (
            given | {"rules": [without("noncurrentVersionExpiration")(given["rules"][0])]}
        ),
    ),
    "a resource without tags": lambda g: altered(
        g, "ecs/cluster:Cluster", "", giving(tags={"Name": "payment-cluster"})
    ),
}


def own(graph: Graph, change: Change | None) -> Graph:
    """The graph with another migration, or with one that waits for nothing."""
    [migration] = [r for r in graph.resources if r.name == "payment-migration-run"]
    if change is None:
        changed = msgspec.structs.replace(migration, depends_on=())
    else:
        changed = msgspec.structs.replace(migration, properties=change(dict(migration.properties)))
    resources = tuple(changed if one is migration else one for one in graph.resources)
    return msgspec.structs.replace(graph, resources=resources)


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_that_is_put_back_is_caught(graph: Graph, trap: str) -> None:
    assert broken(TRAPS[trap](graph)) != {}
