"""Roles with one action less, in a policy and in a recorded program."""

import json
from typing import Any

import msgspec

from remit_infra.emulated.emulator import BATCHES
from remit_infra.graph import Graph
from remit_infra.permissions import Statement


def less(document: dict[str, Any], statement: Statement, action: str) -> dict[str, Any]:
    """The policy without the action in that statement, and with all else that is in it."""
    kept = []
    for one in document["Statement"]:
        actions = one["Action"]
        if one["Sid"] == statement.sid:
            actions = [a for a in actions if a not in (action, BATCHES.get(action))]
            assert len(actions) < len(one["Action"])
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
