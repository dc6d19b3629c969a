"""The graph of a topology: its resources as data, from a recorded Pulumi program or a CDK template.

It can be priced, drawn, scanned and tested without an account. A value that exists only once a
resource does, such as its ARN, is a reference in Terraform's form:
`${aws_sns_topic.payment-alarms.arn}`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

REFERENCE = re.compile(r"\$\{(aws_[a-z0-9_]+)\.([A-Za-z0-9_-]+)\.([^}]*)\}")
"""A reference: the type, name and attribute of another resource."""


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One resource: the tool's type, the name in the program, the properties it was given.

    `depends_on` and `parent` are names. `depends_on` leaves out what `properties` refer to.
    `ignores` are the properties whose changes the tool ignores.
    `kept`: it stays when the stack is destroyed, or keeps the stack from being destroyed.
    """

    type: str
    name: str
    properties: dict[str, Any]
    depends_on: tuple[str, ...] = ()
    parent: str | None = None
    ignores: tuple[str, ...] = ()
    kept: bool = False


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """The resources of one deployment of a topology, in the order in which they were registered.

    `components` are the types of Pulumi's component resources, by name.
    """

    topology: str
    suffix: str
    resources: tuple[Resource, ...]
    components: dict[str, str] = {}
    outputs: dict[str, str] = {}

    def of(self, *types: str) -> list[Resource]:
        """The resources of these types."""
        return [resource for resource in self.resources if resource.type in types]

    def edges(self) -> list[tuple[str, str]]:
        """The names of each resource and one that it needs, by a reference or by `depends_on`."""
        names = {resource.name for resource in self.resources}
        edges = {
            (resource.name, other)
            for resource in self.resources
            for other in (*references(resource.properties), *resource.depends_on)
            if other in names and other != resource.name
        }
        return sorted(edges)


SERVICES: Mapping[str, str] = {
    "apigateway": "API Gateway",
    "appautoscaling": "Auto Scaling",
    "cloudwatch": "CloudWatch",
    "codedeploy": "CodeDeploy",
    "dynamodb": "DynamoDB",
    "dynamic": "Fargate",
    "ec2": "VPC",
    "ecr": "ECR",
    "ecs": "Fargate",
    "elasticache": "ElastiCache",
    "events": "EventBridge",
    "iam": "IAM",
    "kms": "KMS",
    "lambda": "Lambda",
    "lb": "ELB",
    "logs": "CloudWatch",
    "rds": "RDS",
    "route53": "Route 53",
    "s3": "S3",
    "sns": "SNS",
    "sqs": "SQS",
    "vpc": "VPC",
    "wafv2": "WAF",
}
"""AWS's name of a service, by the tools' word for it."""


def service_of(type_: str) -> str:
    """The service of a type such as `aws:lb/listener:Listener` or `AWS::WAFv2::WebACL`."""
    if type_.startswith("aws:cloudwatch/event"):
        return "EventBridge"
    if type_.startswith("aws:rds/cluster"):
        return "Aurora"
    word = type_.replace("::", ":").split(":")[1].partition("/")[0]
    return SERVICES.get(word.lower(), word)


def references(value: object) -> set[str]:
    """The names of the resources to which a value refers, at any depth."""
    match value:
        case str():
            return {match[2] for match in REFERENCE.finditer(value)}
        case Mapping():
            return {name for item in value.values() for name in references(item)}
        case Sequence():
            return {name for item in value for name in references(item)}
        case _:
            return set()


def graph_of_template(topology: str, suffix: str, template: Mapping[str, Any]) -> Graph:
    """The graph of a CloudFormation template, with `Ref` and `Fn::GetAtt` as references."""
    resources = template["Resources"]
    return Graph(
        topology=topology,
        suffix=suffix,
        resources=tuple(
            Resource(
                type=resource["Type"],
                name=name,
                properties=_without_functions(resource.get("Properties", {}), resources),
                depends_on=_as_tuple(resource.get("DependsOn", ())),
                kept=resource.get("DeletionPolicy", "Delete") != "Delete",
            )
            for name, resource in resources.items()
        ),
        outputs={
            name: str(output["Value"]) for name, output in template.get("Outputs", {}).items()
        },
    )


def _as_tuple(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _without_functions(value: Any, resources: Mapping[str, Any]) -> Any:
    """The value, with CloudFormation's functions over resources as references."""
    match value:
        case {"Ref": str(name)} if name in resources:
            return _reference(name, "id")
        case {"Fn::GetAtt": [str(name), str(attribute)]} if name in resources:
            return _reference(name, attribute)
        case dict():
            return {key: _without_functions(item, resources) for key, item in value.items()}
        case list():
            return [_without_functions(item, resources) for item in value]
        case _:
            return value


def _reference(name: str, attribute: str) -> str:
    return f"${{aws_resource.{name}.{attribute}}}"
