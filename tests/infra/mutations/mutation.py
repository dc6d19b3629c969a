"""A mutation: a graph with one fault put into it, which a policy must name."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from remit_infra.graph.graph import Graph, Resource
from tests.infra.policies.policy import Policy

Change = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Makes other properties of a resource's; None takes the resource away."""

Mutate = Callable[[Graph], Graph]


class Mutation(NamedTuple):
    """What it does to a graph of these topologies breaks the policy."""

    policy: Policy
    topologies: tuple[str, ...]
    mutate: Mutate


def altered(kind: str, name: str, change: Change) -> Mutate:
    """Changes the properties of the resources of a type whose names contain `name`."""

    def alter(resource: Resource) -> Resource | None:
        properties = change(dict(resource.properties))
        return None if properties is None else _with(resource, properties=properties)

    return lambda graph: _each(graph, kind, name, alter)


def unordered(kind: str, name: str) -> Mutate:
    """Lets resources wait for nothing that they do not refer to."""
    return lambda graph: _each(graph, kind, name, lambda one: _with(one, depends_on=()))


def kept(kind: str) -> Mutate:
    """Keeps resources when the stack goes."""
    return lambda graph: _each(graph, kind, "", lambda one: _with(one, kept=True))


def both(*changes: Mutate) -> Mutate:
    def mutate(graph: Graph) -> Graph:
        for change in changes:
            graph = change(graph)
        return graph

    return mutate


def by_topology(mutations: dict[str, Mutate]) -> Mutate:
    return lambda graph: mutations[graph.topology](graph)


def gone(_: dict[str, Any]) -> None:
    return None


def without(*names: str) -> Change:
    return lambda given: {name: value for name, value in given.items() if name not in names}


def giving(**values: Any) -> Change:
    return lambda given: given | values


def within(*path: str, change: Change) -> Change:
    """A change of what lies deeper: of a dictionary, or of the first of a list."""

    def changed(given: dict[str, Any]) -> dict[str, Any]:
        name, *rest = path
        deeper = within(*rest, change=change) if rest else change
        value = given[name]
        if isinstance(value, list):
            first, *others = value
            made = deeper(first)
            return given | {name: others if made is None else [made, *others]}
        return given | {name: deeper(value)}

    return changed


def in_text(name: str, change: Change) -> Change:
    """A change of a document that is a property as text; of a list's first."""

    def changed(given: dict[str, Any]) -> dict[str, Any]:
        found = json.loads(given[name])
        made = change(found[0] if isinstance(found, list) else found)
        return given | {name: json.dumps([made] if isinstance(found, list) else made)}

    return changed


def _with(resource: Resource, **changes: Any) -> Resource:
    return msgspec.structs.replace(resource, **changes)


def _each(
    graph: Graph, kind: str, name: str, alter: Callable[[Resource], Resource | None]
) -> Graph:
    """CloudFormation's names have no dashes, and a few letters more."""
    resources = []
    for resource in graph.resources:
        is_meant = resource.type in (kind, f"aws:{kind}")
        if not is_meant or name.replace("-", "") not in resource.name.replace("-", ""):
            resources.append(resource)
        elif (made := alter(resource)) is not None:
            resources.append(made)
    assert resources != list(graph.resources)
    return msgspec.structs.replace(graph, resources=tuple(resources))
