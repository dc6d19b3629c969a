"""What tasks cost, and the database that grows with them: by the hour, by what they carry, and by
what a worker asks of AWS while nobody pays.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from remit_infra.graph.graph import Graph, Resource, references
from remit_infra.plan.pricing import MONTH_HOURS, MONTH_SECONDS, Cost, Prices
from remit_infra.plan.usage import BUSY, PER_TASK_SECOND, PER_UNIT_SECOND, USES

AURORA = "aws:rds/cluster:Cluster"
SERVICE = "aws:ecs/service:Service"

AWAKE_HOURS = 22 * 8
"""Of a month, for a database that pauses: it is used on working days."""

INSIGHTS = {"cluster": 11, "service": 15, "family": 10, "task": 20}
"""Metrics of Container Insights with enhanced observability, of each (Amazon ECS, "Container
Insights metrics"); a task's are its container's too.
"""

RECEIVE_SECONDS = 10
"""How long a worker's question to the queue waits for an answer."""

WATCH_SECONDS = 5
"""How often a worker looks at what it depends on, dead letters among them, and writes its verdict
into the database.
"""

MEASURE_SECONDS = 60
"""How often a worker reads metrics, and hands on what was counted."""


def of_tasks(graph: Graph, prices: Prices) -> Iterator[Cost]:
    """Tasks by the hour, more of them when there is more to do, and what is measured of them."""
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
    carried = PER_TASK_SECOND * BUSY * MONTH_SECONDS
    yield Cost(
        "Fargate",
        f"{number} {kind} of a service at least",
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
    yield Cost("ELB", "capacity units", 0.0, use * prices.hour["load_balancer_unit"])
    for service in services:
        if not service.properties.get("loadBalancers"):
            yield from _of_workers(graph, service, prices)


def _of_workers(graph: Graph, service: Resource, prices: Prices) -> Iterator[Cost]:
    """What they ask for, each by itself. While the database rests they ask the queue alone."""
    workers, million = service.properties["desiredCount"], prices.million
    awake_seconds = awake_hours(graph) * 3_600
    watched = _watched(_definition(graph, service))
    looks = workers * awake_seconds / MEASURE_SECONDS
    read = watched * looks * million["get_metric_data"] / 1e6
    yield Cost("CloudWatch", f"the monitor's look at {watched} metrics", read, 0.0)
    counted = looks * million["put_metric_data"] / 1e6
    yield Cost("CloudWatch", "what workers counted", counted, 0.0)
    asked = workers * (
        MONTH_SECONDS / RECEIVE_SECONDS
        + awake_seconds / WATCH_SECONDS
        + awake_seconds / MEASURE_SECONDS
    )
    yield Cost(
        "SQS",
        f"{asked:.0f} questions of workers",
        asked * million["sqs_request"] / 1e6,
        0.0,
    )
    verdicts = workers * awake_seconds / WATCH_SECONDS
    yield Cost("Aurora", "verdicts of the monitor", verdicts * million["aurora_io"] / 1e6, 0.0)


def _definition(graph: Graph, service: Resource) -> Mapping[str, Any]:
    definitions = {d.name: d.properties for d in graph.of("aws:ecs/taskDefinition:TaskDefinition")}
    [family] = references(service.properties["taskDefinition"]) & definitions.keys()
    return definitions[family]


def _is_spot(service: Resource) -> bool:
    return any(
        one["capacityProvider"] == "FARGATE_SPOT" and one["weight"] > 0
        for one in service.properties["capacityProviderStrategies"]
    )


def _watched(definition: Mapping[str, Any]) -> int:
    """How many metrics a task is told to look at."""
    [container] = msgspec.json.decode(definition["containerDefinitions"])
    told = {one["name"]: one["value"] for one in container["environment"]}
    return len(msgspec.json.decode(told.get("REMIT_MONITORED_METRICS", "[]")))


def _task_hour(definition: Mapping[str, Any], prices: Prices, *, spot: bool) -> float:
    kind = "fargate_spot" if spot else "fargate"
    processors, gigabytes = int(definition["cpu"]) / 1_024, int(definition["memory"]) / 1_024
    each = prices.hour
    return processors * each[f"{kind}_vcpu"] + gigabytes * each[f"{kind}_gb"]


def of_aurora(graph: Graph, prices: Prices) -> Iterator[Cost]:
    """Aurora by the capacity that it has: the least, or half a unit while one that pauses is used,
    and more when there is more to do. A reader is as large as the writer.
    """
    for cluster in graph.of(AURORA):
        least = cluster.properties["serverlessv2ScalingConfiguration"]["minCapacity"]
        instances = len(graph.of("aws:rds/clusterInstance:ClusterInstance"))
        units = max(least, 0.5) * instances
        hour = prices.hour["capacity_unit"]
        carried = PER_UNIT_SECOND * BUSY * MONTH_SECONDS
        yield Cost(
            "Aurora",
            f"{units:g} capacity units at least, {awake_hours(graph)} hours",
            units * hour * awake_hours(graph),
            instances * hour * MONTH_HOURS / carried,
            included=max(least, 0.5) * carried,
        )


def awake_hours(graph: Graph) -> int:
    """How many hours of a month the database is there."""
    [cluster] = graph.of(AURORA)
    least = cluster.properties["serverlessv2ScalingConfiguration"]["minCapacity"]
    return AWAKE_HOURS if least == 0 else MONTH_HOURS
