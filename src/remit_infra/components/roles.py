"""Roles and policies out of the statements in `permissions.py`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.model.environments import Names
from remit_infra.model.permissions import Statement

VERSION = "2012-10-17"


def _trusting(service: str, account: str | None) -> str:
    """Who may take a role: one of AWS's services; for this account alone, where it says for whom
    it asks.
    """
    allowed: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    if account is not None:
        allowed["Condition"] = {"StringEquals": {"aws:SourceAccount": account}}
    return json.dumps({"Version": VERSION, "Statement": [allowed]})


def make_role(
    names: Names,
    name: str,
    *,
    service: str,
    account: str | None = None,
    opts: pulumi.ResourceOptions | None = None,
) -> aws.iam.Role:
    """A role for one of AWS's services, which is allowed nothing yet."""
    return aws.iam.Role(
        f"{name}-role",
        name=names("role", name),
        assume_role_policy=_trusting(service, account),
        opts=opts,
    )


def make_roles(
    names: Names, users: Iterable[str], *, service: str, account: str | None = None
) -> dict[str, aws.iam.Role]:
    """A role for each, before there is anything that it could be allowed."""
    return {user: make_role(names, user, service=service, account=account) for user in users}


def tls_only(action: str) -> dict[str, Any]:
    """Nobody does this over a connection that can be read on its way."""
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def policy_on(
    resource: pulumi.Input[Any], statements: Iterable[Mapping[str, Any]]
) -> pulumi.Output[str]:
    """The policy of a resource: all its statements are about it."""
    return pulumi.Output.json_dumps(
        {
            "Version": VERSION,
            "Statement": [{**one, "Resource": resource} for one in statements],
        }
    )


def document(
    statements: Sequence[Statement], resources: Mapping[str, pulumi.Input[str]]
) -> pulumi.Output[str]:
    """The policy that allows these, each word for a resource replaced by what it stands for."""
    return pulumi.Output.json_dumps(
        {"Version": VERSION, "Statement": [_statement(one, resources) for one in statements]}
    )


def _statement(one: Statement, resources: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    conditions: dict[str, dict[str, str]] = {}
    for operator, key, value in one.conditions:
        conditions.setdefault(operator, {})[key] = value
    allowed: dict[str, Any] = {
        "Sid": one.sid,
        "Effect": "Allow",
        "Action": list(one.actions),
        "Resource": [resources[resource] for resource in one.resources],
    }
    return allowed | ({"Condition": conditions} if conditions else {})


def service_role(
    names: Names,
    name: str,
    *,
    service: str,
    statements: Sequence[Statement],
    resources: Mapping[str, pulumi.Input[str]],
    account: str | None = None,
    opts: pulumi.ResourceOptions | None = None,
) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
    """A role for one of AWS's services, with a policy of its own."""
    role = make_role(names, name, service=service, account=account, opts=opts)
    policy = aws.iam.RolePolicy(
        f"{name}-policy",
        name=name,
        role=role.name,
        policy=document(statements, resources),
        opts=opts,
    )
    return role, policy
