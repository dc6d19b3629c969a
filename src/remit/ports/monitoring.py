"""Ports of the metrics that the service counts, and of the health monitor's state."""

from typing import Protocol

from remit.domain.health_state import HealthState

NAMESPACE = "Remit"
"""The namespace of the service's metrics, in CloudWatch and in the alarms."""


class Metrics(Protocol):
    """The service's metrics. Counting neither waits nor fails."""

    def count(self, name: str, value: float = 1.0) -> None: ...

    def seconds(self, name: str, value: float) -> None: ...

    async def write(self) -> None:
        """Publishes the values counted since the last call.

        Values that cannot be published are kept for the next call.
        """
        ...


class HealthStates(Protocol):
    """The health monitor's state. It is stored so that a monitor that restarts repeats no alert."""

    async def latest(self) -> HealthState: ...

    async def record(self, state: HealthState) -> bool:
        """Stores the state if the latest has the version before it, and else returns False."""
        ...
