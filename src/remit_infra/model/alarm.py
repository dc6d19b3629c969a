"""Types of the alarm table, and short ways to name a metric of AWS or of the service."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from remit.adapters.aws.cloudwatch import MonitoredMetric

RUNBOOK = "docs/runbook.md"
NAMESPACE = "Remit"
"""The namespace of the service's own metrics. Their dimension is `service`."""

Dimensions = Mapping[str, str]
"""CloudWatch's dimensions of a metric. A value `<words>` is a placeholder: see `Scopes`."""

Scopes = Mapping[str, Mapping[str, Dimensions]]
"""What a topology monitors: by scope of the alarm table, the dimensions of each resource by name.

A value such as `<load balancer>` stands for an identifier that exists once the resource does.
"""


class MissingData(StrEnum):
    """How CloudWatch treats periods without data, in its own words."""

    NOT_BREACHING = "notBreaching"
    BREACHING = "breaching"
    IGNORE = "ignore"


class Metric(msgspec.Struct, frozen=True):
    """A metric with its statistic. `dimensions` are added to those of the resource."""

    namespace: str
    name: str
    statistic: str = "Sum"
    dimensions: tuple[tuple[str, str], ...] = ()


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the alarm table.

    It fires when the metric is above the threshold, or below it if `below`, for `periods` in a row.
    `{}` in the name stands for the resource. `expression` combines several metrics, as m0, m1 and
    so on. The health monitor evaluates the rows that are `is_monitored`.
    """

    name: str
    scope: str
    metrics: tuple[Metric, ...]
    threshold: float
    meaning: str
    expression: str | None = None
    period_seconds: int = 60
    periods: int = 1
    missing: MissingData = MissingData.NOT_BREACHING
    is_monitored: bool = False
    below: bool = False

    @property
    def runbook(self) -> str:
        """The heading of its entry in the runbook. All resources of a scope share one."""
        return self.name.format(self.scope.replace(" ", "-"))


class ResourceAlarm(msgspec.Struct, frozen=True):
    """An alarm of one resource. The name is without the suffix."""

    name: str
    alarm: Alarm
    dimensions: Mapping[str, str]


def api_metric(name: str, statistic: str = "Sum") -> tuple[Metric, ...]:
    return (Metric("AWS/ApiGateway", name, statistic),)


def lambda_metric(name: str, statistic: str = "Sum") -> tuple[Metric, ...]:
    return (Metric("AWS/Lambda", name, statistic),)


def rds_metric(name: str, statistic: str = "Average") -> tuple[Metric, ...]:
    return (Metric("AWS/RDS", name, statistic),)


def sqs_metric(name: str, statistic: str = "Maximum") -> tuple[Metric, ...]:
    return (Metric("AWS/SQS", name, statistic),)


def ecs_metric(name: str, statistic: str = "Average") -> tuple[Metric, ...]:
    return (Metric("AWS/ECS", name, statistic),)


def cache_metric(name: str, statistic: str = "Average") -> tuple[Metric, ...]:
    return (Metric("AWS/ElastiCache", name, statistic),)


def alb_metric(name: str, statistic: str = "Sum") -> tuple[Metric, ...]:
    return (Metric("AWS/ApplicationELB", name, statistic),)


def service_metrics(*names: str, statistic: str = "Sum") -> tuple[Metric, ...]:
    return tuple(Metric(NAMESPACE, name, statistic) for name in names)


def system_errors() -> tuple[Metric, ...]:
    operations = ("GetItem", "PutItem", "Query", "TransactWriteItems")
    return tuple(
        Metric("AWS/DynamoDB", "SystemErrors", "Sum", (("Operation", operation),))
        for operation in operations
    )


def monitored_metrics(alarms: Iterable[ResourceAlarm]) -> str:
    """The metrics that the health monitor evaluates, as JSON for its setting."""
    metrics = [
        MonitoredMetric(
            name=resource.name,
            namespace=metric.namespace,
            metric=metric.name,
            dimensions={**resource.dimensions, **dict(metric.dimensions)},
            statistic=metric.statistic,
            period_seconds=resource.alarm.period_seconds,
            periods=resource.alarm.periods,
            threshold=resource.alarm.threshold,
        )
        for resource in alarms
        if resource.alarm.is_monitored
        for metric in resource.alarm.metrics
    ]
    return msgspec.json.encode(metrics).decode()
