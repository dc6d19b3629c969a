"""What a topology monitors: the resources in the scopes of the alarm table, and the graphs of its
dashboard.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from remit.domain.payment import EVENTS, State
from remit_infra.model.alarm import Dimensions
from remit_infra.model.compute import FunctionSpec
from remit_infra.model.environments import Names

PAYMENT_METRICS = tuple(
    EVENTS[state] for state in (State.VALIDATED, State.CAPTURED, State.DECLINED)
)
"""The service's metrics of payments, which it counts by their events."""


class GraphLine(NamedTuple):
    """One metric in a graph. The statistic is CloudWatch's word, such as `Sum` or `p99`."""

    namespace: str
    metric: str
    dimensions: Dimensions
    statistic: str = "Sum"


Graphs = Mapping[str, Sequence[GraphLine]]
"""Graphs by title, in their order."""


def service_scopes(names: Names) -> dict[str, dict[str, Dimensions]]:
    """The scopes that every topology has: the topics and the service's own metrics."""
    return {
        "topic": {
            topic: {"TopicName": names("topic", topic)}
            for topic in ("payment-alarms", "payment-notifications")
        },
        "service": {"payment": {"service": f"payment-{names.suffix}"}},
    }


def function_scopes(
    names: Names, functions: Iterable[FunctionSpec]
) -> dict[str, dict[str, Dimensions]]:
    """The scopes of API Gateway and the functions behind it."""
    specs = {spec.name: spec for spec in functions}
    dimensions: dict[str, Dimensions] = {
        name: {"FunctionName": names("function", name)} for name in specs
    }
    return {
        "api": {
            "api": {"ApiName": names("api", "payment-api"), "Stage": names.environment.name},
        },
        "function": dimensions,
        "request function": {
            name: dimensions[name] for name, spec in specs.items() if spec.answers_requests
        },
        "monitor": {"health-monitor": dimensions["health-monitor"]},
    }
