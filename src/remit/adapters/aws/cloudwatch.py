"""Metrics in CloudWatch: reads a deployment's for the health monitor, and publishes the service's.

The health monitor compares the deployment's metrics with the thresholds of their alarms.
"""

import math
from datetime import timedelta
from typing import Any

import msgspec
import structlog

from remit.adapters.aws.client import call
from remit.domain.health_state import Check
from remit.domain.ids import Clock
from remit.ports.monitoring import NAMESPACE


class MonitoredMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric and its threshold, as its alarm has them. Above the threshold the check fails."""

    name: str
    namespace: str
    metric: str
    dimensions: dict[str, str]
    statistic: str
    period_seconds: int
    periods: int
    threshold: float


MAX_NAMES = 500
"""How many metrics are kept for one call, which takes a thousand. The names are constants."""

log = structlog.get_logger("metrics")

_metrics = msgspec.json.Decoder(tuple[MonitoredMetric, ...])


class CloudWatchMeasures:
    """Reads every monitored metric in one call. A metric without values does not fail."""

    def __init__(self, client: Any, monitored_metrics: str | None, clock: Clock) -> None:
        self._client = client
        self._metrics = _metrics.decode(monitored_metrics) if monitored_metrics else ()
        self._clock = clock

    async def __call__(self) -> dict[str, Check]:
        if not self._metrics:
            return {}
        now = self._clock()
        longest_seconds = max(metric.period_seconds * metric.periods for metric in self._metrics)
        response = await call(
            self._client.get_metric_data,
            StartTime=now - timedelta(seconds=longest_seconds),
            EndTime=now,
            ScanBy="TimestampDescending",
            MetricDataQueries=[
                {"Id": f"m{number}", "MetricStat": _stat(metric)}
                for number, metric in enumerate(self._metrics)
            ],
        )
        values = {result["Id"]: result["Values"] for result in response["MetricDataResults"]}
        return {
            metric.name: _check(metric, values.get(f"m{number}", []))
            for number, metric in enumerate(self._metrics)
        }


def _stat(metric: MonitoredMetric) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions.items()]
    return {
        "Metric": {
            "Namespace": metric.namespace,
            "MetricName": metric.metric,
            "Dimensions": dimensions,
        },
        "Period": metric.period_seconds,
        "Stat": metric.statistic,
    }


def _check(metric: MonitoredMetric, values: list[float]) -> Check:
    """Fails if every one of the newest periods is above the threshold, as the alarm does."""
    newest = values[: metric.periods]
    failing = len(newest) == metric.periods and min(newest) > metric.threshold
    if not failing:
        return Check(ok=True)
    return Check(ok=False, detail=f"{newest[0]:g}, and {metric.threshold:g} is the most")


class _StatisticSet(msgspec.Struct):
    """The values of one metric since the last call, in the form that CloudWatch takes."""

    unit: str
    number: int = 0
    sum: float = 0.0
    smallest: float = math.inf
    largest: float = -math.inf

    def add(self, other: "_StatisticSet") -> None:
        self.number += other.number
        self.sum += other.sum
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)

    def datum(self, name: str, service: str) -> dict[str, Any]:
        return {
            "MetricName": name,
            "Dimensions": [{"Name": "service", "Value": service}],
            "Unit": self.unit,
            "StatisticValues": {
                "SampleCount": self.number,
                "Sum": self.sum,
                "Minimum": self.smallest,
                "Maximum": self.largest,
            },
        }


class CloudWatchMetrics:
    """The Metrics port: publishes all metrics in one call, with the name of the service.

    Metrics that could not be published go with the next call. At most `MAX_NAMES` are kept.
    """

    def __init__(self, client: Any, service: str) -> None:
        self._client = client
        self._service = service
        self._values: dict[str, _StatisticSet] = {}

    def count(self, name: str, value: float = 1.0) -> None:
        self._add(name, _StatisticSet("Count", 1, value, value, value))

    def seconds(self, name: str, value: float) -> None:
        self._add(name, _StatisticSet("Seconds", 1, value, value, value))

    async def write(self) -> None:
        values, self._values = self._values, {}
        if not values:
            return
        data = [value.datum(name, self._service) for name, value in values.items()]
        try:
            await call(self._client.put_metric_data, Namespace=NAMESPACE, MetricData=data)
        except Exception:
            # A payment does not fail because its metrics cannot be published.
            log.exception("metrics_not_published", metrics=len(data))
            for name, value in values.items():
                self._add(name, value)

    def _add(self, name: str, value: _StatisticSet) -> None:
        if (known := self._values.get(name)) is not None:
            known.add(value)
        elif len(self._values) < MAX_NAMES:
            self._values[name] = value
