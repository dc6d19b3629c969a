"""What operators see of the topology: an alarm for each row of the alarm table, and a dashboard."""

from collections.abc import Iterable, Mapping, Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from remit_infra.model.alarm import NAMESPACE, RUNBOOK, MissingData, ResourceAlarm
from remit_infra.model.environments import Names

Dimensions = Mapping[str, str]

MISSING = {
    MissingData.FINE: cloudwatch.TreatMissingData.NOT_BREACHING,
    MissingData.FAILING: cloudwatch.TreatMissingData.BREACHING,
    MissingData.SAME: cloudwatch.TreatMissingData.IGNORE,
}


def make_alarms(
    scope: Construct, names: Names, alarms: Iterable[ResourceAlarm], topic: sns.Topic
) -> None:
    action = actions.SnsAction(topic)
    for placed in alarms:
        alarm = cloudwatch.Alarm(
            scope,
            f"{placed.name}-alarm",
            alarm_name=names("alarm", placed.name),
            alarm_description=f"{placed.alarm.meaning} See {RUNBOOK}, {placed.alarm.runbook}.",
            metric=_metric(placed),
            threshold=placed.alarm.threshold,
            evaluation_periods=placed.alarm.periods,
            comparison_operator=(
                cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
                if placed.alarm.below
                else cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
            ),
            treat_missing_data=MISSING[placed.alarm.missing],
        )
        alarm.add_alarm_action(action)
        alarm.add_ok_action(action)


def _metric(placed: ResourceAlarm) -> cloudwatch.IMetric:
    period = Duration.seconds(placed.alarm.period_seconds)
    metrics = {
        f"m{number}": cloudwatch.Metric(
            namespace=metric.namespace,
            metric_name=metric.name,
            dimensions_map={**placed.dimensions, **dict(metric.fixed)},
            statistic=metric.statistic,
            period=period,
        )
        for number, metric in enumerate(placed.alarm.metrics)
    }
    if placed.alarm.expression is None:
        return metrics["m0"]
    return cloudwatch.MathExpression(
        expression=placed.alarm.expression, using_metrics=metrics, period=period, label=placed.name
    )


def make_dashboard(
    scope: Construct, names: Names, scopes: Mapping[str, Mapping[str, Dimensions]]
) -> cloudwatch.Dashboard:
    """Traffic, latency, errors, the table, the queues, and what the business sees."""
    api, table = scopes["api"]["api"], scopes["table"]["transactions"]
    service = scopes["service"]["payment"]
    queues = [*scopes["queue"].values(), *scopes["dead letters"].values()]
    rows = [
        (
            _graph("Requests", _lines("AWS/ApiGateway", ("Count",), api)),
            _graph(
                "Latency in ms",
                *(_lines("AWS/ApiGateway", ("Latency",), api, p) for p in ("p50", "p95", "p99")),
            ),
        ),
        (
            _graph("Refused and failed", _lines("AWS/ApiGateway", ("4XXError", "5XXError"), api)),
            _graph(
                "Payments",
                _lines(
                    NAMESPACE,
                    (
                        "payment_intent.created",
                        "payment_intent.succeeded",
                        "payment_intent.payment_failed",
                    ),
                    service,
                ),
            ),
        ),
        (
            _graph(
                "Table: capacity used",
                _lines(
                    "AWS/DynamoDB",
                    ("ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"),
                    table,
                ),
            ),
            _graph(
                "Failed work",
                *(
                    _lines("AWS/SQS", ("ApproximateNumberOfMessagesVisible",), queue, "Maximum")
                    for queue in queues
                ),
            ),
        ),
        (
            _graph(
                "Function errors",
                *(_lines("AWS/Lambda", ("Errors",), one) for one in scopes["function"].values()),
            ),
            _graph("Oldest message in s", _lines(NAMESPACE, ("OutboxAge",), service, "Maximum")),
        ),
    ]
    return cloudwatch.Dashboard(
        scope,
        "dashboard",
        dashboard_name=names("dashboard", "payment-dashboard"),
        widgets=[list(row) for row in rows],
    )


def _lines(
    namespace: str, metrics: Sequence[str], dimensions: Dimensions, statistic: str = "Sum"
) -> list[cloudwatch.IMetric]:
    return [
        cloudwatch.Metric(
            namespace=namespace,
            metric_name=metric,
            dimensions_map=dict(dimensions),
            statistic=statistic,
            period=Duration.minutes(1),
        )
        for metric in metrics
    ]


def _graph(title: str, *lines: list[cloudwatch.IMetric]) -> cloudwatch.GraphWidget:
    left = [metric for line in lines for metric in line]
    return cloudwatch.GraphWidget(title=title, left=left, width=12)
