"""What a topology costs in a month, from its graph and a stated number of payments.

Fixed prices follow the resources that are there; what a payment uses is in `usage.py`; tasks and
Aurora are in `cost_containers.py`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from remit_infra.graph.graph import Graph, Resource
from remit_infra.plan.cost_containers import AURORA, SERVICE, of_aurora, of_tasks
from remit_infra.plan.pricing import MONTH_HOURS, MONTH_MINUTES, Cost, Prices
from remit_infra.plan.usage import FUNCTION_GB, PRICED, USES, Use

JOB_SECONDS = 0.25
"""How long a scheduled function runs when there is nothing to do."""

HEALTH_SECONDS = 0.05
IDLE_LOG_GB = 1.0
"""What a network and a database log in a month without callers: flows, monitoring, connections."""

IMAGES_GB = 2.0
CACHE = "aws:elasticache/replicationGroup:ReplicationGroup"


def costs(graph: Graph, prices: Prices) -> list[Cost]:
    """Every line of the estimate, the dearest first."""
    lines = [
        *_fixed(graph, prices),
        *_monitoring(graph, prices),
        *_schedules(graph, prices),
        *of_tasks(graph, prices),
        *of_aurora(graph, prices),
        *_per_payment(USES[graph.topology], prices),
    ]
    return sorted(lines, key=lambda line: (-line.idle, -line.payment))


class ServiceCost(NamedTuple):
    """An AWS service: dollars a month without payments, and what the payments add."""

    service: str
    idle: float
    added: float

    @property
    def total(self) -> float:
        return self.idle + self.added


def by_service(lines: Iterable[Cost], payments: float) -> list[ServiceCost]:
    """What each service costs in a month of so many payments, the dearest first."""
    grouped: dict[str, list[Cost]] = defaultdict(list)
    for line in lines:
        grouped[line.service].append(line)
    found = [
        ServiceCost(
            service,
            sum(line.idle for line in group),
            sum(line.month(payments) - line.idle for line in group),
        )
        for service, group in grouped.items()
    ]
    return sorted(found, key=lambda one: (-one.total, one.service))


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
        "key",
        ("AWS::KMS::Key", "aws:kms/key:Key"),
        lambda _, prices: prices.month["kms_key"],
    ),
    (
        "WAF",
        "web ACL with its rules",
        ("AWS::WAFv2::WebACL", "aws:wafv2/webAcl:WebAcl"),
        _firewall,
    ),
    (
        "CloudWatch",
        "dashboard",
        ("AWS::CloudWatch::Dashboard", "aws:cloudwatch/dashboard:Dashboard"),
        lambda _, prices: prices.month["dashboard"],
    ),
    (
        "VPC",
        "NAT gateway",
        ("aws:ec2/natGateway:NatGateway",),
        lambda _, prices: prices.hour["nat_gateway"] * MONTH_HOURS,
    ),
    (
        "VPC",
        "public IPv4 address",
        ("aws:ec2/eip:Eip",),
        lambda _, prices: prices.hour["public_address"] * MONTH_HOURS,
    ),
    ("VPC", "interface endpoint", ("aws:ec2/vpcEndpoint:VpcEndpoint",), _endpoint),
    (
        "ELB",
        "load balancer with its addresses",
        ("aws:lb/loadBalancer:LoadBalancer",),
        _balancer,
    ),
    ("RDS", "database with its storage", ("aws:rds/instance:Instance",), _database),
    ("ElastiCache", "cache with its nodes", (CACHE,), _cache),
    ("ECR", "repository with its images", ("aws:ecr/repository:Repository",), _images),
    (
        "Secrets Manager",
        "database login",
        ("aws:rds/instance:Instance", AURORA),
        lambda _, prices: prices.month["managed_login"],
    ),
)
"""The service, what one is called, its types, and what it costs in a month."""


def _fixed(graph: Graph, prices: Prices) -> Iterator[Cost]:
    for service, what, types, each in FIXED:
        found = graph.of(*types)
        dollars = sum(each(resource, prices) for resource in found)
        if dollars:
            yield Cost(service, f"{len(found)} × {what}", dollars, 0.0)


def _monitoring(graph: Graph, prices: Prices) -> Iterator[Cost]:
    """The metrics that alarms read, and those among them that the service publishes itself."""
    alarms = graph.of("AWS::CloudWatch::Alarm", "aws:cloudwatch/metricAlarm:MetricAlarm")
    read = [metric for alarm in alarms for metric in _metrics(alarm.properties)]
    own = {name for namespace, name in read if namespace == "Remit"}
    month = prices.month
    yield Cost("CloudWatch", f"{len(read)} metrics of alarms", len(read) * month["alarm_metric"], 0)
    yield Cost("CloudWatch", f"{len(own)} custom metrics", len(own) * month["custom_metric"], 0)
    if graph.of("aws:ec2/flowLog:FlowLog"):
        logged = IDLE_LOG_GB * prices.gigabyte["log_ingested"]
        yield Cost("CloudWatch", "logs without callers", logged, 0.0)


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


def _schedules(graph: Graph, prices: Prices) -> Iterator[Cost]:
    """What runs every minute in functions, with payments or without."""
    if graph.of(SERVICE):
        return
    million = prices.million
    monitored = max(map(_monitored_metrics, graph.resources), default=0)
    read = monitored * MONTH_MINUTES * million["get_metric_data"] / 1e6
    yield Cost("CloudWatch", f"the health monitor's reads of {monitored} metrics", read, 0.0)
    rules = graph.of("AWS::Events::Rule", "aws:cloudwatch/eventRule:EventRule")
    minutely = sum(_rate(rule.properties) == "rate(1 minute)" for rule in rules)
    targets = len(graph.of("aws:lb/targetGroup:TargetGroup"))
    runs, checks = MONTH_MINUTES * minutely, MONTH_MINUTES * targets
    seconds = (runs * JOB_SECONDS + checks * HEALTH_SECONDS) * FUNCTION_GB
    calls = (runs + checks) * million["lambda_request"] + seconds * million["lambda_gb_second"]
    yield Cost("Lambda", f"{runs + checks:,} scheduled runs and health checks", calls / 1e6, 0.0)
    # Each is the first of its second, which X-Ray's own rule takes.
    traced = (runs + checks) * million["xray_trace"] / 1e6
    yield Cost("X-Ray", "traces of scheduled runs and health checks", traced, 0.0)
    if graph.of("AWS::DynamoDB::Table"):
        # Eight shards of the outbox and of the entries to archive, and what is due.
        reads = runs * 20 * 0.5 * million["read_request_unit"] / 1e6
        yield Cost("DynamoDB", "reads of scheduled runs", reads, 0.0)


def _rate(rule: Mapping[str, Any]) -> str:
    return str(rule.get("ScheduleExpression") or rule.get("scheduleExpression"))


def _monitored_metrics(resource: Resource) -> int:
    """How many metrics a function's health monitor reads."""
    given = resource.properties.get("Environment") or resource.properties.get("environment")
    if not isinstance(given, Mapping):
        return 0
    variables = given.get("Variables") or given.get("variables") or {}
    return len(msgspec.json.decode(variables.get("REMIT_MONITORED_METRICS", "[]")))


def _per_payment(use: Use, prices: Prices) -> Iterator[Cost]:
    for name, number in use.number.items():
        yield Cost(*PRICED[name], 0.0, number * prices.million[name] / 1e6)
    for name, batch in use.batched.items():
        each = prices.million[name] / 1e6
        yield Cost(
            *PRICED[name],
            0.0,
            batch.alone * each,
            shared=batch.rounds * each,
            packed=batch.packed * each,
        )
    for name, gigabytes in use.gigabytes.items():
        yield Cost(*PRICED[name], 0.0, gigabytes * prices.gigabyte[name])
