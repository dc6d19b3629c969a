"""Alarms, one for each row of the alarm table and resource, and the dashboard."""

from collections.abc import Iterable, Mapping
from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.model.alarm import RUNBOOK, ResourceAlarm
from remit_infra.model.environments import Names
from remit_infra.model.monitoring import GraphLine, Graphs

WIDTH, HEIGHT = 12, 6

Identifiers = Mapping[str, pulumi.Input[str]]
"""The value for each placeholder among the dimensions, such as `<load balancer>`."""


def make_alarms(
    names: Names,
    alarms: Iterable[ResourceAlarm],
    topic: aws.sns.Topic,
    identifiers: Identifiers,
) -> list[aws.cloudwatch.MetricAlarm]:
    """Each alarm notifies the topic when it fires and when it is over."""
    return [
        aws.cloudwatch.MetricAlarm(
            f"{resource.name}-alarm",
            name=names("alarm", resource.name),
            alarm_description=f"{resource.alarm.meaning} See {RUNBOOK}, {resource.alarm.runbook}.",
            threshold=resource.alarm.threshold,
            evaluation_periods=resource.alarm.periods,
            comparison_operator=(
                "LessThanThreshold" if resource.alarm.below else "GreaterThanThreshold"
            ),
            treat_missing_data=resource.alarm.missing.value,
            alarm_actions=[topic.arn],
            ok_actions=[topic.arn],
            **_metric(resource, identifiers),
        )
        for resource in alarms
    ]


def _metric(resource: ResourceAlarm, identifiers: Identifiers) -> dict[str, Any]:
    """The alarm's metric, or the queries of its expression, as arguments of the alarm."""
    alarm = resource.alarm
    metrics = [
        {
            "namespace": metric.namespace,
            "metric_name": metric.name,
            "dimensions": {
                name: identifiers.get(value, value)
                for name, value in {**resource.dimensions, **dict(metric.dimensions)}.items()
            },
            "period": alarm.period_seconds,
        }
        for metric in alarm.metrics
    ]
    if alarm.expression is None:
        return {**metrics[0], "statistic": alarm.metrics[0].statistic}
    queries: list[dict[str, Any]] = [
        {"id": f"m{number}", "metric": {**metric, "stat": alarm.metrics[number].statistic}}
        for number, metric in enumerate(metrics)
    ]
    result = {
        "id": "all",
        "expression": alarm.expression,
        "label": resource.name,
        "return_data": True,
    }
    return {"metric_queries": [*queries, result]}


def make_dashboard(names: Names, region: str, graphs: Graphs, identifiers: Identifiers) -> None:
    """Two graphs in each row, in the given order."""
    widgets = [
        {
            "type": "metric",
            "x": WIDTH * (number % 2),
            "y": HEIGHT * (number // 2),
            "width": WIDTH,
            "height": HEIGHT,
            "properties": {
                "title": title,
                "region": region,
                "view": "timeSeries",
                "period": 60,
                "metrics": [_widget_metric(line, identifiers) for line in lines],
            },
        }
        for number, (title, lines) in enumerate(graphs.items())
    ]
    aws.cloudwatch.Dashboard(
        "payment-dashboard",
        dashboard_name=names("dashboard", "payment-dashboard"),
        dashboard_body=pulumi.Output.json_dumps({"widgets": widgets}),
    )


def _widget_metric(line: GraphLine, identifiers: Identifiers) -> list[Any]:
    """A metric in CloudWatch's form: a list whose dimensions are names and values in turn."""
    dimensions = [
        part
        for name, value in line.dimensions.items()
        for part in (name, identifiers.get(value, value))
    ]
    return [line.namespace, line.metric, *dimensions, {"stat": line.statistic}]
