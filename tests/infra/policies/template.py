"""A CloudFormation template's graph in the words of Pulumi's provider, in which policies are said.

Only what policies look at has to come out as Pulumi says it: types, the names of properties, a
policy as text, and a bucket in the parts that Pulumi makes it of.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from remit_infra.graph.graph import Graph, Resource

TYPES = {
    "AWS::ApiGateway::GatewayResponse": "aws:apigateway/response:Response",
    "AWS::CloudWatch::Alarm": "aws:cloudwatch/metricAlarm:MetricAlarm",
    "AWS::Events::Rule": "aws:cloudwatch/eventRule:EventRule",
    "AWS::IAM::ManagedPolicy": "aws:iam/rolePolicy:RolePolicy",
    "AWS::Logs::LogGroup": "aws:cloudwatch/logGroup:LogGroup",
    "AWS::SNS::Subscription": "aws:sns/topicSubscription:TopicSubscription",
    "AWS::WAFv2::LoggingConfiguration": (
        "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration"
    ),
    "AWS::WAFv2::WebACL": "aws:wafv2/webAcl:WebAcl",
    "AWS::WAFv2::WebACLAssociation": "aws:wafv2/webAclAssociation:WebAclAssociation",
}
"""Types that the rule does not name: `AWS::KMS::Key` is `aws:kms/key:Key`."""

RENAMED = {
    "accessLogSetting": "accessLogSettings",
    "alarmName": "name",
    "aliasName": "name",
    "deploymentId": "deployment",
    "keyPolicy": "policy",
    "logGroupName": "name",
    "messageRetentionPeriod": "messageRetentionSeconds",
    "oKActions": "okActions",
    "policyDocument": "policy",
    "queueName": "name",
    "tableName": "name",
    "topicName": "name",
    "tracingEnabled": "xrayTracingEnabled",
    "visibilityTimeout": "visibilityTimeoutSeconds",
}
"""What Pulumi calls a property besides its first letter."""

TEXTS = frozenset({"policy", "redrivePolicy"})
"""Properties that are a document in CloudFormation, and a text with one in Pulumi."""

MAPS = frozenset({"variables", "requestModels"})
"""Properties whose keys are the user's own words."""


def in_pulumis_words(graph: Graph) -> Graph:
    """The graph of a template, as a Pulumi program of the same would have it."""
    resources = [part for resource in graph.resources for part in _parts(resource)]
    return msgspec.structs.replace(graph, resources=tuple(resources))


def _parts(resource: Resource) -> Iterator[Resource]:
    properties = _renamed(resource.properties)
    if tags := properties.get("tags"):
        properties["tags"] = {one["key"]: one["value"] for one in tags}
    split = _SPLIT.get(resource.type)
    extra = list(split(properties)) if split else []
    yield msgspec.structs.replace(resource, type=_type_of(resource.type), properties=properties)
    for type_, name, given in extra:
        yield Resource(type=f"aws:{type_}", name=f"{resource.name}-{name}", properties=given)


def _type_of(type_: str) -> str:
    if type_ in TYPES:
        return TYPES[type_]
    _, service, class_ = type_.split("::")
    return f"aws:{service.lower()}/{class_[0].lower()}{class_[1:]}:{class_}"


def _renamed(value: Any) -> Any:
    match value:
        case dict():
            return {name: one for key, given in value.items() for name, one in [_named(key, given)]}
        case list():
            return [_renamed(one) for one in value]
        case _:
            return value


def _named(key: str, value: Any) -> tuple[str, Any]:
    name = f"{key[0].lower()}{key[1:]}"
    name = RENAMED.get(name, name)
    if name in TEXTS:
        return name, json.dumps(value)
    return name, value if name in MAPS else _renamed(value)


Part = tuple[str, str, dict[str, Any]]


def _bucket(given: dict[str, Any]) -> Iterator[Part]:
    """Takes out of a bucket what Pulumi has as resources beside it."""
    bucket = {"bucket": given.get("bucketName")}
    for name, type_ in {
        "versioningConfiguration": "s3/bucketVersioning:BucketVersioning",
        "publicAccessBlockConfiguration": "s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "bucketEncryption": (
            "s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
        ),
        "lifecycleConfiguration": "s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    }.items():
        if name not in given:
            continue
        found = given.pop(name)
        if name == "versioningConfiguration":
            found = {name: found}
        for rule in found.get("rules", []):
            if "expirationInDays" in rule:
                rule["expiration"] = {"days": rule.pop("expirationInDays")}
        yield type_, type_.partition(":")[2], found | bucket


def _stage(given: dict[str, Any]) -> Iterator[Part]:
    for number, settings in enumerate(given.pop("methodSettings", [])):
        path = f"{settings.get('resourcePath', '')}/{settings.get('httpMethod', '')}"
        found = {"methodPath": path.removeprefix("/"), "settings": settings}
        yield "apigateway/methodSettings:MethodSettings", f"settings-{number}", found


def _function(given: dict[str, Any]) -> Iterator[Part]:
    given["name"] = given.pop("functionName")
    return iter(())


def _policy(given: dict[str, Any]) -> Iterator[Part]:
    [given["role"]] = given.pop("roles")
    return iter(())


_SPLIT: dict[str, Callable[[dict[str, Any]], Iterator[Part]]] = {
    "AWS::ApiGateway::Stage": _stage,
    "AWS::IAM::ManagedPolicy": _policy,
    "AWS::Lambda::Function": _function,
    "AWS::S3::Bucket": _bucket,
}
"""By type, what takes parts out of a resource's properties, and names the rest as Pulumi does."""
