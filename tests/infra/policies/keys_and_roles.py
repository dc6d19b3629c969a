"""Keys of KMS, and what roles may do."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from remit_infra.graph.graph import Graph, references
from remit_infra.model.permissions import (
    FARGATE_AURORA,
    LAMBDA_DYNAMODB,
    LAMBDA_POSTGRES,
    REGISTRY_LOGIN,
    Statement,
)
from tests.infra.graphs import of
from tests.infra.policies.policy import DYNAMODB, EVERY, FARGATE, LAMBDA, POSTGRES, policy

ON_ANYTHING: Mapping[str, Statement] = {
    one.sid: one
    for one in (
        REGISTRY_LOGIN,
        *(
            statement
            for roles in (FARGATE_AURORA, LAMBDA_DYNAMODB, LAMBDA_POSTGRES)
            for statements in roles.values()
            for statement in statements
        ),
    )
    if one.why_any is not None
}
"""The statements for which `permissions.py` says why no resource can be named."""

LAMBDA_ACTIONS = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
"""What Lambda does with a function's role: log and trace."""

NETWORK_ACTIONS = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
}
"""And how it puts a function into a network."""

STREAM_ACTIONS = {
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
}
QUEUE_ACTIONS = {"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"}
"""What Lambda asks of the role before it reads a stream or a queue for a function."""


def data_key(graph: Graph) -> set[str]:
    """The customer's key that data at rest is encrypted with, by its alias."""
    aliases = of(graph, "kms/alias:Alias")
    found = [a.properties for a in aliases if a.properties["name"].startswith("alias/payment-data")]
    return {name for alias in found for name in references(alias["targetKeyId"])}


def statements_of(graph: Graph, role: str) -> list[dict[str, Any]]:
    """What the policies of a role say, by the role's name in the program."""
    return [
        statement
        for policy in of(graph, "iam/rolePolicy:RolePolicy")
        if role in references(policy.properties["role"]) | set(policy.depends_on)
        for statement in json.loads(policy.properties["policy"])["Statement"]
    ]


def actions_of(graph: Graph, function: Mapping[str, Any]) -> set[str]:
    """What the role of a function or a task may do, wherever."""
    roles = references(function.get("role") or function.get("taskRoleArn", ""))
    found = [statement for role in roles for statement in statements_of(graph, role)]
    return {action for statement in found for action in listed(statement["Action"])}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


SPECS = {"GENERATE_VERIFY_MAC": "HMAC_256", "SIGN_VERIFY": "ECC_NIST_P256"}
"""The keys that KMS cannot rotate: for digests and for signatures."""


@policy(*EVERY)
def keys_rotate_and_have_policies_and_aliases(graph: Graph) -> Iterator[str]:
    keys = of(graph, "kms/key:Key")
    for key in keys:
        spec = SPECS.get(key.properties.get("keyUsage", ""), "SYMMETRIC_DEFAULT")
        spec_name = "keySpec" if graph.topology == DYNAMODB else "customerMasterKeySpec"
        if key.properties.get(spec_name, "SYMMETRIC_DEFAULT") != spec:
            yield f"{key.name} is not of the kind {spec}"
        if key.properties.get("enableKeyRotation", False) is (spec != "SYMMETRIC_DEFAULT"):
            yield f"{key.name} does not rotate"
        if not json.loads(key.properties.get("policy", "{}")):
            yield f"{key.name} has no policy"
    aliases = of(graph, "kms/alias:Alias")
    named = {name for one in aliases for name in references(one.properties["targetKeyId"])}
    if named != {key.name for key in keys} or len(aliases) != len(keys):
        yield "a key has no alias"


@policy(*EVERY)
def no_role_may_do_everything(graph: Graph) -> Iterator[str]:
    for given in of(graph, "iam/rolePolicy:RolePolicy"):
        for statement in json.loads(given.properties["policy"])["Statement"]:
            actions = set(listed(statement["Action"]))
            if any("*" in action for action in actions):
                yield f"{given.name} allows {sorted(actions)}"
            if "*" not in listed(statement["Resource"]):
                continue
            reason = ON_ANYTHING.get(statement.get("Sid", ""))
            if reason is None or not actions <= set(reason.actions):
                yield f"{given.name} allows {sorted(actions)} on everything"


@policy(*LAMBDA)
def lambda_may_do_its_part_for_every_function(graph: Graph) -> Iterator[str]:
    needed = LAMBDA_ACTIONS | (NETWORK_ACTIONS if graph.topology == POSTGRES else set())
    for function in of(graph, "lambda/function:Function"):
        if missing := needed - actions_of(graph, function.properties):
            yield f"{function.name} lacks {sorted(missing)}"
    for source in of(graph, "lambda/eventSourceMapping:EventSourceMapping"):
        is_stream = "startingPosition" in source.properties
        [name] = references(source.properties["functionName"])
        [function] = [f for f in of(graph, "lambda/function:Function") if f.name == name]
        wanted = STREAM_ACTIONS if is_stream else QUEUE_ACTIONS
        if not wanted <= actions_of(graph, function.properties):
            yield f"{source.name} may not be read"


@policy(FARGATE)
def tasks_may_open_the_cache_and_send_traces(graph: Graph) -> Iterator[str]:
    for role in ("payment-api", "payment-worker"):
        allowed = {
            action: references(statement["Resource"])
            for statement in statements_of(graph, f"{role}-role")
            for action in statement["Action"]
        }
        if allowed.get("elasticache:Connect") != {"payment-cache", "payment-cache-user"}:
            yield f"{role} may not open the cache, or others too"
        if "xray:PutTraceSegments" not in allowed:
            yield f"{role} may not send traces"
