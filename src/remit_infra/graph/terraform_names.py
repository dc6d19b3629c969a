"""The names of Terraform's AWS provider for the types and properties of Pulumi's.

Pulumi names types by module and class, and properties in camel case with lists in the plural. The
tables hold the exceptions to these rules. The provider rejects a name that is wrong.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

MODULES: Mapping[str, str] = MappingProxyType(
    {"apigateway": "api_gateway_", "ec2": "", "rds": "db_"}
)
"""The prefix of types after `aws_`, by Pulumi's module, where it is not the module's name."""

DYNAMIC_RESOURCE = "pulumi-python:dynamic:Resource"
"""A Pulumi resource with code of its own. Terraform can keep its inputs and not run it."""

TYPES: Mapping[str, str] = MappingProxyType(
    {
        "aws:apigateway/response:Response": "aws_api_gateway_gateway_response",
        "aws:codedeploy/application:Application": "aws_codedeploy_app",
        "aws:lb/loadBalancer:LoadBalancer": "aws_lb",
        "aws:rds/cluster:Cluster": "aws_rds_cluster",
        "aws:rds/clusterInstance:ClusterInstance": "aws_rds_cluster_instance",
        "aws:rds/clusterParameterGroup:ClusterParameterGroup": "aws_rds_cluster_parameter_group",
        "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": "aws_sqs_queue_redrive_allow_policy",
        DYNAMIC_RESOURCE: "terraform_data",
    }
)
"""Exceptions to the rule for types."""

PLURAL = frozenset(
    {
        "actions",
        "conditions",
        "capacityProviderStrategies",
        "defaultActions",
        "encryptionConfigurations",
        "loadBalancers",
        "logDeliveryConfigurations",
        "masterUserSecrets",
        "metricQueries",
        "parameters",
        "ruleActionOverrides",
        "rules",
    }
)
"""Lists of blocks that Terraform names in the singular."""

RENAMED: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("aws:apigateway/deployment:Deployment", "restApi"): "rest_api_id",
        ("aws:apigateway/integration:Integration", "restApi"): "rest_api_id",
        ("aws:apigateway/method:Method", "restApi"): "rest_api_id",
        ("aws:apigateway/methodSettings:MethodSettings", "restApi"): "rest_api_id",
        ("aws:apigateway/model:Model", "restApi"): "rest_api_id",
        ("aws:apigateway/requestValidator:RequestValidator", "restApi"): "rest_api_id",
        ("aws:apigateway/resource:Resource", "restApi"): "rest_api_id",
        ("aws:apigateway/stage:Stage", "restApi"): "rest_api_id",
        ("aws:apigateway/stage:Stage", "deployment"): "deployment_id",
        ("aws:cloudwatch/metricAlarm:MetricAlarm", "name"): "alarm_name",
        ("aws:ecs/cluster:Cluster", "settings"): "setting",
        ("aws:lambda/function:Function", "name"): "function_name",
        ("aws:lambda/permission:Permission", "function"): "function_name",
        ("aws:sns/topicSubscription:TopicSubscription", "topic"): "topic_arn",
    }
)
"""Exceptions to the rule for properties, by type and Pulumi's name."""


def type_of(token: str) -> str:
    """Terraform's type: `aws:ec2/natGateway:NatGateway` is `aws_nat_gateway`."""
    if token in TYPES:
        return TYPES[token]
    _, path, class_ = token.split(":")
    module = path.partition("/")[0]
    return f"aws_{MODULES.get(module, f'{module}_')}{snake(class_)}"


def attribute_of(token: str, name: str) -> str:
    """Terraform's name of a type's property: `restApi` of a method is `rest_api_id`."""
    return RENAMED.get((token, name)) or block_of(name)


def block_of(name: str) -> str:
    """Terraform's name of a nested property: `metricQueries` are blocks `metric_query`."""
    if name not in PLURAL:
        return snake(name)
    return re.sub("ie$", "y", snake(name).removesuffix("s"))


def snake(name: str) -> str:
    """Camel case as snake case: `enableDnsSupport` is `enable_dns_support`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
