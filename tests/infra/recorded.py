"""Looking at a recorded program: promises are checks over it, and each names what breaks it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from remit_infra.graph.graph import Graph, Resource

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/00000000"
SUFFIXES = ("dev", "staging-001", "prod")

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


def shape(graph: Graph) -> list[Any]:
    """What there is, without the values."""
    return sorted((r.type, r.name, sorted(r.properties), r.depends_on) for r in graph.resources)


def ordered(graph: Graph) -> list[Resource]:
    """Resources that do not wait for each other come in any order; tuples become lists as text."""
    resources = msgspec.json.decode(msgspec.json.encode(graph), type=Graph).resources
    return sorted(resources, key=lambda resource: resource.name)


def recorded_in_2100(topology: str) -> Graph:
    """Its dev stack, with a certificate, as another process has it on another day."""
    code = (
        "import sys, time, msgspec; time.time = lambda: 4102444800.0\n"
        f"from remit_infra.topologies.{topology} import record_graph\n"
        f"graph = record_graph('dev', certificateArn='{CERTIFICATE}')\n"
        "sys.stdout.buffer.write(msgspec.json.encode(graph, order='sorted'))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return msgspec.json.decode(ran.stdout, type=Graph)


def needs(graph: Graph, name: str) -> set[str]:
    """What a resource waits for, near and far."""
    edges = graph.edges()
    seen: set[str] = set()
    new = {name}
    while new:
        new = {other for this, other in edges if this in new} - seen
        seen |= new
    return seen


Change = Callable[[dict[str, Any]], dict[str, Any] | None]


def altered(graph: Graph, kind: str, name: str, change: Change) -> Graph:
    """The graph with the properties of some resources changed; None takes a resource away."""
    resources = []
    for resource in graph.resources:
        if resource.type != f"aws:{kind}" or name not in resource.name:
            resources.append(resource)
        elif (properties := change(dict(resource.properties))) is not None:
            resources.append(msgspec.structs.replace(resource, properties=properties))
    assert resources != list(graph.resources)
    return msgspec.structs.replace(graph, resources=tuple(resources))


def unordered(graph: Graph, kind: str, name: str) -> Graph:
    """The graph where some resources wait for nothing that they do not refer to."""
    resources = [
        msgspec.structs.replace(resource, depends_on=())
        if resource.type == f"aws:{kind}" and name in resource.name
        else resource
        for resource in graph.resources
    ]
    assert resources != list(graph.resources)
    return msgspec.structs.replace(graph, resources=tuple(resources))


def gone(_: dict[str, Any]) -> None:
    return None


def without(*names: str) -> Change:
    return lambda given: {name: value for name, value in given.items() if name not in names}


def giving(**values: Any) -> Change:
    return lambda given: given | values


def all_actions(given: dict[str, Any]) -> dict[str, Any]:
    policy = json.loads(given["policy"])
    policy["Statement"][0] |= {"Action": ["s3:*"], "Resource": ["*"]}
    return given | {"policy": json.dumps(policy)}
