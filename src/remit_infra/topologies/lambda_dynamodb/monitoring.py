"""Alarms, one for each row of the alarm table and resource, and the dashboard."""

from collections.abc import Iterable

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from remit_infra.model.alarm import NAMESPACE, RUNBOOK, MissingData, ResourceAlarm, Scopes
from remit_infra.model.environments import Names
from remit_infra.model.monitoring import (
    PAYMENT_METRICS,
    GraphLine,
    Graphs,
    function_scopes,
    service_scopes,
)
from remit_infra.topologies.lambda_dynamodb.configuration import FUNCTIONS

MISSING_DATA = {
    MissingData.NOT_BREACHING: cloudwatch.TreatMissingData.NOT_BREACHING,
    MissingData.BREACHING: cloudwatch.TreatMissingData.BREACHING,
    MissingData.IGNORE: cloudwatch.TreatMissingData.IGNORE,
}


def scopes_of(names: Names) -> Scopes:
    functions = function_scopes(names, FUNCTIONS)
    dead_letters = "failed-transactions-dlq"
    return {
        **functions,
        **service_scopes(names),
        "stream function": {"payment-delivery": functions["function"]["payment-delivery"]},
        "table": {"transactions": {"TableName": names("table", "transactions")}},
        "queue": {"failed-transactions": {"QueueName": names("queue", "failed-transactions")}},
        "dead letters": {dead_letters: {"QueueName": names("queue", dead_letters)}},
    }


def make_alarms(
    stack: Construct, names: Names, alarms: Iterable[ResourceAlarm], topic: sns.Topic
) -> None:
    """Each alarm notifies the topic when it fires and when it is over."""
    action = actions.SnsAction(topic)
    for resource in alarms:
        alarm = cloudwatch.Alarm(
            stack,
            f"{resource.name}-alarm",
            alarm_name=names("alarm", resource.name),
            alarm_description=f"{resource.alarm.meaning} See {RUNBOOK}, {resource.alarm.runbook}.",
            metric=_metric(resource),
            threshold=resource.alarm.threshold,
            evaluation_periods=resource.alarm.periods,
            comparison_operator=(
                cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
                if resource.alarm.below
                else cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
            ),
            treat_missing_data=MISSING_DATA[resource.alarm.missing],
        )
        alarm.add_alarm_action(action)
        alarm.add_ok_action(action)


def _metric(resource: ResourceAlarm) -> cloudwatch.IMetric:
    """The alarm's metric, or the expression over its metrics m0, m1 and so on."""
    period = Duration.seconds(resource.alarm.period_seconds)
    metrics = {
        f"m{number}": cloudwatch.Metric(
            namespace=metric.namespace,
            metric_name=metric.name,
            dimensions_map={**resource.dimensions, **dict(metric.dimensions)},
            statistic=metric.statistic,
            period=period,
        )
        for number, metric in enumerate(resource.alarm.metrics)
    }
    if resource.alarm.expression is None:
        return metrics["m0"]
    return cloudwatch.MathExpression(
        expression=resource.alarm.expression,
        using_metrics=metrics,
        period=period,
        label=resource.name,
    )


def graphs_of(scopes: Scopes) -> Graphs:
    """Traffic, latency, errors, payments, the table, and waiting work."""
    api, table = scopes["api"]["api"], scopes["table"]["transactions"]
    service = scopes["service"]["payment"]
    queues = [*scopes["queue"].values(), *scopes["dead letters"].values()]
    gateway = "AWS/ApiGateway"
    return {
        "Requests": [GraphLine(gateway, "Count", api)],
        "Latency in ms": [
            GraphLine(gateway, "Latency", api, percentile) for percentile in ("p50", "p95", "p99")
        ],
        "Refused and failed": [
            GraphLine(gateway, metric, api) for metric in ("4XXError", "5XXError")
        ],
        "Payments": [GraphLine(NAMESPACE, metric, service) for metric in PAYMENT_METRICS],
        "Table: capacity used": [
            GraphLine("AWS/DynamoDB", f"Consumed{access}CapacityUnits", table)
            for access in ("Read", "Write")
        ],
        "Failed work": [
            GraphLine("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue, "Maximum")
            for queue in queues
        ],
        "Function errors": [
            GraphLine("AWS/Lambda", "Errors", function) for function in scopes["function"].values()
        ],
        "Oldest message in s": [GraphLine(NAMESPACE, "OutboxAge", service, "Maximum")],
    }


def make_dashboard(stack: Construct, names: Names, graphs: Graphs) -> None:
    """Two graphs in each row, in the given order."""
    widgets: list[cloudwatch.IWidget] = [
        cloudwatch.GraphWidget(title=title, left=[_line(line) for line in lines], width=12)
        for title, lines in graphs.items()
    ]
    cloudwatch.Dashboard(
        stack,
        "dashboard",
        dashboard_name=names("dashboard", "payment-dashboard"),
        widgets=[widgets[start : start + 2] for start in range(0, len(widgets), 2)],
    )


def _line(line: GraphLine) -> cloudwatch.IMetric:
    return cloudwatch.Metric(
        namespace=line.namespace,
        metric_name=line.metric,
        dimensions_map=dict(line.dimensions),
        statistic=line.statistic,
        period=Duration.minutes(1),
    )
