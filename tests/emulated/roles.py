"""Roles with one action less: in a policy, in a recorded program, and on the emulator."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from remit_infra.emulated.emulator import BATCHES
from remit_infra.graph.graph import Graph
from remit_infra.model.permissions import Statement


def less(document: dict[str, Any], statement: Statement, action: str) -> dict[str, Any]:
    """The policy without the action in that statement, and with all else that is in it."""
    kept = []
    for one in document["Statement"]:
        listed = [one["Action"]] if isinstance(one["Action"], str) else one["Action"]
        actions = listed
        if one["Sid"] == statement.sid:
            actions = [a for a in listed if a not in (action, BATCHES.get(action))]
            assert len(actions) < len(listed)
        if actions:
            kept.append({**one, "Action": actions})
    return {**document, "Statement": kept}


def with_less(graph: Graph, role: str, statement: Statement, action: str) -> Graph:
    """The program in which the role may not do this."""
    resources = []
    for resource in graph.resources:
        made = resource
        if resource.name == f"{role}-policy":
            policy = less(json.loads(resource.properties["policy"]), statement, action)
            properties = {**resource.properties, "policy": json.dumps(policy)}
            made = msgspec.structs.replace(resource, properties=properties)
        resources.append(made)
    return msgspec.structs.replace(graph, resources=tuple(resources))


@contextmanager
def lacking(iam: Any, name: str, statement: Statement, action: str) -> Iterator[None]:
    """The role, whose policy has its name, without the action; and with it again, come what may."""
    document = iam.get_role_policy(RoleName=name, PolicyName=name)["PolicyDocument"]
    fewer = less(document, statement, action)
    if fewer["Statement"]:
        iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=json.dumps(fewer))
    else:
        # A policy has a statement at least.
        iam.delete_role_policy(RoleName=name, PolicyName=name)
    try:
        yield
    finally:
        iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=json.dumps(document))
