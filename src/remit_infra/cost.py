"""What a topology costs in a month, from its template and a stated number of payments.

Fixed prices follow the resources that are there. What a payment uses was counted on the service:
its items in the table, its requests and its messages.
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

MONTH_MINUTES = 43_800
PRICES = Path(__file__).with_name("prices.toml")

FUNCTION_GB = 1.0
JOB_SECONDS = 0.25
"""How long a function of the clock runs when there is nothing to do."""


class Prices(msgspec.Struct, frozen=True):
    """Dollars for a month, for a million, for a gigabyte; and the day they were looked up."""

    date: str
    month: dict[str, float]
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


PAYMENT: Mapping[str, float] = {
    "api_gateway_request": 2,
    "kms_request": 0.1,
    "lambda_gb_second": 4 * 0.08 * FUNCTION_GB,
    "lambda_request": 4,
    "read_request_unit": 14,
    "s3_put": 0.02,
    "sns_publish": 2,
    "web_acl_request": 2,
    "write_request_unit": 60,
    "xray_trace": 0.1,
}
"""What one payment uses: validate and process with idempotency keys, delivered and sealed. Its nine
items are 22 transactional write units and 18 of the indexes; deleting messages and marking audit
entries sealed is the rest. X-Ray samples a twentieth and one a second.
"""

PAYMENT_GB = {"log_ingested": 6e-6, "table_month": 7e-6}
"""Gigabytes of logs, and of the table for as long as it is kept."""

SERVICE_OF = {
    "api_gateway_request": "ApiGateway",
    "kms_request": "KMS",
    "lambda_gb_second": "Lambda",
    "lambda_request": "Lambda",
    "log_ingested": "Logs",
    "read_request_unit": "DynamoDB",
    "s3_put": "S3",
    "sns_publish": "SNS",
    "table_month": "DynamoDB",
    "web_acl_request": "WAFv2",
    "write_request_unit": "DynamoDB",
    "xray_trace": "XRay",
}


def read_prices(path: Path = PRICES) -> Prices:
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Prices)


def costs(template: Mapping[str, Any], prices: Prices) -> list[Cost]:
    """Every line of the bill, the dearest first."""
    lines = [*_fixed(template, prices), *_clock(template, prices), *_per_payment(prices)]
    return sorted(lines, key=lambda line: (-line.idle, -line.payment))


def _fixed(template: Mapping[str, Any], prices: Prices) -> Iterator[Cost]:
    resources: dict[str, list[dict[str, Any]]] = {}
    for resource in template["Resources"].values():
        resources.setdefault(resource["Type"], []).append(resource.get("Properties", {}))
    month = prices.month
    alarms = resources.get("AWS::CloudWatch::Alarm", [])
    metrics = sum(_metrics_of(alarm) for alarm in alarms)
    own = {name for alarm in alarms for name in _own_metrics(alarm)}
    acls = resources.get("AWS::WAFv2::WebACL", [])
    rules = sum(len(acl["Rules"]) for acl in acls)
    for service, what, number, each in (
        ("KMS", "keys", len(resources.get("AWS::KMS::Key", [])), month["kms_key"]),
        ("WAFv2", "web firewalls", len(acls), month["web_acl"]),
        ("WAFv2", "rules", rules, month["web_acl_rule"]),
        ("CloudWatch", "metrics in alarms", metrics, month["alarm_metric"]),
        ("CloudWatch", "metrics of our own", len(own), month["custom_metric"]),
        (
            "CloudWatch",
            "dashboards",
            len(resources.get("AWS::CloudWatch::Dashboard", [])),
            month["dashboard"],
        ),
    ):
        if number:
            yield Cost(service, f"{number} {what}", number * each, 0.0)


def _metrics_of(alarm: Mapping[str, Any]) -> int:
    return sum("MetricStat" in one for one in alarm.get("Metrics", [])) or 1


def _own_metrics(alarm: Mapping[str, Any]) -> set[str]:
    stats = [one["MetricStat"]["Metric"] for one in alarm.get("Metrics", []) if "MetricStat" in one]
    return {
        metric["MetricName"] for metric in (*stats, alarm) if metric.get("Namespace") == "Remit"
    }


def _clock(template: Mapping[str, Any], prices: Prices) -> Iterator[Cost]:
    """What runs every minute, whether or not anybody pays."""
    rules = [
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Events::Rule"
    ]
    runs = MONTH_MINUTES * sum(rule["ScheduleExpression"] == "rate(1 minute)" for rule in rules)
    million = prices.million
    seconds = runs * JOB_SECONDS * FUNCTION_GB
    calls = runs * million["lambda_request"] / 1e6 + seconds * million["lambda_gb_second"] / 1e6
    yield Cost("Lambda", f"{runs} runs of the clock", calls, 0.0)
    watched = max(
        (
            len(msgspec.json.decode(variables["REMIT_WATCHED_METRICS"]))
            for resource in template["Resources"].values()
            if resource["Type"] == "AWS::Lambda::Function"
            and "REMIT_WATCHED_METRICS"
            in (variables := resource["Properties"]["Environment"]["Variables"])
        ),
        default=0,
    )
    asked = watched * MONTH_MINUTES
    yield Cost(
        "CloudWatch",
        f"the monitor's look at {watched} metrics",
        asked * million["get_metric_data"] / 1e6,
        0.0,
    )
    # Eight shards of the outbox and of the unsealed entries, and what is due.
    reads = runs * 20 * 0.5
    yield Cost("DynamoDB", "reads of the clock", reads * million["read_request_unit"] / 1e6, 0.0)


def _per_payment(prices: Prices) -> Iterator[Cost]:
    for name, number in PAYMENT.items():
        what = name.replace("_", " ")
        yield Cost(SERVICE_OF[name], f"{what}s", 0.0, number * prices.million[name] / 1e6)
    for name, number in PAYMENT_GB.items():
        what = name.replace("_", " ")
        yield Cost(SERVICE_OF[name], f"GB {what}", 0.0, number * prices.gigabyte[name])
