"""Runs what is delivered later: `remit work`. Each job has its own loop and fails by itself."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from remit.audit import Sealer
from remit.deliver import forget, relay, sweep, work_once
from remit.health import Monitor
from remit.ports import App

MONITOR_INTERVAL_SECONDS = 5.0
FORGET_INTERVAL_SECONDS = 60.0
FAILURE_PAUSE_SECONDS = 1.0

log = structlog.get_logger("worker")


async def run_worker(app: App, stop: asyncio.Event) -> None:
    """Runs every job until `stop` is set; what is under way is finished first."""
    settings = app.settings
    monitor = Monitor(app)

    async def relay_once() -> int:
        return len(await relay(app))

    async def watch() -> int:
        await monitor.watch()
        return 0

    jobs: list[tuple[str, Callable[[], Awaitable[int]], float]] = [
        ("relay", relay_once, settings.relay_interval_seconds),
        ("work", lambda: work_once(app), settings.relay_interval_seconds),
        ("sweep", lambda: sweep(app), settings.sweep_interval_seconds),
        ("forget", lambda: forget(app), FORGET_INTERVAL_SECONDS),
        ("seal", Sealer(app).seal, settings.seal_interval_seconds),
        ("monitor", watch, MONITOR_INTERVAL_SECONDS),
    ]
    await asyncio.gather(*(_repeat(name, job, pause, stop) for name, job, pause in jobs))


async def _repeat(
    name: str, job: Callable[[], Awaitable[int]], pause_seconds: float, stop: asyncio.Event
) -> None:
    """Repeats `job` at once while it finds work, and after a pause when it finds none or fails."""
    while not stop.is_set():
        pause = pause_seconds
        try:
            if await job():
                pause = 0.0
        except Exception:
            log.exception("job_failed", job=name)
            pause = max(pause, FAILURE_PAUSE_SECONDS)
        try:
            async with asyncio.timeout(pause or None):
                if pause:
                    await stop.wait()
        except TimeoutError:
            continue
