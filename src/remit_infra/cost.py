"""What a topology costs in a month, from its graph and a stated number of payments.

Fixed prices follow the resources that are there; what a payment uses is in `usage.py`.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from remit_infra.graph import Graph, Resource, references
from remit_infra.usage import (
    BUSY,
    FUNCTION_GB,
    PER_TASK_SECOND,
    PER_UNIT_SECOND,
    SERVICE_OF,
    USES,
    Use,
)

MONTH_HOURS = 730
MONTH_MINUTES = 43_800
PRICES = Path(__file__).with_name("prices.toml")

JOB_SECONDS = 0.25
"""How long a function of the clock runs when there is nothing to do."""

HEALTH_SECONDS = 0.05
QUIET_LOG_GB = 1.0
IMAGES_GB = 2.0
MONTH_SECONDS = MONTH_HOURS * 3_600

AURORA = "aws:rds/cluster:Cluster"
CACHE = "aws:elasticache/replicationGroup:ReplicationGroup"
SERVICE = "aws:ecs/service:Service"

AWAKE_HOURS = 22 * 8
"""Of a month, for a database that pauses: it is used on working days."""

INSIGHTS = {"cluster": 11, "service": 15, "family": 10, "task": 20}
"""Metrics of Container Insights with enhanced observability, of each (Amazon ECS, "Container
Insights metrics"); a task's are its container's too.
"""
"""What a network and a database log in a month without callers: flows, monitoring, connections."""


class Prices(msgspec.Struct, frozen=True):
    """Dollars for a month, an hour, a million, a gigabyte; and the day they were looked up."""

    date: str
    month: dict[str, float]
    hour: dict[str, float]
    million: dict[str, float]
    gigabyte: dict[str, float]


class Cost(msgspec.Struct, frozen=True):
    """One line of the bill: dollars a month while nothing happens, and for each payment after those
    that are `included`.
    """

    service: str
    what: str
    idle: float
    payment: float
    included: float = 0.0

    def month(self, payments: float) -> float:
        return self.idle + self.payment * max(0.0, payments - self.included)


def read_prices(path: Path = PRICES) -> Prices:
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Prices)


def costs(graph: Graph, prices: Prices) -> list[Cost]:
    """Every line of the bill, the dearest first."""
    lines = [
        *_fixed(graph, prices),
        *_observed(graph, prices),
        *_clock(graph, prices),
        *_containers(graph, prices),
        *_serverless(graph, prices),
        *_per_payment(USES[graph.topology], prices),
    ]
    return sorted(lines, key=lambda line: (-line.idle, -line.payment))


Each = Callable[[Resource, Prices], float]


def _database(resource: Resource, prices: Prices) -> float:
    given = resource.properties
    if not given["multiAz"]:
        raise ValueError(f"{resource.name}: there are prices for Multi-AZ alone.")
    storage = prices.gigabyte["rds_multi_az_month"] * int(given["allocatedStorage"])
    return prices.hour[given["instanceClass"]] * MONTH_HOURS + storage


def _endpoint(resource: Resource, prices: Prices) -> float:
    """Gateway endpoints are free; others are in each of their subnets."""
    subnets = resource.properties.get("subnetIds", [])
    return prices.hour["interface_endpoint"] * MONTH_HOURS * len(subnets)


def _balancer(resource: Resource, prices: Prices) -> float:
    """With a public address in each of its zones."""
    addresses = len(resource.properties["subnets"]) * prices.hour["public_address"]
    return (prices.hour["load_balancer"] + addresses) * MONTH_HOURS


def _firewall(resource: Resource, prices: Prices) -> float:
    rules = resource.properties.get("Rules") or resource.properties.get("rules") or ()
    return prices.month["web_acl"] + len(rules) * prices.month["web_acl_rule"]


def _cache(resource: Resource, prices: Prices) -> float:
    given = resource.properties
    nodes = int(given["numCacheClusters"])
    return prices.hour[given["nodeType"]] * MONTH_HOURS * nodes


def _images(_: Resource, prices: Prices) -> float:
    return prices.gigabyte["image_month"] * IMAGES_GB


FIXED: tuple[tuple[str, str, tuple[str, ...], Each], ...] = (
    (
        "KMS",
        "keys",
        ("AWS::KMS::Key", "aws:kms/key:Key"),
        lambda _, prices: prices.month["kms_key"],
    ),
    (
        "WAF",
        "web firewalls with their rules",
        ("AWS::WAFv2::WebACL", "aws:wafv2/webAcl:WebAcl"),
        _firewall,
    ),
    (
        "CloudWatch",
        "dashboards",
        ("AWS::CloudWatch::Dashboard", "aws:cloudwatch/dashboard:Dashboard"),
        lambda _, prices: prices.month["dashboard"],
    ),
    (
        "VPC",
        "NAT gateways",
        ("aws:ec2/natGateway:NatGateway",),
        lambda _, prices: prices.hour["nat_gateway"] * MONTH_HOURS,
    ),
    (
        "VPC",
        "public addresses",
        ("aws:ec2/eip:Eip",),
        lambda _, prices: prices.hour["public_address"] * MONTH_HOURS,
    ),
    ("VPC", "endpoints", ("aws:ec2/vpcEndpoint:VpcEndpoint",), _endpoint),
    (
        "ELB",
        "load balancers with their addresses",
        ("aws:lb/loadBalancer:LoadBalancer",),
        _balancer,
    ),
    ("RDS", "databases with their storage", ("aws:rds/instance:Instance",), _database),
    ("ElastiCache", "caches with their nodes", (CACHE,), _cache),
    ("ECR", "repositories with their images", ("aws:ecr/repository:Repository",), _images),
    (
        "Secrets Manager",
        "secrets",
        ("aws:rds/instance:Instance", AURORA),
        lambda _, prices: prices.month["managed_login"],
    ),
)
"""Service, what it is called, the types, and what one costs in a month."""


def _fixed(graph: Graph, prices: Prices) -> Iterator[Cost]:
    for service, what, types, each in FIXED:
        found = graph.of(*types)
        dollars = sum(each(resource, prices) for resource in found)
        if dollars:
            yield Cost(service, f"{len(found)} {what}", dollars, 0.0)


def _observed(graph: Graph, prices: Prices) -> Iterator[Cost]:
    """What alarms read, and which of it is the service's own."""
    alarms = graph.of("AWS::CloudWatch::Alarm", "aws:cloudwatch/metricAlarm:MetricAlarm")
    read = [metric for alarm in alarms for metric in _metrics(alarm.properties)]
    own = {name for namespace, name in read if namespace == "Remit"}
    month = prices.month
    yield Cost("CloudWatch", f"{len(read)} metrics in alarms", len(read) * month["alarm_metric"], 0)
    yield Cost("CloudWatch", f"{len(own)} metrics of our own", len(own) * month["custom_metric"], 0)
    if graph.of("aws:ec2/flowLog:FlowLog"):
        logged = QUIET_LOG_GB * prices.gigabyte["log_ingested"]
        yield Cost("CloudWatch", "logs while nothing happens", logged, 0.0)


def _metrics(alarm: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Namespace and name of each, as either tool has them."""
    given = {key[0].lower() + key[1:]: value for key, value in alarm.items()}
    if "metricName" in given:
        yield given["namespace"], given["metricName"]
    for one in given.get("metrics", ()):
        if "MetricStat" in one:
            metric = one["MetricStat"]["Metric"]
            yield metric["Namespace"], metric["MetricName"]
    for one in given.get("metricQueries", ()):
        if "metric" in one:
            yield one["metric"]["namespace"], one["metric"]["metricName"]


def _clock(graph: Graph, prices: Prices) -> Iterator[Cost]:
    """What runs every minute, whether or not anybody pays."""
    watched = max(map(_watched, graph.resources), default=0)
    looks = (_awake_hours(graph) if graph.of(SERVICE) else MONTH_HOURS) * 60
    asked = watched * looks * prices.million["get_metric_data"] / 1e6
    yield Cost("CloudWatch", f"the monitor's look at {watched} metrics", asked, 0.0)
    if graph.of(SERVICE):
        return
    rules = graph.of("AWS::Events::Rule", "aws:cloudwatch/eventRule:EventRule")
    minutely = sum(_rate(rule.properties) == "rate(1 minute)" for rule in rules)
    targets = len(graph.of("aws:lb/targetGroup:TargetGroup"))
    runs, checks = MONTH_MINUTES * minutely, MONTH_MINUTES * targets
    million = prices.million
    seconds = (runs * JOB_SECONDS + checks * HEALTH_SECONDS) * FUNCTION_GB
    calls = (runs + checks) * million["lambda_request"] + seconds * million["lambda_gb_second"]
    yield Cost("Lambda", f"{runs + checks} runs of the clock and health checks", calls / 1e6, 0.0)
    if graph.of("AWS::DynamoDB::Table"):
        # Eight shards of the outbox and of the unsealed entries, and what is due.
        reads = runs * 20 * 0.5 * million["read_request_unit"] / 1e6
        yield Cost("DynamoDB", "reads of the clock", reads, 0.0)


def _rate(rule: Mapping[str, Any]) -> str:
    return str(rule.get("ScheduleExpression") or rule.get("scheduleExpression"))


def _watched(resource: Resource) -> int:
    """How many metrics a function or a task is told to look at."""
    if (containers := resource.properties.get("containerDefinitions")) is not None:
        [container] = msgspec.json.decode(containers)
        told = {one["name"]: one["value"] for one in container["environment"]}
        return len(msgspec.json.decode(told.get("REMIT_WATCHED_METRICS", "[]")))
    given = resource.properties.get("Environment") or resource.properties.get("environment")
    if not isinstance(given, Mapping):
        return 0
    variables = given.get("Variables") or given.get("variables") or {}
    return len(msgspec.json.decode(variables.get("REMIT_WATCHED_METRICS", "[]")))


def _containers(graph: Graph, prices: Prices) -> Iterator[Cost]:
    """Tasks by the hour, more of them when there is more to do, and what is measured of them."""
    services = graph.of(SERVICE)
    if not services:
        return
    definitions = {d.name: d.properties for d in graph.of("aws:ecs/taskDefinition:TaskDefinition")}
    number, hour = 0, 0.0
    for service in services:
        [family] = references(service.properties["taskDefinition"]) & definitions.keys()
        spot = next(
            one["weight"] > 0
            for one in service.properties["capacityProviderStrategies"]
            if one["capacityProvider"] == "FARGATE_SPOT"
        )
        hour = _task_hour(definitions[family], prices, spot=spot)
        number += service.properties["desiredCount"]
    carried = PER_TASK_SECOND * BUSY * MONTH_SECONDS
    yield Cost(
        "Fargate",
        f"{number} tasks of a service at least",
        number * hour * MONTH_HOURS,
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


def _task_hour(definition: Mapping[str, Any], prices: Prices, *, spot: bool) -> float:
    kind = "fargate_spot" if spot else "fargate"
    processors, gigabytes = int(definition["cpu"]) / 1_024, int(definition["memory"]) / 1_024
    each = prices.hour
    return processors * each[f"{kind}_vcpu"] + gigabytes * each[f"{kind}_gb"]


def _serverless(graph: Graph, prices: Prices) -> Iterator[Cost]:
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
            f"{units:g} capacity units at least, {_awake_hours(graph)} hours",
            units * hour * _awake_hours(graph),
            instances * hour * MONTH_HOURS / carried,
            included=max(least, 0.5) * carried,
        )


def _awake_hours(graph: Graph) -> int:
    """How many hours of a month the database is there."""
    [cluster] = graph.of(AURORA)
    least = cluster.properties["serverlessv2ScalingConfiguration"]["minCapacity"]
    return AWAKE_HOURS if least == 0 else MONTH_HOURS


def _per_payment(use: Use, prices: Prices) -> Iterator[Cost]:
    for name, number in use.number.items():
        what = f"{name.replace('_', ' ')}s"
        yield Cost(SERVICE_OF[name], what, 0.0, number * prices.million[name] / 1e6)
    for name, number in use.gigabytes.items():
        what = f"GB {name.replace('_', ' ')}"
        yield Cost(SERVICE_OF[name], what, 0.0, number * prices.gigabyte[name])
