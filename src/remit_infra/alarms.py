"""The alarm table: every alarm of every topology, once. `docs/runbook.md` has an entry for each.

A row is about a scope, say functions; a topology makes it for each of its own by giving the names
and dimensions. The health monitor reads those that are `watched`, against the same thresholds.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

import msgspec

from remit.adapters.cloudwatch import WatchedMetric

RUNBOOK = "docs/runbook.md"
NAMESPACE = "Remit"
"""Of the metrics that the service itself counts. Their dimension is `service`."""


class Missing(StrEnum):
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
    missing: Missing = Missing.FINE
    watched: bool = False
    below: bool = False

    @property
    def runbook(self) -> str:
        """The heading of its entry in the runbook: one for all of a scope."""
        return self.name.format(self.scope.replace(" ", "-"))


class PlacedAlarm(msgspec.Struct, frozen=True):
    """An alarm of one resource, named without the suffix."""

    name: str
    alarm: Alarm
    dimensions: Mapping[str, str]


def _api(name: str, statistic: str = "Sum") -> tuple[Metric, ...]:
    return (Metric("AWS/ApiGateway", name, statistic),)


def _lambda(name: str, statistic: str = "Sum") -> tuple[Metric, ...]:
    return (Metric("AWS/Lambda", name, statistic),)


def _rds(name: str, statistic: str = "Average") -> tuple[Metric, ...]:
    return (Metric("AWS/RDS", name, statistic),)


def _alb(name: str, statistic: str = "Sum") -> tuple[Metric, ...]:
    return (Metric("AWS/ApplicationELB", name, statistic),)


def _own(*names: str, statistic: str = "Sum") -> tuple[Metric, ...]:
    return tuple(Metric(NAMESPACE, name, statistic) for name in names)


def _system_errors() -> tuple[Metric, ...]:
    operations = ("GetItem", "PutItem", "Query", "TransactWriteItems")
    return tuple(
        Metric("AWS/DynamoDB", "SystemErrors", "Sum", (("Operation", operation),))
        for operation in operations
    )


ALARMS: tuple[Alarm, ...] = (
    Alarm(
        name="api-latency",
        scope="api",
        metrics=_api("Latency", "Average"),
        threshold=1_000,
        periods=3,
        watched=True,
        meaning="Requests take more than a second on average.",
    ),
    Alarm(
        name="api-5xx",
        scope="api",
        metrics=_api("5XXError"),
        threshold=10,
        period_seconds=300,
        watched=True,
        meaning="Requests fail through no fault of the caller.",
    ),
    Alarm(
        name="api-4xx",
        scope="api",
        metrics=_api("4XXError"),
        threshold=50,
        period_seconds=300,
        meaning="Many requests are refused: a broken client, or someone guessing keys.",
    ),
    Alarm(
        name="{}-errors",
        scope="function",
        metrics=_lambda("Errors"),
        threshold=5,
        period_seconds=300,
        watched=True,
        meaning="The function ends with an error, or is not ended in time.",
    ),
    Alarm(
        name="{}-throttles",
        scope="function",
        metrics=_lambda("Throttles"),
        threshold=0,
        period_seconds=60,
        periods=3,
        meaning="The function is called more often at once than its reserved concurrency allows.",
    ),
    Alarm(
        name="{}-duration",
        scope="request function",
        metrics=_lambda("Duration", "Maximum"),
        threshold=24_000,
        period_seconds=300,
        meaning="A call took 24 of the 29 seconds that API Gateway waits.",
    ),
    Alarm(
        name="health-monitor-silent",
        scope="monitor",
        metrics=_lambda("Invocations"),
        threshold=1,
        period_seconds=300,
        missing=Missing.FAILING,
        below=True,
        meaning="The health monitor does not run.",
    ),
    Alarm(
        name="stream-age",
        scope="stream function",
        metrics=_lambda("IteratorAge", "Maximum"),
        threshold=60_000,
        periods=3,
        meaning="Messages wait in the table's stream for more than a minute.",
    ),
    Alarm(
        name="dynamodb-throttle",
        scope="table",
        metrics=(
            Metric("AWS/DynamoDB", "ReadThrottleEvents"),
            Metric("AWS/DynamoDB", "WriteThrottleEvents"),
        ),
        expression="SUM(METRICS())",
        threshold=0,
        period_seconds=300,
        watched=True,
        meaning="DynamoDB refuses reads or writes because there are too many.",
    ),
    Alarm(
        name="dynamodb-errors",
        scope="table",
        metrics=_system_errors(),
        expression="SUM(METRICS())",
        threshold=0,
        period_seconds=300,
        meaning="DynamoDB fails by itself.",
    ),
    Alarm(
        name="{}-cpu",
        scope="database",
        metrics=_rds("CPUUtilization"),
        threshold=80,
        period_seconds=300,
        periods=2,
        watched=True,
        meaning="The database is busy for more than 80 % of the time.",
    ),
    Alarm(
        name="{}-storage",
        scope="database",
        metrics=_rds("FreeStorageSpace", "Minimum"),
        threshold=2 * 1024**3,
        period_seconds=300,
        below=True,
        meaning="Less than 2 GiB of the database's storage are free, and it has not grown.",
    ),
    Alarm(
        name="{}-memory",
        scope="database",
        metrics=_rds("FreeableMemory", "Minimum"),
        threshold=64 * 1024**2,
        period_seconds=300,
        periods=3,
        below=True,
        meaning="Less than 64 MiB of the database's memory are free.",
    ),
    Alarm(
        name="{}-connections",
        scope="database",
        metrics=_rds("DatabaseConnections", "Maximum"),
        threshold=100,
        period_seconds=300,
        meaning="More than 100 connections are open.",
    ),
    Alarm(
        name="{}-latency",
        scope="database",
        metrics=_rds("WriteLatency"),
        threshold=0.02,
        period_seconds=300,
        periods=3,
        meaning="A write takes more than 20 ms on average: the disk is not keeping up.",
    ),
    Alarm(
        name="{}-unhealthy",
        scope="target group",
        metrics=_alb("UnHealthyHostCount", "Maximum"),
        threshold=0,
        periods=3,
        meaning="What is behind the load balancer does not answer its health check.",
    ),
    Alarm(
        name="{}-latency",
        scope="load balancer",
        metrics=_alb("TargetResponseTime", "Average"),
        threshold=1,
        periods=3,
        meaning="Requests through the load balancer take more than a second on average.",
    ),
    Alarm(
        name="{}-5xx",
        scope="load balancer",
        metrics=(
            Metric("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count"),
            Metric("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count"),
        ),
        expression="SUM(METRICS())",
        threshold=10,
        period_seconds=300,
        meaning="Requests through the load balancer fail through no fault of the caller.",
    ),
    Alarm(
        name="{}-ports",
        scope="nat gateway",
        metrics=(Metric("AWS/NATGateway", "ErrorPortAllocation"),),
        threshold=0,
        period_seconds=300,
        meaning="The NAT gateway has no port left for a new connection.",
    ),
    Alarm(
        name="payment-dead-letters",
        scope="work table",
        metrics=_own("DeadLetters", statistic="Maximum"),
        threshold=0,
        period_seconds=300,
        meaning="Work failed as often as it may and waits for an operator.",
    ),
    Alarm(
        name="{}-age",
        scope="queue",
        metrics=(Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum"),),
        threshold=900,
        period_seconds=300,
        meaning="Failed work waits for more than a quarter of an hour.",
    ),
    Alarm(
        name="{}-not-empty",
        scope="dead letters",
        metrics=(Metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum"),),
        threshold=0,
        meaning="Work failed as often as it may and waits for an operator.",
    ),
    Alarm(
        name="{}-undelivered",
        scope="topic",
        metrics=(Metric("AWS/SNS", "NumberOfNotificationsFailed"),),
        threshold=0,
        period_seconds=300,
        meaning="A subscriber of the topic did not get a message.",
    ),
    Alarm(
        name="payment-messages-failed",
        scope="service",
        metrics=_own("MessagesFailed"),
        threshold=5,
        period_seconds=300,
        meaning="Messages fail, and are tried again; no function's own errors show it.",
    ),
    Alarm(
        name="payment-outbox-age",
        scope="service",
        metrics=_own("OutboxAge", statistic="Maximum"),
        threshold=300,
        periods=3,
        meaning="Committed messages have waited for five minutes.",
    ),
    Alarm(
        name="payment-ledger-imbalance",
        scope="service",
        metrics=_own("LedgerImbalances", "Discrepancies", statistic="Maximum"),
        expression="SUM(METRICS())",
        threshold=0,
        period_seconds=3600,
        missing=Missing.SAME,
        meaning="Books, payments and processor disagree.",
    ),
    Alarm(
        name="payment-audit-break",
        scope="service",
        metrics=_own("AuditBreaks", statistic="Maximum"),
        threshold=0,
        period_seconds=3600,
        missing=Missing.SAME,
        meaning="The audit trail is not what was sealed.",
    ),
    Alarm(
        name="payment-decline-rate",
        scope="service",
        metrics=_own("payment.declined", "payment.captured"),
        expression="IF(FILL(m0, 0) + FILL(m1, 0) >= 20, 100 * FILL(m0, 0) / (FILL(m0, 0) + "
        "FILL(m1, 0)), 0)",
        threshold=40,
        period_seconds=300,
        periods=2,
        meaning="The processor declines more than 40 % of at least 20 payments.",
    ),
)


def placed(resources: Mapping[str, Mapping[str, Mapping[str, str]]]) -> Iterator[PlacedAlarm]:
    """Every alarm of a topology: for each scope its resources by name, with their dimensions."""
    for alarm in ALARMS:
        for name, dimensions in resources.get(alarm.scope, {}).items():
            yield PlacedAlarm(alarm.name.format(name), alarm, dimensions)


def watched(alarms: Iterable[PlacedAlarm]) -> str:
    """The metrics that the health monitor reads, as its setting `watched_metrics` has them."""
    metrics = [
        WatchedMetric(
            name=placed.name,
            namespace=metric.namespace,
            metric=metric.name,
            dimensions={**placed.dimensions, **dict(metric.fixed)},
            statistic=metric.statistic,
            period_seconds=placed.alarm.period_seconds,
            periods=placed.alarm.periods,
            threshold=placed.alarm.threshold,
        )
        for placed in alarms
        if placed.alarm.watched
        for metric in placed.alarm.metrics
    ]
    return msgspec.json.encode(metrics).decode()
