"""Is the service well: the answer of `/health`, and the monitor that alerts when it changes.

The monitor runs in the worker, `/health` is answered by the API; both look with the same checks.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from remit.change import Message, Topic
from remit.errors import Unavailable
from remit.ports import App

CHECK_TIMEOUT_SECONDS = 2.0
MAX_OUTBOX_AGE_SECONDS = 60.0


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One dependency or measure: well or not, and what was seen."""

    ok: bool
    detail: str | None = None


class Health(msgspec.Struct, frozen=True):
    """`healthy` only if every check is."""

    status: str
    checks: dict[str, Check]


async def health(app: App) -> Health:
    """Asks each dependency, for two seconds at most."""
    probes: dict[str, Callable[[], Awaitable[Check]]] = {
        "database": lambda: _database(app),
        "delivery": lambda: _delivery(app),
        "dead_letters": lambda: _dead_letters(app),
    }
    checks = await asyncio.gather(*(_probe(probe) for probe in probes.values()))
    found = dict(zip(probes, checks, strict=True))
    # Dead letters want an operator, but the service can take payments all the same.
    well = all(check.ok for name, check in found.items() if name != "dead_letters")
    return Health("healthy" if well else "unhealthy", found)


async def _probe(probe: Callable[[], Awaitable[Check]]) -> Check:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            return await probe()
    except TimeoutError:
        return Check(ok=False, detail="no answer in time")
    except Unavailable as error:
        return Check(ok=False, detail=error.message)


async def _database(app: App) -> Check:
    await app.ping()
    return Check(ok=True)


async def _delivery(app: App) -> Check:
    oldest = await app.outbox.oldest()
    age_seconds = 0.0 if oldest is None else (app.clock() - oldest).total_seconds()
    return Check(
        ok=age_seconds <= MAX_OUTBOX_AGE_SECONDS,
        detail=f"oldest message waits {max(0.0, age_seconds):.0f} s",
    )


async def _dead_letters(app: App) -> Check:
    dead = len(await app.failed.dead_letters(100))
    return Check(ok=dead == 0, detail=f"{dead}{'+' if dead == 100 else ''} dead letters")


class Monitor:
    """Watches health and alerts the operators' topic once per change of state."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._failing: frozenset[str] = frozenset()

    async def watch(self) -> Health:
        """One look. The first look alerts only if something is wrong."""
        seen = await health(self._app)
        failing = frozenset(name for name, check in seen.checks.items() if not check.ok)
        for name in sorted(failing - self._failing):
            await self._alert("health.failing", name, seen.checks[name].detail)
        for name in sorted(self._failing - failing):
            await self._alert("health.recovered", name, seen.checks[name].detail)
        self._failing = failing
        return seen

    async def _alert(self, kind: str, check: str, detail: str | None) -> None:
        message = Message(
            id=self._app.new_id(),
            topic=Topic.ALERTS,
            kind=kind,
            created_at=self._app.clock(),
            detail=f"{check}: {detail}" if detail else check,
        )
        await self._app.alerts.publish([message])
