"""What a topology costs in a month, from its graph and a stated number of payments.

Fixed prices follow the resources that are there. What a payment uses was counted on the service:
its items or rows, its requests and its messages.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from remit_infra.graph import Graph, Resource

MONTH_HOURS = 730
MONTH_MINUTES = 43_800
PRICES = Path(__file__).with_name("prices.toml")

FUNCTION_GB = 1.0
JOB_SECONDS = 0.25
"""How long a function of the clock runs when there is nothing to do."""

HEALTH_SECONDS = 0.05
QUIET_LOG_GB = 1.0
"""What a network and a database log in a month without callers: flows, monitoring, connections."""


class Prices(msgspec.Struct, frozen=True):
    """Dollars for a month, an hour, a million, a gigabyte; and the day they were looked up."""

    date: str
    month: dict[str, float]
    hour: dict[str, float]
    million: dict[str, float]
    gigabyte: dict[str, float]


class Cost(msgspec.Struct, frozen=True):
    """One line of the bill: dollars a month while nothing happens, and for each payment."""

    service: str
    what: str
    idle: float
    payment: float

    def month(self, payments: int) -> float:
        return self.idle + self.payment * payments


class Use(msgspec.Struct, frozen=True):
    """What one payment uses: how many of each, and gigabytes of each."""

    number: Mapping[str, float]
    gigabytes: Mapping[str, float]


AT_THE_EDGE = {
    "api_gateway_request": 2,
    "kms_request": 0.1,
    "s3_put": 0.02,
    "sns_publish": 2,
    "web_acl_request": 2,
    "xray_trace": 0.1,
}
"""For validate and process, the card sealed and opened, two notifications, and the trail. X-Ray
samples a twentieth and one a second.
"""

USES: Mapping[str, Use] = MappingProxyType(
    {
        # Its nine items are 22 transactional write units and 18 of the indexes; deleting messages
        # and marking audit entries sealed is the rest.
        "lambda-dynamodb": Use(
            number={
                **AT_THE_EDGE,
                "lambda_gb_second": 4 * 0.08 * FUNCTION_GB,
                "lambda_request": 4,
                "read_request_unit": 14,
                "write_request_unit": 60,
            },
            gigabytes={"log_ingested": 6e-6, "table_month": 7e-6},
        ),
        # Two requests; delivery takes many at once. Twelve rows with their indexes.
        "lambda-postgres": Use(
            number={
                **AT_THE_EDGE,
                "lambda_gb_second": 2 * 0.06 * FUNCTION_GB,
                "lambda_request": 2.1,
            },
            gigabytes={"log_ingested": 6e-6, "nat": 2e-5, "rds_multi_az_month": 9e-6},
        ),
    }
)

SERVICE_OF = MappingProxyType(
    {
        "api_gateway_request": "API Gateway",
        "kms_request": "KMS",
        "lambda_gb_second": "Lambda",
        "lambda_request": "Lambda",
        "log_ingested": "CloudWatch",
        "nat": "VPC",
        "rds_multi_az_month": "RDS",
        "read_request_unit": "DynamoDB",
        "s3_put": "S3",
        "sns_publish": "SNS",
        "table_month": "DynamoDB",
        "web_acl_request": "WAF",
        "write_request_unit": "DynamoDB",
        "xray_trace": "X-Ray",
    }
)


def read_prices(path: Path = PRICES) -> Prices:
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Prices)


def costs(graph: Graph, prices: Prices) -> list[Cost]:
    """Every line of the bill, the dearest first."""
    lines = [
        *_fixed(graph, prices),
        *_observed(graph, prices),
        *_clock(graph, prices),
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
    (
        "Secrets Manager",
        "secrets",
        ("aws:rds/instance:Instance",),
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
    rules = graph.of("AWS::Events::Rule", "aws:cloudwatch/eventRule:EventRule")
    minutely = sum(_rate(rule.properties) == "rate(1 minute)" for rule in rules)
    targets = len(graph.of("aws:lb/targetGroup:TargetGroup"))
    runs, checks = MONTH_MINUTES * minutely, MONTH_MINUTES * targets
    million = prices.million
    seconds = (runs * JOB_SECONDS + checks * HEALTH_SECONDS) * FUNCTION_GB
    calls = (runs + checks) * million["lambda_request"] + seconds * million["lambda_gb_second"]
    yield Cost("Lambda", f"{runs + checks} runs of the clock and health checks", calls / 1e6, 0.0)
    watched = max(map(_watched, graph.resources), default=0)
    asked = watched * MONTH_MINUTES * million["get_metric_data"] / 1e6
    yield Cost("CloudWatch", f"the monitor's look at {watched} metrics", asked, 0.0)
    if graph.of("AWS::DynamoDB::Table"):
        # Eight shards of the outbox and of the unsealed entries, and what is due.
        reads = runs * 20 * 0.5 * million["read_request_unit"] / 1e6
        yield Cost("DynamoDB", "reads of the clock", reads, 0.0)


def _rate(rule: Mapping[str, Any]) -> str:
    return str(rule.get("ScheduleExpression") or rule.get("scheduleExpression"))


def _watched(resource: Resource) -> int:
    """How many metrics a function is told to look at."""
    given = resource.properties.get("Environment") or resource.properties.get("environment")
    if not isinstance(given, Mapping):
        return 0
    variables = given.get("Variables") or given.get("variables") or {}
    return len(msgspec.json.decode(variables.get("REMIT_WATCHED_METRICS", "[]")))


def _per_payment(use: Use, prices: Prices) -> Iterator[Cost]:
    for name, number in use.number.items():
        what = f"{name.replace('_', ' ')}s"
        yield Cost(SERVICE_OF[name], what, 0.0, number * prices.million[name] / 1e6)
    for name, number in use.gigabytes.items():
        what = f"GB {name.replace('_', ' ')}"
        yield Cost(SERVICE_OF[name], what, 0.0, number * prices.gigabyte[name])
