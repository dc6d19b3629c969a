"""CloudWatch, both ways: what the health monitor sees there of a deployment's metrics against
their thresholds, and what a long-running process counts of itself.
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
    """A metric and the value above which it is failing, as the alarm on it has them."""

    name: str
    namespace: str
    metric: str
    dimensions: dict[str, str]
    statistic: str
    period_seconds: int
    periods: int
    threshold: float


MAX_NAMES = 500
"""How many metrics are kept for one call, which takes a thousand. Names are code's own, and few."""

log = structlog.get_logger("metrics")

_watched = msgspec.json.Decoder(tuple[MonitoredMetric, ...])


class CloudWatchMeasures:
    """Reads every watched metric in one call. Where nothing was counted, nothing is wrong."""

    def __init__(self, client: Any, watched: str | None, clock: Clock) -> None:
        self._client = client
        self._watched = _watched.decode(watched) if watched else ()
        self._clock = clock

    async def __call__(self) -> dict[str, Check]:
        if not self._watched:
            return {}
        now = self._clock()
        longest = max(watched.period_seconds * watched.periods for watched in self._watched)
        answer = await call(
            self._client.get_metric_data,
            StartTime=now - timedelta(seconds=longest),
            EndTime=now,
            ScanBy="TimestampDescending",
            MetricDataQueries=[
                {"Id": f"m{number}", "MetricStat": _stat(watched)}
                for number, watched in enumerate(self._watched)
            ],
        )
        seen = {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}
        return {
            watched.name: _check(watched, seen.get(f"m{number}", []))
            for number, watched in enumerate(self._watched)
        }


def _stat(watched: MonitoredMetric) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in watched.dimensions.items()]
    return {
        "Metric": {
            "Namespace": watched.namespace,
            "MetricName": watched.metric,
            "Dimensions": dimensions,
        },
        "Period": watched.period_seconds,
        "Stat": watched.statistic,
    }


def _check(watched: MonitoredMetric, values: list[float]) -> Check:
    """Failing only if every one of the newest periods is above the threshold, as for the alarm."""
    newest = values[: watched.periods]
    failing = len(newest) == watched.periods and min(newest) > watched.threshold
    if not failing:
        return Check(ok=True)
    return Check(ok=False, detail=f"{newest[0]:g}, and {watched.threshold:g} is the most")


class _Counted(msgspec.Struct):
    """All values of one metric since the last call, as CloudWatch takes them together."""

    unit: str
    number: int = 0
    sum: float = 0.0
    smallest: float = math.inf
    largest: float = -math.inf

    def add(self, other: "_Counted") -> None:
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
    """The Metrics port: all that was counted in one call, under the name of the service.

    What a call could not hand on goes with the next one. Memory is bounded by the metrics' names.
    """

    def __init__(self, client: Any, service: str) -> None:
        self._client = client
        self._service = service
        self._counted: dict[str, _Counted] = {}

    def count(self, name: str, value: float = 1.0) -> None:
        self._add(name, _Counted("Count", 1, value, value, value))

    def seconds(self, name: str, value: float) -> None:
        self._add(name, _Counted("Seconds", 1, value, value, value))

    async def write(self) -> None:
        counted, self._counted = self._counted, {}
        if not counted:
            return
        data = [one.datum(name, self._service) for name, one in counted.items()]
        try:
            await call(self._client.put_metric_data, Namespace=NAMESPACE, MetricData=data)
        except Exception:
            # Payments are taken whether or not somebody counts them.
            log.exception("metrics_kept", metrics=len(data))
            for name, one in counted.items():
                self._add(name, one)

    def _add(self, name: str, value: _Counted) -> None:
        if (known := self._counted.get(name)) is not None:
            known.add(value)
        elif len(self._counted) < MAX_NAMES:
            self._counted[name] = value
