"""What tasks cost, and the database that grows with them: by the hour, by the payments they carry,
and by what a worker requests of AWS without any payment.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from remit_infra.graph.graph import Graph, Resource, references
from remit_infra.plan.pricing import MONTH_HOURS, MONTH_SECONDS, Cost, Prices
from remit_infra.plan.usage import AVERAGE_LOAD, PER_TASK_SECOND, PER_UNIT_SECOND, USES

AURORA = "aws:rds/cluster:Cluster"
SERVICE = "aws:ecs/service:Service"

ACTIVE_HOURS = 22 * 8
"""Of a month, for a database that pauses when it is idle: it is used on working days."""

INSIGHTS = {"cluster": 11, "service": 15, "family": 10, "task": 20}
"""Metrics of Container Insights with enhanced observability, of each (Amazon ECS, "Container
Insights metrics"); a task's are its container's too.
"""

QUEUE_WAIT_SECONDS = 10
"""How long a worker's receive request waits for a message."""

MONITOR_SECONDS = 5
"""How often a worker checks what it depends on, dead letters among them, and writes the health
state into the database.
"""

METRICS_SECONDS = 60
"""How often a worker reads metrics, and publishes its own."""


def of_tasks(graph: Graph, prices: Prices) -> Iterator[Cost]:
    """Tasks by the hour, more of them with more payments, and the metrics of their containers."""
    services = graph.of(SERVICE)
    if not services:
        return
    number, hour = 0, 0.0
    idle = 0.0
    for service in services:
        each = _task_hour(_definition(graph, service), prices, spot=_is_spot(service))
        hour += each
        idle += service.properties["desiredCount"] * each * MONTH_HOURS
        number += service.properties["desiredCount"]
    hour /= len(services)
    kind = "Spot tasks" if all(map(_is_spot, services)) else "tasks"
    carried = PER_TASK_SECOND * AVERAGE_LOAD * MONTH_SECONDS
    yield Cost(
        "Fargate",
        f"{number} {kind} at least",
        idle,
        hour * MONTH_HOURS / carried,
        included=carried,
    )
    metrics = (
        INSIGHTS["cluster"]
        + len(services) * (INSIGHTS["service"] + INSIGHTS["family"])
        + number * INSIGHTS["task"]
    )
    insights = metrics * prices.month["insights_metric"]
    yield Cost("CloudWatch", f"{metrics} metrics of Container Insights", insights, 0.0)
    use = USES[graph.topology].load_balancer_units
    yield Cost("ELB", "load balancer capacity units", 0.0, use * prices.hour["load_balancer_unit"])
    for service in services:
        if not service.properties.get("loadBalancers"):
            yield from _of_workers(graph, service, prices)


def _of_workers(graph: Graph, service: Resource, prices: Prices) -> Iterator[Cost]:
    """What each worker requests without payments. While the database pauses, that is the queue's
    messages alone.
    """
    workers, million = service.properties["desiredCount"], prices.million
    active_seconds = active_hours(graph) * 3_600
    monitored = _monitored_metrics(_definition(graph, service))
    minutes = workers * active_seconds / METRICS_SECONDS
    read = monitored * minutes * million["get_metric_data"] / 1e6
    yield Cost("CloudWatch", f"the health monitor's reads of {monitored} metrics", read, 0.0)
    published = minutes * million["put_metric_data"] / 1e6
    yield Cost("CloudWatch", "metrics published by workers", published, 0.0)
    requests = workers * (
        MONTH_SECONDS / QUEUE_WAIT_SECONDS
        + active_seconds / MONITOR_SECONDS
        + active_seconds / METRICS_SECONDS
    )
    yield Cost(
        "SQS",
        f"{requests:,.0f} requests of workers without work",
        requests * million["sqs_request"] / 1e6,
        0.0,
    )
    states = workers * active_seconds / MONITOR_SECONDS
    yield Cost("Aurora", "health states written", states * million["aurora_io"] / 1e6, 0.0)


def _definition(graph: Graph, service: Resource) -> Mapping[str, Any]:
    definitions = {d.name: d.properties for d in graph.of("aws:ecs/taskDefinition:TaskDefinition")}
    [family] = references(service.properties["taskDefinition"]) & definitions.keys()
    return definitions[family]


def _is_spot(service: Resource) -> bool:
    return any(
        one["capacityProvider"] == "FARGATE_SPOT" and one["weight"] > 0
        for one in service.properties["capacityProviderStrategies"]
    )


def _monitored_metrics(definition: Mapping[str, Any]) -> int:
    """How many metrics a task's health monitor reads."""
    [container] = msgspec.json.decode(definition["containerDefinitions"])
    variables = {one["name"]: one["value"] for one in container["environment"]}
    return len(msgspec.json.decode(variables.get("REMIT_MONITORED_METRICS", "[]")))


def _task_hour(definition: Mapping[str, Any], prices: Prices, *, spot: bool) -> float:
    kind = "fargate_spot" if spot else "fargate"
    processors, gigabytes = int(definition["cpu"]) / 1_024, int(definition["memory"]) / 1_024
    each = prices.hour
    return processors * each[f"{kind}_vcpu"] + gigabytes * each[f"{kind}_gb"]


def of_aurora(graph: Graph, prices: Prices) -> Iterator[Cost]:
    """Aurora by its capacity: the least that is configured, or half a unit while a database that
    pauses is active, and more with more payments. A reader is as large as the writer.
    """
    for cluster in graph.of(AURORA):
        least = cluster.properties["serverlessv2ScalingConfiguration"]["minCapacity"]
        instances = len(graph.of("aws:rds/clusterInstance:ClusterInstance"))
        units = max(least, 0.5) * instances
        hour = prices.hour["capacity_unit"]
        carried = PER_UNIT_SECOND * AVERAGE_LOAD * MONTH_SECONDS
        yield Cost(
            "Aurora",
            f"{units:g} capacity units at least, {active_hours(graph)} hours",
            units * hour * active_hours(graph),
            instances * hour * MONTH_HOURS / carried,
            included=max(least, 0.5) * carried,
        )


def active_hours(graph: Graph) -> int:
    """How many hours of a month the database is not paused."""
    [cluster] = graph.of(AURORA)
    least = cluster.properties["serverlessv2ScalingConfiguration"]["minCapacity"]
    return ACTIVE_HOURS if least == 0 else MONTH_HOURS
