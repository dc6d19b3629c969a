"""The topologies as data, each made once in a process, and what tests ask of them."""

import subprocess
import sys
from functools import cache
from typing import Any

import msgspec

from remit_infra.graph.graph import Graph, Resource, graph_of_template
from remit_infra.plan.plan import RECORDED
from remit_infra.topologies.lambda_dynamodb.stack import synthesise
from tests.infra.policies.template import in_pulumis_words

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/00000000"
SUFFIXES = ("dev", "staging-001", "prod")
TOPOLOGIES = ("fargate-aurora", "lambda-dynamodb", "lambda-postgres")
PULUMI = tuple(RECORDED)
"""The topologies that are programs in Pulumi."""

Template = dict[str, Any]


@cache
def template_of(suffix: str) -> Template:
    """The template of lambda-dynamodb. It is shared: change a copy."""
    return synthesise(suffix=suffix)[1]


@cache
def graph_with(topology: str, suffix: str, **configuration: str) -> Graph:
    """The program in Pulumi of a topology. Raises Refused."""
    return RECORDED[topology](suffix, **configuration)


@cache
def graph_of(topology: str, suffix: str) -> Graph:
    """The topology's graph in Pulumi's words, with a certificate where it takes one."""
    if topology == "lambda-dynamodb":
        return template_graph(suffix, template_of(suffix))
    return graph_with(topology, suffix, certificateArn=CERTIFICATE)


def template_graph(suffix: str, template: Template) -> Graph:
    return in_pulumis_words(graph_of_template("lambda-dynamodb", suffix, template))


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
        "from remit_infra.plan.plan import RECORDED\n"
        f"graph = RECORDED['{topology}']('dev', certificateArn='{CERTIFICATE}')\n"
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
