"""Health checks: the response of `/health`, and the monitor that alerts when a check changes.

The API runs the checks for `/health`. The monitor runs them in the worker or in a function, and
reads the deployment's metrics as well. `/health` includes what the monitor recorded last.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from remit.domain.change import Message, Topic
from remit.domain.errors import Unavailable
from remit.domain.health_state import Check, HealthState
from remit.ports.app import App

CHECK_TIMEOUT_SECONDS = 2.0
MAX_OUTBOX_AGE_SECONDS = 60.0
STATE_VALID_SECONDS = 300.0
"""How long `/health` reports the monitor's state. An older one says nothing about the present."""

SEND_TIMEOUT = timedelta(seconds=30)
"""How long a monitor has to send the alerts that it recorded. Then another monitor sends them."""


class Health(msgspec.Struct, frozen=True):
    """The health of the service. It is `healthy` if no check that counts has failed."""

    status: str
    checks: dict[str, Check]


ADVISORY = frozenset({"cache", "dead_letters"})
"""Checks for an operator to act on. While they fail, payments are still taken."""

Probe = Callable[[App], Awaitable[Check | None]]
"""Makes one check. It returns None where the topology has no such dependency."""


async def health(app: App) -> Health:
    """Checks each dependency, for two seconds at most, and reads the monitor's last state.

    In an idle process the checks of the database are left out. The database may have paused, and
    a check would wake it.
    """
    probes = {**DEPENDENCIES, "monitor": _monitor}
    if app.idle.is_idle:
        probes.update(dict.fromkeys(IN_DATABASE, _paused))
    return _health(await _run_probes(app, probes))


def _health(checks: dict[str, Check]) -> Health:
    is_healthy = all(check.ok for name, check in checks.items() if name not in ADVISORY)
    return Health("healthy" if is_healthy else "unhealthy", checks)


async def _run_probes(app: App, probes: Mapping[str, Probe]) -> dict[str, Check]:
    checks = await asyncio.gather(*(_run_probe(probe(app)) for probe in probes.values()))
    by_name = zip(probes, checks, strict=True)
    return {name: check for name, check in by_name if check is not None}


async def _run_probe(probe: Awaitable[Check | None]) -> Check | None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            return await probe
    except TimeoutError:
        return Check(ok=False, detail="no answer in time")
    except Unavailable as error:
        return Check(ok=False, detail=error.message)


async def _database(app: App) -> Check:
    await app.database.ping()
    return Check(ok=True)


async def _paused(app: App) -> Check:
    return Check(
        ok=True, detail="not checked: this process is idle, and the database may have paused"
    )


async def _delivery(app: App) -> Check:
    oldest = await app.delivery.outbox.oldest_created_at()
    age_seconds = 0.0 if oldest is None else (app.clock() - oldest).total_seconds()
    return Check(
        ok=age_seconds <= MAX_OUTBOX_AGE_SECONDS,
        detail=f"oldest message waits {max(0.0, age_seconds):.0f} s",
    )


async def _dead_letters(app: App) -> Check:
    count = await app.delivery.failed.count_dead_letters()
    return Check(ok=count == 0, detail=f"{count} dead letters")


async def _cache(app: App) -> Check | None:
    try:
        has_cache = await app.process_state.cache.ping()
    except Unavailable as error:
        return Check(ok=False, detail=f"{error.message} Rate limits are per process.")
    return Check(ok=True) if has_cache else None


async def _disk(app: App) -> Check | None:
    return await app.monitoring.disk()


async def _monitor(app: App) -> Check:
    """The monitor's last state, for the checks that the monitor alone makes."""
    state = await app.database.health_states.latest()
    if state.at is None:
        return Check(ok=True, detail="has not run yet")
    age_seconds = max(0.0, (app.clock() - state.at).total_seconds())
    if age_seconds > STATE_VALID_SECONDS:
        return Check(ok=True, detail=f"has not run for {age_seconds:.0f} s")
    failing = {name: why for name, why in state.failing.items() if name not in DEPENDENCIES}
    if failing:
        return Check(ok=False, detail="; ".join(f"{name}: {why}" for name, why in failing.items()))
    return Check(ok=True, detail=f"ran {age_seconds:.0f} s ago")


DEPENDENCIES: Mapping[str, Probe] = {
    "database": _database,
    "delivery": _delivery,
    "dead_letters": _dead_letters,
    "cache": _cache,
    "disk": _disk,
}


IN_DATABASE = ("database", "delivery", "monitor")
"""The checks that read the database, in a topology whose work queue is elsewhere."""


class Monitor:
    """Checks the dependencies and the deployment's metrics, and alerts the operators.

    It sends one alert per change of a check, however many monitors run and however often they
    restart. A change is recorded together with its unsent alerts before they are sent, so of two
    monitors one records it. If that monitor dies, or the topic is down, a later run sends the
    alerts.
    """

    def __init__(self, app: App, *, metrics_max_age: timedelta = timedelta(0)) -> None:
        """A read of metrics costs money, so one is used again until it is `metrics_max_age` old."""
        self._app = app
        self._metrics_max_age = metrics_max_age
        self._metrics: tuple[datetime, dict[str, Check]] | None = None
        self._unrecorded: HealthState | None = None

    async def check(self) -> Health:
        """Runs every check once, and alerts for each check that changed.

        The first run alerts only for checks that fail.
        """
        app = self._app
        checks = await _run_probes(app, DEPENDENCIES) | await self._check_metrics()
        before = await self._latest_state()
        now = app.clock()
        if before.unsent_alerts and before.at and now - before.at < SEND_TIMEOUT:
            return _health(checks)
        failing = {name: check.detail or "" for name, check in checks.items() if not check.ok}
        newly_failing = sorted(failing.keys() - before.failing.keys())
        recovered = sorted(before.failing.keys() - failing.keys())
        alerts = (
            *before.unsent_alerts,
            *(self._alert("health.failing", name, failing[name]) for name in newly_failing),
            *(self._alert("health.recovered", name, "") for name in recovered),
        )
        state = HealthState(
            version=before.version + 1, at=now, failing=failing, unsent_alerts=alerts
        )
        if await self._record(state) and alerts:
            await app.delivery.alerts.publish(alerts)
            await self._record(replace(state, version=state.version + 1, unsent_alerts=()))
        return _health(checks)

    async def _check_metrics(self) -> dict[str, Check]:
        now = self._app.clock()
        if self._metrics is not None and now - self._metrics[0] < self._metrics_max_age:
            return self._metrics[1]
        try:
            checks = dict(await self._app.monitoring.measures())
        except Unavailable as error:
            checks = {"metrics": Check(ok=False, detail=error.message)}
        self._metrics = (now, checks)
        return checks

    async def _latest_state(self) -> HealthState:
        """The state that was recorded last. While the store is down, the one of this monitor."""
        try:
            stored = await self._app.database.health_states.latest()
        except Unavailable:
            return self._unrecorded or HealthState()
        if self._unrecorded is None:
            return stored
        return replace(self._unrecorded, version=stored.version)

    async def _record(self, state: HealthState) -> bool:
        """Records the state. Returns whether this monitor is to send its alerts."""
        try:
            is_recorded = await self._app.database.health_states.record(state)
        except Unavailable:
            self._unrecorded = state
            return True
        self._unrecorded = None
        return is_recorded

    def _alert(self, kind: str, check: str, detail: str) -> Message:
        return Message(
            id=self._app.new_id(),
            topic=Topic.ALERTS,
            kind=kind,
            created_at=self._app.clock(),
            detail=f"{check}: {detail}" if detail else check,
        )
