"""A deployment before it is made: its resources, its cost, what the scanners find. No account."""

from collections import Counter, defaultdict
from typing import Any, NamedTuple

from remit_infra.graph.graph import Graph, graph_of_template, service_of
from remit_infra.graph.scanners import Finding, checkov, read_suppressions, unsuppressed
from remit_infra.graph.terraform import to_terraform
from remit_infra.model.environments import ConfigurationError
from remit_infra.plan.cost import costs
from remit_infra.plan.pricing import Cost, read_prices
from remit_infra.topologies import fargate_aurora, lambda_postgres
from remit_infra.topologies.lambda_dynamodb import synthesise_in_subprocess

TOPOLOGIES = ("fargate-aurora", "lambda-dynamodb", "lambda-postgres")
RECORDED = {
    "fargate-aurora": fargate_aurora.record_graph,
    "lambda-postgres": lambda_postgres.record_graph,
}


class Planned(NamedTuple):
    """The graph, and the document that scanners read: a template, or Terraform JSON."""

    graph: Graph
    document: dict[str, Any]


def planned(topology: str, suffix: str, configuration: dict[str, str]) -> Planned:
    """Raises Refused for what cannot be built, and names it."""
    if topology == "lambda-dynamodb":
        if configuration:
            raise ConfigurationError(f"{topology} is configured by its suffix alone.")
        _, template = synthesise_in_subprocess(suffix=suffix)
        return Planned(graph_of_template(topology, suffix, template), template)
    graph = RECORDED[topology](suffix, **configuration)
    return Planned(graph, to_terraform(graph, {"region": "us-east-1"}))


def found(plan: Planned) -> list[Finding]:
    """What checkov finds and nobody accepted. Raises CheckError where it is not installed."""
    return unsuppressed(
        checkov(plan.document), read_suppressions(plan.graph.topology), complete=False
    )


class Total(NamedTuple):
    """One service of a plan: how many resources, and dollars a month, idle and with payments."""

    service: str
    resources: int
    idle: float
    busy: float


def totals(graph: Graph, payments: int) -> list[Total]:
    """By service, and all together as the last. Before any free tier."""
    resources = Counter(service_of(resource.type) for resource in graph.resources)
    lines: dict[str, list[Cost]] = defaultdict(list)
    for cost in costs(graph, read_prices()):
        lines[cost.service].append(cost)
    rows = [
        Total(
            service,
            resources[service],
            sum(cost.idle for cost in lines[service]),
            sum(cost.month(payments) for cost in lines[service]),
        )
        for service in sorted(resources.keys() | lines.keys())
    ]
    everything = (sum(row.idle for row in rows), sum(row.busy for row in rows))
    return [*rows, Total("all", resources.total(), *everything)]
