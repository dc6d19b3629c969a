"""Looking at a recorded program: promises are checks over it, and each names what breaks it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from remit_infra.graph import Graph, Resource

Promise = Callable[[Graph], Iterator[str]]


def broken(graph: Graph, promises: Sequence[Promise]) -> dict[str, list[str]]:
    """What each promise names; nothing for one that is kept."""
    found = {promise.__name__: list(promise(graph)) for promise in promises}
    return {name: problems for name, problems in found.items() if problems}


def of(graph: Graph, kind: str) -> list[Resource]:
    """The resources of a type: `ec2/vpc:Vpc`."""
    return graph.of(f"aws:{kind}")


def one(graph: Graph, kind: str, name: str) -> dict[str, Any]:
    """A resource's properties; empty if it is not there."""
    found = [resource for resource in of(graph, kind) if resource.name == name]
    return found[0].properties if found else {}


def needs(graph: Graph, name: str) -> set[str]:
    """What a resource waits for, near and far."""
    edges = graph.edges()
    seen: set[str] = set()
    new = {name}
    while new:
        new = {other for this, other in edges if this in new} - seen
        seen |= new
    return seen
