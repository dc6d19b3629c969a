"""The alarm table: every alarm of every topology, once. `docs/runbook.md` has an entry for each.

A row belongs to a scope, such as `function`. A topology names its resources of each scope, with
their dimensions, and gets one alarm for each. The health monitor evaluates the rows that are
`is_monitored`, with the same thresholds.
"""

from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from remit.domain.payment import EVENTS, State
from remit_infra.model.alarm import (
    Alarm,
    Metric,
    MissingData,
    ResourceAlarm,
    Scopes,
    alb_metric,
    api_metric,
    cache_metric,
    ecs_metric,
    lambda_metric,
    rds_metric,
    service_metrics,
    sqs_metric,
    system_errors,
)
from remit_infra.model.environments import ConfigurationError

ALARMS: tuple[Alarm, ...] = (
    Alarm(
        name="api-latency",
        scope="api",
        metrics=api_metric("Latency", "Average"),
        threshold=1_000,
        periods=3,
        is_monitored=True,
        meaning="Requests take more than a second on average.",
    ),
    Alarm(
        name="api-5xx",
        scope="api",
        metrics=api_metric("5XXError"),
        threshold=10,
        period_seconds=300,
        is_monitored=True,
        meaning="Requests fail through no fault of the caller.",
    ),
    Alarm(
        name="api-4xx",
        scope="api",
        metrics=api_metric("4XXError"),
        threshold=50,
        period_seconds=300,
        meaning="Many requests are refused: a broken client, or someone guessing keys.",
    ),
    Alarm(
        name="{}-errors",
        scope="function",
        metrics=lambda_metric("Errors"),
        threshold=5,
        period_seconds=300,
        is_monitored=True,
        meaning="The function ends with an error, or is not ended in time.",
    ),
    Alarm(
        name="{}-throttles",
        scope="function",
        metrics=lambda_metric("Throttles"),
        threshold=0,
        period_seconds=60,
        periods=3,
        meaning="The function is called more often at once than its reserved concurrency allows.",
    ),
    Alarm(
        name="{}-duration",
        scope="request function",
        metrics=lambda_metric("Duration", "Maximum"),
        threshold=24_000,
        period_seconds=300,
        meaning="A call took 24 of the 29 seconds that API Gateway waits.",
    ),
    Alarm(
        name="health-monitor-silent",
        scope="monitor",
        metrics=lambda_metric("Invocations"),
        threshold=1,
        period_seconds=300,
        missing=MissingData.BREACHING,
        below=True,
        meaning="The health monitor does not run.",
    ),
    Alarm(
        name="stream-age",
        scope="stream function",
        metrics=lambda_metric("IteratorAge", "Maximum"),
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
        is_monitored=True,
        meaning="DynamoDB refuses reads or writes because there are too many.",
    ),
    Alarm(
        name="dynamodb-errors",
        scope="table",
        metrics=system_errors(),
        expression="SUM(METRICS())",
        threshold=0,
        period_seconds=300,
        meaning="DynamoDB fails by itself.",
    ),
    Alarm(
        name="{}-cpu",
        scope="database",
        metrics=rds_metric("CPUUtilization"),
        threshold=80,
        period_seconds=300,
        periods=2,
        is_monitored=True,
        meaning="The database is busy for more than 80 % of the time.",
    ),
    Alarm(
        name="{}-storage",
        scope="instance",
        metrics=rds_metric("FreeStorageSpace", "Minimum"),
        threshold=2 * 1024**3,
        period_seconds=300,
        below=True,
        meaning="Less than 2 GiB of the database's storage are free, and it has not grown.",
    ),
    Alarm(
        name="{}-memory",
        scope="database",
        metrics=rds_metric("FreeableMemory", "Minimum"),
        threshold=64 * 1024**2,
        period_seconds=300,
        periods=3,
        below=True,
        meaning="Less than 64 MiB of the database's memory are free.",
    ),
    Alarm(
        name="{}-connections",
        scope="database",
        metrics=rds_metric("DatabaseConnections", "Maximum"),
        threshold=100,
        period_seconds=300,
        meaning="More than 100 connections are open.",
    ),
    Alarm(
        name="{}-latency",
        scope="database",
        metrics=rds_metric("WriteLatency"),
        threshold=0.02,
        period_seconds=300,
        periods=3,
        meaning="A write takes more than 20 ms on average: the disk is not keeping up.",
    ),
    Alarm(
        name="{}-capacity",
        scope="serverless database",
        metrics=rds_metric("ACUUtilization"),
        threshold=90,
        period_seconds=300,
        periods=3,
        meaning="The database is near the most capacity that it may have.",
    ),
    Alarm(
        name="{}-cpu",
        scope="ecs service",
        metrics=ecs_metric("CPUUtilization"),
        threshold=80,
        period_seconds=300,
        periods=2,
        is_monitored=True,
        meaning="The service's tasks are busy for more than 80 % of the time.",
    ),
    Alarm(
        name="{}-memory",
        scope="ecs service",
        metrics=ecs_metric("MemoryUtilization"),
        threshold=80,
        period_seconds=300,
        periods=2,
        is_monitored=True,
        meaning="The service's tasks use more than 80 % of their memory.",
    ),
    Alarm(
        name="{}-tasks",
        scope="ecs service",
        metrics=(Metric("ECS/ContainerInsights", "RunningTaskCount", "Minimum"),),
        threshold=1,
        periods=5,
        missing=MissingData.BREACHING,
        below=True,
        meaning="The service has no task running.",
    ),
    Alarm(
        name="{}-cpu",
        scope="cache",
        metrics=cache_metric("EngineCPUUtilization"),
        threshold=75,
        period_seconds=300,
        periods=2,
        is_monitored=True,
        meaning="Redis is busy for more than 75 % of the time.",
    ),
    Alarm(
        name="{}-memory",
        scope="cache",
        metrics=cache_metric("DatabaseMemoryUsagePercentage"),
        threshold=80,
        period_seconds=300,
        periods=2,
        meaning="More than 80 % of the cache's memory are used.",
    ),
    Alarm(
        name="{}-connections",
        scope="cache",
        metrics=cache_metric("CurrConnections", "Maximum"),
        threshold=1_000,
        period_seconds=300,
        meaning="More than 1,000 connections to Redis are open: a client does not close them.",
    ),
    Alarm(
        name="{}-unhealthy",
        scope="target group",
        metrics=alb_metric("UnHealthyHostCount", "Maximum"),
        threshold=0,
        periods=3,
        meaning="What is behind the load balancer does not answer its health check.",
    ),
    Alarm(
        name="{}-latency",
        scope="load balancer",
        metrics=alb_metric("TargetResponseTime", "Average"),
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
        metrics=service_metrics("DeadLetters", statistic="Maximum"),
        threshold=0,
        period_seconds=300,
        meaning="Work failed as often as it may and waits for an operator.",
    ),
    Alarm(
        name="{}-age",
        scope="queue",
        metrics=sqs_metric("ApproximateAgeOfOldestMessage"),
        threshold=900,
        period_seconds=300,
        meaning="Failed work waits for more than a quarter of an hour.",
    ),
    Alarm(
        name="{}-depth",
        scope="payment queue",
        metrics=sqs_metric("ApproximateNumberOfMessagesVisible"),
        threshold=100,
        period_seconds=300,
        meaning="More than 100 payments wait to be processed.",
    ),
    Alarm(
        name="{}-not-empty",
        scope="dead letters",
        metrics=sqs_metric("ApproximateNumberOfMessagesVisible"),
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
        metrics=service_metrics("MessagesFailed"),
        threshold=5,
        period_seconds=300,
        meaning="Messages fail, and are tried again; no function's own errors show it.",
    ),
    Alarm(
        name="payment-outbox-age",
        scope="service",
        metrics=service_metrics("OutboxAge", statistic="Maximum"),
        threshold=300,
        periods=3,
        meaning="Committed messages have waited for five minutes.",
    ),
    Alarm(
        name="payment-ledger-imbalance",
        scope="service",
        metrics=service_metrics("LedgerImbalances", "Discrepancies", statistic="Maximum"),
        expression="SUM(METRICS())",
        threshold=0,
        period_seconds=3600,
        missing=MissingData.IGNORE,
        meaning="Books, payments and processor disagree.",
    ),
    Alarm(
        name="payment-audit-break",
        scope="service",
        metrics=service_metrics("AuditBreaks", statistic="Maximum"),
        threshold=0,
        period_seconds=3600,
        missing=MissingData.IGNORE,
        meaning="The audit trail was changed after it was archived.",
    ),
    Alarm(
        name="payment-decline-rate",
        scope="service",
        metrics=service_metrics(EVENTS[State.DECLINED], EVENTS[State.CAPTURED]),
        expression="IF(FILL(m0, 0) + FILL(m1, 0) >= 20, 100 * FILL(m0, 0) / (FILL(m0, 0) + "
        "FILL(m1, 0)), 0)",
        threshold=40,
        period_seconds=300,
        periods=2,
        meaning="The processor declines more than 40 % of at least 20 payments.",
    ),
)


def resource_alarms(scopes: Scopes) -> Iterator[ResourceAlarm]:
    """The alarms of a topology's resources."""
    for alarm in ALARMS:
        for name, dimensions in scopes.get(alarm.scope, {}).items():
            yield ResourceAlarm(alarm.name.format(name), alarm, dimensions)


def with_thresholds(
    alarms: Iterable[ResourceAlarm], thresholds: Mapping[str, float]
) -> tuple[ResourceAlarm, ...]:
    """The alarms, with the thresholds of these names replaced. Raises ConfigurationError for a name
    that no alarm has.
    """
    by_name = {alarm.name: alarm for alarm in alarms}
    for name, threshold in thresholds.items():
        if name not in by_name:
            raise ConfigurationError(
                f"thresholds: there is no alarm '{name}'; there are {', '.join(by_name)}."
            )
        row = replace(by_name[name].alarm, threshold=threshold)
        by_name[name] = replace(by_name[name], alarm=row)
    return tuple(by_name.values())
