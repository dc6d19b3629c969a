"""IAM roles and policies, made from the statements in `model/permissions.py`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Context
from remit_infra.model.environments import Names
from remit_infra.model.permissions import Statement

POLICY_VERSION = "2012-10-17"


@dataclass(frozen=True, kw_only=True)
class RolePermissions:
    """A role and what it may do: `resources` gives the ARN for each word of the statements."""

    role: aws.iam.Role
    statements: Sequence[Statement]
    resources: Mapping[str, pulumi.Input[str]]


def _trust_policy(service: str, account: str | None) -> str:
    """Lets one of AWS's services assume a role. With `account`, only on behalf of that account:
    not every service says on whose behalf it asks.
    """
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    if account is not None:
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": account}}
    return json.dumps({"Version": POLICY_VERSION, "Statement": [statement]})


def make_role(
    names: Names,
    name: str,
    *,
    service: str,
    account: str | None = None,
    opts: pulumi.ResourceOptions | None = None,
) -> aws.iam.Role:
    """A role for one of AWS's services, without permissions."""
    return aws.iam.Role(
        f"{name}-role",
        name=names("role", name),
        assume_role_policy=_trust_policy(service, account),
        opts=opts,
    )


def make_roles(
    names: Names, role_names: Iterable[str], *, service: str, account: str | None = None
) -> dict[str, aws.iam.Role]:
    """Roles without permissions, by name. The key policy needs them before any other resource."""
    return {name: make_role(names, name, service=service, account=account) for name in role_names}


def make_service_role(
    context: Context,
    name: str,
    *,
    service: str,
    statements: Sequence[Statement],
    resources: Mapping[str, pulumi.Input[str]],
    opts: pulumi.ResourceOptions | None = None,
) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
    """A role that one of AWS's services assumes for this account, and its policy."""
    account = context.aws_environment.account
    role = make_role(context.names, name, service=service, account=account, opts=opts)
    policy = aws.iam.RolePolicy(
        f"{name}-policy",
        name=name,
        role=role.name,
        policy=policy_document(statements, resources),
        opts=opts,
    )
    return role, policy


def policy_document(
    statements: Sequence[Statement], resources: Mapping[str, pulumi.Input[str]]
) -> pulumi.Output[str]:
    """The policy of these statements, with the ARN for each word."""
    return pulumi.Output.json_dumps(
        {
            "Version": POLICY_VERSION,
            "Statement": [_statement(statement, resources) for statement in statements],
        }
    )


def _statement(statement: Statement, resources: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    conditions: dict[str, dict[str, str]] = {}
    for operator, key, value in statement.conditions:
        conditions.setdefault(operator, {})[key] = value
    rendered: dict[str, Any] = {
        "Sid": statement.sid,
        "Effect": "Allow",
        "Action": list(statement.actions),
        "Resource": [resources[resource] for resource in statement.resources],
    }
    return rendered | ({"Condition": conditions} if conditions else {})


def resource_policy(
    resource: pulumi.Input[Any], statements: Iterable[Mapping[str, Any]]
) -> pulumi.Output[str]:
    """A policy that is attached to a resource: every statement is about that resource."""
    return pulumi.Output.json_dumps(
        {
            "Version": POLICY_VERSION,
            "Statement": [{**statement, "Resource": resource} for statement in statements],
        }
    )


def tls_only(action: str) -> dict[str, Any]:
    """A statement that denies the action over an unencrypted connection."""
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
