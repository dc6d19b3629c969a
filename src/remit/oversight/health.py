"""Is the service well: the answer of `/health`, and the monitor that alerts when it changes.

The monitor runs in the worker or as a function; `/health` is answered by the API. Both look at the
dependencies with the same checks; metrics are the monitor's alone, and `/health` has its state.
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
VERDICT_HOLDS_SECONDS = 300.0
TELLING = timedelta(seconds=30)
"""How long a monitor has to tell what it recorded, before another one does."""


class Health(msgspec.Struct, frozen=True):
    """`healthy` only if every check is."""

    status: str
    checks: dict[str, Check]


ADVISORY = frozenset({"cache", "dead_letters"})
"""What wants an operator while payments can be taken all the same."""

Probe = Callable[[App], Awaitable[Check | None]]
"""None where a topology has no such thing."""


async def health(app: App) -> Health:
    """Asks each dependency, for two seconds at most, and what the monitor saw last.

    The database of an idle process may have paused. It is not asked, because that would wake it.
    """
    probes = {**DEPENDENCIES, "monitor": _monitor}
    if app.idle.is_idle:
        probes.update(dict.fromkeys(IN_DATABASE, _paused))
    return _health(await _look(app, probes))


def _health(checks: dict[str, Check]) -> Health:
    well = all(check.ok for name, check in checks.items() if name not in ADVISORY)
    return Health("healthy" if well else "unhealthy", checks)


async def _look(app: App, probes: Mapping[str, Probe]) -> dict[str, Check]:
    checks = await asyncio.gather(*(_probe(probe(app)) for probe in probes.values()))
    seen = zip(probes, checks, strict=True)
    return {name: check for name, check in seen if check is not None}


async def _probe(probe: Awaitable[Check | None]) -> Check | None:
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
        ok=True, detail="not asked: this process is idle, and the database may have paused"
    )


async def _delivery(app: App) -> Check:
    oldest = await app.delivery.outbox.oldest()
    age_seconds = 0.0 if oldest is None else (app.clock() - oldest).total_seconds()
    return Check(
        ok=age_seconds <= MAX_OUTBOX_AGE_SECONDS,
        detail=f"oldest message waits {max(0.0, age_seconds):.0f} s",
    )


async def _dead_letters(app: App) -> Check:
    dead = await app.delivery.failed.dead()
    return Check(ok=dead == 0, detail=f"{dead} dead letters")


async def _cache(app: App) -> Check | None:
    try:
        there = await app.process_state.cache.ping()
    except Unavailable as error:
        return Check(ok=False, detail=f"{error.message} Rate limits are per process.")
    return Check(ok=True) if there else None


async def _disk(app: App) -> Check | None:
    return await app.monitoring.disk()


async def _monitor(app: App) -> Check:
    """The measures that only the monitor takes. A state of long ago says nothing of today."""
    state = await app.database.health_states.latest()
    if state.at is None:
        return Check(ok=True, detail="has not looked yet")
    age_seconds = max(0.0, (app.clock() - state.at).total_seconds())
    if age_seconds > VERDICT_HOLDS_SECONDS:
        return Check(ok=True, detail=f"has not looked for {age_seconds:.0f} s")
    measured = {name: why for name, why in state.failing.items() if name not in DEPENDENCIES}
    if measured:
        return Check(ok=False, detail="; ".join(f"{n}: {why}" for n, why in measured.items()))
    return Check(ok=True, detail=f"looked {age_seconds:.0f} s ago")


DEPENDENCIES: Mapping[str, Probe] = {
    "database": _database,
    "delivery": _delivery,
    "dead_letters": _dead_letters,
    "cache": _cache,
    "disk": _disk,
}


IN_DATABASE = ("database", "delivery", "monitor")
"""The checks that ask it, where the queue of work is elsewhere."""


class Monitor:
    """Watches the dependencies and the topology's metrics, and alerts the operators' topic once
    per change of state, however many monitors there are and however often they start.

    A change is recorded before it is told: of two monitors one records it. Alerts that a monitor
    left untold, because it died or the topic was down, are told by the next look.
    """

    def __init__(self, app: App, *, measures_hold: timedelta = timedelta(0)) -> None:
        """Measures cost money by the look: each is good for as long as `measures_hold`."""
        self._app = app
        self._measures_hold = measures_hold
        self._measured: tuple[datetime, dict[str, Check]] | None = None
        self._unrecorded: HealthState | None = None

    async def watch(self) -> Health:
        """One look. The first look alerts only if something is wrong."""
        app = self._app
        checks = await _look(app, DEPENDENCIES) | await self._measures()
        before = await self._before()
        now = app.clock()
        if before.owed and before.at and now - before.at < TELLING:
            return _health(checks)
        failing = {name: check.detail or "" for name, check in checks.items() if not check.ok}
        began = sorted(failing.keys() - before.failing.keys())
        ended = sorted(before.failing.keys() - failing.keys())
        owed = (
            *before.owed,
            *(self._alert("health.failing", name, failing[name]) for name in began),
            *(self._alert("health.recovered", name, "") for name in ended),
        )
        state = HealthState(version=before.version + 1, at=now, failing=failing, owed=owed)
        if await self._record(state) and owed:
            await app.delivery.alerts.publish(owed)
            await self._record(replace(state, version=state.version + 1, owed=()))
        return _health(checks)

    async def _measures(self) -> dict[str, Check]:
        now = self._app.clock()
        if self._measured is not None and now - self._measured[0] < self._measures_hold:
            return self._measured[1]
        try:
            measured = dict(await self._app.monitoring.measures())
        except Unavailable as error:
            measured = {"metrics": Check(ok=False, detail=error.message)}
        self._measured = (now, measured)
        return measured

    async def _before(self) -> HealthState:
        """The state before this one. While the store is down, this monitor's own memory."""
        try:
            stored = await self._app.database.health_states.latest()
        except Unavailable:
            return self._unrecorded or HealthState()
        if self._unrecorded is None:
            return stored
        return replace(self._unrecorded, version=stored.version)

    async def _record(self, state: HealthState) -> bool:
        """Whether this monitor is the one to tell it."""
        try:
            recorded = await self._app.database.health_states.record(state)
        except Unavailable:
            self._unrecorded = state
            return True
        self._unrecorded = None
        return recorded

    def _alert(self, kind: str, check: str, detail: str) -> Message:
        return Message(
            id=self._app.new_id(),
            topic=Topic.ALERTS,
            kind=kind,
            created_at=self._app.clock(),
            detail=f"{check}: {detail}" if detail else check,
        )
