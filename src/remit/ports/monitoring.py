"""What the service counts of itself, and what its health monitor remembers."""

from typing import Protocol

from remit.domain.health_state import HealthState

NAMESPACE = "Remit"
"""Of the metrics that the service counts, in CloudWatch and in the alarms."""


class Metrics(Protocol):
    """Where the service counts what happens. Counting neither waits nor fails."""

    def count(self, name: str, value: float = 1.0) -> None: ...

    def seconds(self, name: str, value: float) -> None: ...

    async def write(self) -> None:
        """Hands on what was counted since the last time; what cannot be is kept for the next."""
        ...


class HealthStates(Protocol):
    """The monitor's memory, so that an alert is sent once however often the monitor starts."""

    async def latest(self) -> HealthState: ...

    async def record(self, verdict: HealthState) -> bool:
        """False, and nothing is written, unless the latest has the version before this one."""
        ...
