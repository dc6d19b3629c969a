"""A topology's resources as data: what can be looked at, priced, drawn, scanned and proven without
an account. From a Pulumi program, which is run against a recorder, or from a CDK template.

What is only known once a resource is there, its ARN say, stands as Terraform writes it:
`${aws_sns_topic.payment-alarms.arn}`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

REFERENCE = re.compile(r"\$\{(aws_[a-z0-9_]+)\.([A-Za-z0-9_-]+)\.([^}]*)\}")
"""Type, name and attribute of another resource."""


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One resource: its type as the tool has it, its name in the program, what it was given.

    `depends_on` and `parent` are names; what `properties` refer to is not repeated there.
    """

    type: str
    name: str
    properties: dict[str, Any]
    depends_on: tuple[str, ...] = ()
    parent: str | None = None
    ignores: tuple[str, ...] = ()


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one deployment of a topology, in the order of its making."""

    topology: str
    suffix: str
    resources: tuple[Resource, ...]
    components: dict[str, str] = {}
    outputs: dict[str, str] = {}

    def of(self, *types: str) -> list[Resource]:
        return [resource for resource in self.resources if resource.type in types]

    def edges(self) -> list[tuple[str, str]]:
        """Who needs whom, by name: by a reference, or by order alone."""
        known = {resource.name for resource in self.resources}
        found = {
            (resource.name, other)
            for resource in self.resources
            for other in (*references(resource.properties), *resource.depends_on)
            if other in known and other != resource.name
        }
        return sorted(found)


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
"""AWS's name of a service, by the word that either tool has for it."""


def service_of(type_: str) -> str:
    """The service that a type belongs to: `aws:lb/listener:Listener` and `AWS::WAFv2::WebACL`."""
    if type_.startswith("aws:cloudwatch/event"):
        return "EventBridge"
    if type_.startswith("aws:rds/cluster"):
        return "Aurora"
    word = type_.replace("::", ":").split(":")[1].partition("/")[0]
    return SERVICES.get(word.lower(), word)


def references(value: object) -> set[str]:
    """The names of the resources that a value refers to, however deep."""
    match value:
        case str():
            return {match[2] for match in REFERENCE.finditer(value)}
        case Mapping():
            return {name for one in value.values() for name in references(one)}
        case Sequence():
            return {name for one in value for name in references(one)}
        case _:
            return set()


def graph_of_template(topology: str, suffix: str, template: Mapping[str, Any]) -> Graph:
    """The graph of a CloudFormation template. `Ref` and `Fn::GetAtt` are its references."""
    resources = template["Resources"]
    return Graph(
        topology=topology,
        suffix=suffix,
        resources=tuple(
            Resource(
                type=resource["Type"],
                name=name,
                properties=_without_functions(resource.get("Properties", {}), resources),
                depends_on=_named(resource.get("DependsOn", ())),
            )
            for name, resource in resources.items()
        ),
        outputs={name: str(one["Value"]) for name, one in template.get("Outputs", {}).items()},
    )


def _named(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _without_functions(value: Any, resources: Mapping[str, Any]) -> Any:
    """CloudFormation's functions over resources, as references."""
    match value:
        case {"Ref": str(name)} if name in resources:
            return _reference(name, "id")
        case {"Fn::GetAtt": [str(name), str(attribute)]} if name in resources:
            return _reference(name, attribute)
        case dict():
            return {key: _without_functions(one, resources) for key, one in value.items()}
        case list():
            return [_without_functions(one, resources) for one in value]
        case _:
            return value


def _reference(name: str, attribute: str) -> str:
    return f"${{aws_resource.{name}.{attribute}}}"
