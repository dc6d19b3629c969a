"""Runs what is delivered later: `remit work`. Each job has its own loop and fails by itself.

Several workers may run at once: they divide the messages, and take turns at what one alone may do.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import structlog

from remit.delivery.consumer import FAILURE_PAUSE_SECONDS, Consumer
from remit.delivery.relay import delete_expired_records, relay, sweep
from remit.entrypoints.liveness import Progress, serve_liveness
from remit.entrypoints.tracing import tracing
from remit.idle import IdlePolicy
from remit.oversight.audit import AuditArchiver
from remit.oversight.health import Monitor
from remit.oversight.metrics import count_dead_letters, count_notifications, count_outbox_age
from remit.ports.app import App

MONITOR_INTERVAL_SECONDS = 5.0
MEASURES_HOLD = timedelta(minutes=1)
FORGET_INTERVAL_SECONDS = 60.0
METRICS_INTERVAL_SECONDS = 60.0

Job = Callable[[], Awaitable[int]]

log = structlog.get_logger("worker")


async def run_worker(
    app: App,
    stop: asyncio.Event,
    *,
    progress: Progress | None = None,
) -> None:
    """Runs every job until `stop` is set; what is under way is finished first."""
    settings = app.settings
    progress = progress or Progress()
    worker = _Worker(stop, progress)

    def moved() -> None:
        progress.moved("work", settings.work_wait_seconds)

    moved()
    async with serve_liveness(progress, settings.host, settings.worker_port), tracing(app) as begin:
        consumer = Consumer(app, moved, app.idle.worked, lambda kind: begin(kind, None))
        jobs = [worker.repeat(*job, app.idle) for job in _jobs(app, progress)]
        if settings.service_name is not None:
            measure = _measuring(app)
            jobs.append(worker.repeat("metrics", measure, METRICS_INTERVAL_SECONDS, IdlePolicy()))
        await _finish(asyncio.gather(consumer.run(stop), *jobs), stop, settings.stop_seconds)
        await app.monitoring.metrics.write()


async def _finish(
    everything: asyncio.Future[list[None]], stop: asyncio.Event, stop_seconds: float
) -> None:
    """Waits for all jobs, and after `stop` no longer than a platform does."""
    stopping = asyncio.create_task(stop.wait())
    waited: set[asyncio.Future[Any]] = {everything, stopping}
    await asyncio.wait(waited, return_when="FIRST_COMPLETED")
    stopping.cancel()
    # The consumer ends itself in that time, and says what it leaves.
    await asyncio.wait({everything}, timeout=stop_seconds + FAILURE_PAUSE_SECONDS)
    if everything.done():
        everything.result()
        return
    log.warning("jobs_left")
    everything.cancel()
    await asyncio.gather(everything, return_exceptions=True)


def _jobs(app: App, progress: Progress) -> list[tuple[str, Job, float]]:
    """Each job's name, one round of it, and the pause after a round that found nothing."""
    settings = app.settings
    monitor = Monitor(app, measures_hold=MEASURES_HOLD)
    archiver = AuditArchiver(app, lambda: progress.moved("archive"))

    async def relay_once() -> int:
        messages = await relay(app)
        count_notifications(messages, app.monitoring.metrics)
        return len(messages)

    async def watch() -> int:
        await monitor.watch()
        return 0

    async def seal() -> int:
        """A segment that is not full has all there was: each one costs two objects."""
        sealed = await archiver.archive()
        return sealed if sealed == settings.archive_batch else 0

    return [
        ("relay", relay_once, settings.relay_interval_seconds),
        ("sweep", lambda: sweep(app), settings.sweep_interval_seconds),
        ("expire", lambda: delete_expired_records(app), FORGET_INTERVAL_SECONDS),
        ("archive", seal, settings.archive_interval_seconds),
        ("monitor", watch, MONITOR_INTERVAL_SECONDS),
    ]


def _measuring(app: App) -> Job:
    """Writes what was counted, in an idle process too; its database is not asked."""

    async def measure() -> int:
        try:
            if not app.idle.is_idle:
                await count_outbox_age(app, app.monitoring.metrics)
                await count_dead_letters(app, app.monitoring.metrics)
        finally:
            await app.monitoring.metrics.write()
        return 0

    return measure


class _Worker:
    """The loop that all jobs share."""

    def __init__(self, stop: asyncio.Event, progress: Progress) -> None:
        self._stop = stop
        self._progress = progress

    async def repeat(self, name: str, job: Job, pause_seconds: float, idle: IdlePolicy) -> None:
        """Repeats `job` at once while it finds work, and after a pause when it finds none or
        fails.
        """
        while not self._stop.is_set():
            pause = pause_seconds
            self._progress.moved(name)
            try:
                if await job():
                    pause = 0.0
                    idle.worked()
            except Exception:
                log.exception("job_failed", job=name)
                pause = max(pause, FAILURE_PAUSE_SECONDS)
            self._progress.moved(name, pause)
            if pause:
                await self._pause(pause)
            if idle.is_idle and not self._stop.is_set():
                self._progress.moved(name, idle.wake_up_seconds)
                await idle.wait_for_work(self._stop)
        self._progress.ended(name)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return
