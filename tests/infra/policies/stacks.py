"""What a stack as a whole must be: tagged, gone when it is destroyed, known by its outputs."""

import importlib
from collections.abc import Iterator
from functools import cache

from remit_infra.graph.graph import Graph
from tests.infra.graphs import of
from tests.infra.policies.policy import DYNAMODB, EVERY, FARGATE, POSTGRES, PULUMI, policy

TAGS = {"Environment", "ManagedBy", "MigrationDate", "Name", "Project"}

PROTECTED = {
    "lb/loadBalancer:LoadBalancer": "enableDeletionProtection",
    "dynamodb/table:Table": "deletionProtectionEnabled",
    "rds/instance:Instance": "deletionProtection",
    "rds/cluster:Cluster": "deletionProtection",
}
"""By type, what protects a resource from being deleted: in prod alone."""


@cache
def takes_tags(token: str) -> bool:
    """Whether Pulumi's AWS provider has tags for the type."""
    if not token.startswith("aws:"):
        return False
    _, path, class_ = token.split(":")
    module = path.partition("/")[0]
    package = importlib.import_module(f"pulumi_aws.{'lambda_' if module == 'lambda' else module}")
    return hasattr(getattr(package, class_), "tags")


@policy(*EVERY)
def everything_is_tagged(graph: Graph) -> Iterator[str]:
    for resource in graph.resources:
        tags = resource.properties.get("tags")
        if takes_tags(resource.type) and set(tags or ()) != TAGS:
            yield f"{resource.name} is tagged {sorted(tags or ())}"


@policy(*EVERY)
def nothing_is_kept_when_the_stack_goes(graph: Graph) -> Iterator[str]:
    for resource in graph.resources:
        if resource.kept or resource.properties.get("skipDestroy"):
            yield f"{resource.name} stays"
    for kind, protection in PROTECTED.items():
        for resource in of(graph, kind):
            if resource.properties.get(protection, False) is not (graph.suffix == "prod"):
                yield f"{resource.name} is protected where it should not be, or is not in prod"


@policy(*PULUMI)
def what_holds_data_can_be_destroyed_with_it(graph: Graph) -> Iterator[str]:
    """CloudFormation cannot: there `remit destroy` empties buckets first."""
    for kind, force in (
        ("s3/bucket:Bucket", "forceDestroy"),
        ("ecr/repository:Repository", "forceDelete"),
    ):
        for resource in of(graph, kind):
            if not resource.properties.get(force):
                yield f"{resource.name} cannot be destroyed with data in it"


OUTPUTS = {
    DYNAMODB: {"APIEndpoint", "TransactionsTableName", "AlarmTopicArn", "DashboardName"},
    POSTGRES: {
        *("vpc_id", "rds_endpoint", "lambda_function_name", "api_gateway_url", "alb_dns_name"),
        *("audit_bucket_name", "kms_key_id"),
    },
    FARGATE: {
        *("alb_dns_name", "database_endpoint", "cache_endpoint", "payment_queue_url", "vpc_id"),
        *("cluster_name", "service_name"),
    },
}


@policy(*EVERY)
def callers_get_the_outputs(graph: Graph) -> Iterator[str]:
    if set(graph.outputs) != OUTPUTS[graph.topology]:
        yield f"the outputs are {sorted(graph.outputs)}"
