"""What an alarm is, and the metrics that AWS and the service itself count, by their namespaces."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

RUNBOOK = "docs/runbook.md"
NAMESPACE = "Remit"
"""Of the metrics that the service itself counts. Their dimension is `service`."""


class MissingData(StrEnum):
    """What periods without data mean. Where nothing is counted when nothing happens: nothing."""

    FINE = "notBreaching"
    FAILING = "breaching"
    SAME = "ignore"


class Metric(msgspec.Struct, frozen=True):
    """A metric by namespace and name, with what it is summed up by; some have a fixed dimension."""

    namespace: str
    name: str
    statistic: str = "Sum"
    fixed: tuple[tuple[str, str], ...] = ()


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """Fires when the metric is above the threshold for `periods` in a row. Of several metrics,
    `expression` makes one, naming them m0, m1 and so on.
    """

    name: str
    scope: str
    metrics: tuple[Metric, ...]
    threshold: float
    meaning: str
    expression: str | None = None
    period_seconds: int = 60
    periods: int = 1
    missing: MissingData = MissingData.FINE
    is_monitored: bool = False
    below: bool = False

    @property
    def runbook(self) -> str:
        """The heading of its entry in the runbook: one for all of a scope."""
        return self.name.format(self.scope.replace(" ", "-"))


class ResourceAlarm(msgspec.Struct, frozen=True):
    """An alarm of one resource, named without the suffix."""

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
