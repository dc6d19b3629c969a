"""What operators see: an alarm for each row of the alarm table, and a dashboard."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.model.alarm import RUNBOOK, ResourceAlarm
from remit_infra.model.environments import Names

WIDTH, HEIGHT = 12, 6

Lines = Sequence[tuple[str, str, Mapping[str, str], str]]
"""Of a graph: namespace, metric, dimensions, statistic."""


def make_alarms(
    names: Names,
    alarms: Iterable[ResourceAlarm],
    topic: aws.sns.Topic,
    known: Mapping[str, pulumi.Input[str]],
) -> list[aws.cloudwatch.MetricAlarm]:
    """Each alarm tells the topic when it fires and when it is over. A dimension `<word>` stands for
    what is only `known` when it is made.
    """
    return [
        aws.cloudwatch.MetricAlarm(
            f"{placed.name}-alarm",
            name=names("alarm", placed.name),
            alarm_description=f"{placed.alarm.meaning} See {RUNBOOK}, {placed.alarm.runbook}.",
            threshold=placed.alarm.threshold,
            evaluation_periods=placed.alarm.periods,
            comparison_operator=(
                "LessThanThreshold" if placed.alarm.below else "GreaterThanThreshold"
            ),
            treat_missing_data=placed.alarm.missing.value,
            alarm_actions=[topic.arn],
            ok_actions=[topic.arn],
            **_metric(placed, known),
        )
        for placed in alarms
    ]


def _metric(placed: ResourceAlarm, known: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    alarm = placed.alarm
    metrics = [
        {
            "namespace": metric.namespace,
            "metric_name": metric.name,
            "dimensions": {
                name: known.get(value, value)
                for name, value in {**placed.dimensions, **dict(metric.fixed)}.items()
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
        "label": placed.name,
        "return_data": True,
    }
    return {"metric_queries": [*queries, result]}


def make_dashboard(
    names: Names,
    region: str,
    graphs: Mapping[str, Lines],
    known: Mapping[str, pulumi.Input[str]],
) -> None:
    """Two graphs a row, in the order given."""
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
                "metrics": [_line(line, known) for line in lines],
            },
        }
        for number, (title, lines) in enumerate(graphs.items())
    ]
    aws.cloudwatch.Dashboard(
        "payment-dashboard",
        dashboard_name=names("dashboard", "payment-dashboard"),
        dashboard_body=pulumi.Output.json_dumps({"widgets": widgets}),
    )


def _line(
    line: tuple[str, str, Mapping[str, str], str], known: Mapping[str, pulumi.Input[str]]
) -> list[Any]:
    namespace, metric, dimensions, statistic = line
    named = [part for name, value in dimensions.items() for part in (name, known.get(value, value))]
    return [namespace, metric, *named, {"stat": statistic}]
