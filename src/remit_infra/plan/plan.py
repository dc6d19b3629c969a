"""A stack before it is deployed: its resources, its cost, what the scanners find. No account."""

from collections import Counter
from typing import Any, NamedTuple

from remit_infra.graph.graph import Graph, graph_of_template, service_of
from remit_infra.graph.scanners import Finding, checkov, read_suppressions, unsuppressed
from remit_infra.graph.terraform import to_terraform
from remit_infra.model.environments import ConfigurationError
from remit_infra.plan.cost import ServiceCost, by_service, costs
from remit_infra.plan.pricing import read_prices
from remit_infra.topologies import fargate_aurora, lambda_postgres
from remit_infra.topologies.lambda_dynamodb import synthesise_in_subprocess

TOPOLOGIES = ("fargate-aurora", "lambda-dynamodb", "lambda-postgres")
RECORDED = {
    "fargate-aurora": fargate_aurora.record_graph,
    "lambda-postgres": lambda_postgres.record_graph,
}


class StackPlan(NamedTuple):
    """The graph, and the document that scanners read: a template, or Terraform JSON."""

    graph: Graph
    document: dict[str, Any]


def plan_stack(topology: str, suffix: str, configuration: dict[str, str]) -> StackPlan:
    """The plan of a topology in an environment. Raises ConfigurationError if it cannot be built."""
    if topology == "lambda-dynamodb":
        if configuration:
            raise ConfigurationError(f"{topology} is configured by its suffix alone.")
        _, template = synthesise_in_subprocess(suffix=suffix)
        return StackPlan(graph_of_template(topology, suffix, template), template)
    graph = RECORDED[topology](suffix, **configuration)
    return StackPlan(graph, to_terraform(graph, {"region": "us-east-1"}))


def findings_of(plan: StackPlan) -> list[Finding]:
    """What checkov finds and no suppression accepts. Raises CheckError if checkov is not there."""
    return unsuppressed(
        checkov(plan.document), read_suppressions(plan.graph.topology), complete=False
    )


class Total(NamedTuple):
    """A service in a plan: its resources, and dollars a month without payments and with them."""

    service: str
    resources: int
    idle: float
    busy: float


def totals(graph: Graph, payments: int) -> list[Total]:
    """Each service, and then all of them together. Before any free tier."""
    resources = Counter(service_of(resource.type) for resource in graph.resources)
    priced = {one.service: one for one in by_service(costs(graph, read_prices()), payments)}
    rows = [
        Total(service, resources[service], cost.idle, cost.total)
        for service in sorted(resources.keys() | priced.keys())
        for cost in (priced.get(service, ServiceCost(service, 0.0, 0.0)),)
    ]
    everything = (sum(row.idle for row in rows), sum(row.busy for row in rows))
    return [*rows, Total("all", resources.total(), *everything)]
