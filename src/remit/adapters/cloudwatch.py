"""What the health monitor sees in CloudWatch: a deployment's metrics against their thresholds."""

from datetime import timedelta
from typing import Any

import msgspec

from remit.adapters.aws import call
from remit.ports import Check, Clock


class WatchedMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric and the value above which it is failing, as the alarm on it has them."""

    name: str
    namespace: str
    metric: str
    dimensions: dict[str, str]
    statistic: str
    period_seconds: int
    periods: int
    threshold: float


_watched = msgspec.json.Decoder(tuple[WatchedMetric, ...])


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


def _stat(watched: WatchedMetric) -> dict[str, Any]:
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


def _check(watched: WatchedMetric, values: list[float]) -> Check:
    """Failing only if every one of the newest periods is above the threshold, as for the alarm."""
    newest = values[: watched.periods]
    failing = len(newest) == watched.periods and min(newest) > watched.threshold
    if not failing:
        return Check(ok=True)
    return Check(ok=False, detail=f"{newest[0]:g}, and {watched.threshold:g} is the most")
