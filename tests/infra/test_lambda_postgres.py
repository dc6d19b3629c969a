"""The lambda-postgres program keeps its promises, in every environment and on every day."""

from collections.abc import Callable

import pytest

from remit_infra.graph.graph import Graph
from remit_infra.model.environments import ConfigurationError
from remit_infra.topologies.lambda_postgres import record_graph
from tests.infra import promises_of_all, promises_of_functions, promises_of_network
from tests.infra.recorded import (
    CERTIFICATE,
    SUFFIXES,
    all_actions,
    altered,
    giving,
    gone,
    ordered,
    recorded_in_2100,
    shape,
    unordered,
    without,
)
from tests.infra.recorded import broken as broken_of

NAMES = {
    "ec2/vpc:Vpc": "payment-vpc-staging-001",
    "rds/instance:Instance": "payment-db-staging-001",
    "lb/loadBalancer:LoadBalancer": "payment-alb-staging-001",
    "apigateway/restApi:RestApi": "payment-api-staging-001",
}


PROMISES = (
    *promises_of_all.PROMISES,
    *promises_of_network.PROMISES,
    *promises_of_functions.PROMISES,
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


def test_every_promise_is_kept_without_a_certificate() -> None:
    assert broken(record_graph("dev")) == {}


def test_environments_differ_in_values_alone(graphs: dict[str, Graph]) -> None:
    dev, staging, prod = (shape(graph) for graph in graphs.values())
    assert dev == staging == prod


def test_two_days_give_the_same_program(graphs: dict[str, Graph]) -> None:
    assert ordered(recorded_in_2100("lambda_postgres")) == ordered(graphs["dev"])


@pytest.mark.parametrize("kind", NAMES)
def test_names_are_those_of_the_contract(graph: Graph, kind: str) -> None:
    [found] = graph.of(f"aws:{kind}")
    assert NAMES[kind] in (
        found.properties["tags"]["Name"],
        found.properties.get("name"),
        found.properties.get("identifier"),
    )


def test_outputs_are_those_of_the_contract(graph: Graph) -> None:
    assert set(graph.outputs) == {
        "vpc_id",
        "rds_endpoint",
        "lambda_function_name",
        "api_gateway_url",
        "alb_dns_name",
        "audit_bucket_name",
        "kms_key_id",
    }
    assert graph.outputs["lambda_function_name"] == "payment-validator-staging-001"


@pytest.mark.parametrize(
    ("suffix", "configuration", "said"),
    [
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
)
def test_what_does_not_fit_is_refused_before_anything_is_built(
    suffix: str, configuration: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        record_graph(suffix, **configuration)


TRAPS: dict[str, Callable[[Graph], Graph]] = {
    "the attachment does not wait for the permission": lambda g: unordered(
        g, "lb/targetGroupAttachment:TargetGroupAttachment", "payment-tg"
    ),
    "the function does not wait for its policy and logs": lambda g: unordered(
        g, "lambda/function:Function", "payment-validator"
    ),
    "the NAT gateway does not wait for the internet gateway": lambda g: altered(
        unordered(unordered(g, "ec2/natGateway:NatGateway", ""), "ec2/eip:Eip", ""),
        "ec2/route:Route",
        "public",
        without("gatewayId"),
    ),
    "a deployment without triggers": lambda g: altered(
        g, "apigateway/deployment:Deployment", "", without("triggers")
    ),
    "a usage plan without a key": lambda g: altered(
        g, "apigateway/usagePlanKey:UsagePlanKey", "", gone
    ),
    "a key that no method requires": lambda g: altered(
        g, "apigateway/method:Method", "post-validate", giving(apiKeyRequired=False)
    ),
    "a validator without a model": lambda g: altered(
        g, "apigateway/method:Method", "post-validate", without("requestModels")
    ),
    "a model without a validator": lambda g: altered(
        g, "apigateway/method:Method", "post-validate", without("requestValidatorId")
    ),
    "an access log that no stage names": lambda g: altered(
        g, "apigateway/stage:Stage", "", without("accessLogSettings")
    ),
    "a database log without exports": lambda g: altered(
        g, "rds/instance:Instance", "", without("enabledCloudwatchLogsExports")
    ),
    "throttling that is not in force": lambda g: altered(
        g, "apigateway/methodSettings:MethodSettings", "", gone
    ),
    "a bucket that cannot be destroyed": lambda g: altered(
        g, "s3/bucket:Bucket", "audit", without("forceDestroy")
    ),
    "versions that are never deleted": lambda g: altered(
        g,
        "s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "audit",
        lambda given: (
            given | {"rules": [without("noncurrentVersionExpiration")(given["rules"][0])]}
        ),
    ),
    "failures that nobody counts": lambda g: altered(
        g, "cloudwatch/metricAlarm:MetricAlarm", "payment-messages-failed", gone
    ),
    "an alarm without an OK action": lambda g: altered(
        g, "cloudwatch/metricAlarm:MetricAlarm", "payment-db-cpu", without("okActions")
    ),
    "a public database": lambda g: altered(
        g, "rds/instance:Instance", "", giving(publiclyAccessible=True)
    ),
    "a subnet with public addresses": lambda g: altered(
        g, "ec2/subnet:Subnet", "public-subnet-1", giving(mapPublicIpOnLaunch=True)
    ),
    "one NAT gateway for all": lambda g: altered(
        g,
        "ec2/route:Route",
        "private-route",
        giving(natGatewayId="${aws_nat_gateway.payment-nat-1.id}"),
    ),
    "a database open to the network": lambda g: altered(
        g,
        "vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        "payment-db",
        giving(referencedSecurityGroupId="", cidrIpv4="10.0.0.0/16"),
    ),
    "a role that may do everything": lambda g: altered(
        g, "iam/rolePolicy:RolePolicy", "payment-validator", all_actions
    ),
    "aliases that do not wait for the migration": lambda g: unordered(
        g, "lambda/alias:Alias", "payment-validator"
    ),
    "a timeout beyond API Gateway's": lambda g: altered(
        g, "lambda/function:Function", "payment-validator", giving(timeout=60)
    ),
    "functions outside the network": lambda g: altered(
        g, "lambda/function:Function", "payment-validator", without("vpcConfig")
    ),
    "a password in the program": lambda g: altered(
        g, "rds/instance:Instance", "", giving(password=CERTIFICATE)
    ),
    "TLS that is not forced": lambda g: altered(
        g, "rds/parameterGroup:ParameterGroup", "", giving(parameters=[])
    ),
    "a resource without tags": lambda g: altered(
        g, "ec2/vpc:Vpc", "", giving(tags={"Name": "payment-vpc"})
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_that_is_put_back_is_caught(graph: Graph, trap: str) -> None:
    assert broken(TRAPS[trap](graph)) != {}
