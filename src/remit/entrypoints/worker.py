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
from remit.oversight.audit import AuditArchiver
from remit.oversight.health import Monitor
from remit.oversight.metrics import count_dead_letters, count_notifications, count_outbox_age
from remit.ports.app import App

MONITOR_INTERVAL_SECONDS = 5.0
MEASURES_HOLD = timedelta(minutes=1)
FORGET_INTERVAL_SECONDS = 60.0
METRICS_INTERVAL_SECONDS = 60.0
LOOK_SECONDS = 3_600.0
"""How often a worker that rests looks for what nobody told it."""

Job = Callable[[], Awaitable[int]]

log = structlog.get_logger("worker")


class IdleTimer:
    """When a worker may leave its database alone: nothing has happened for `after_seconds`."""

    def __init__(self, after_seconds: float | None, look_seconds: float = LOOK_SECONDS) -> None:
        self._after_seconds = after_seconds
        self.look_seconds = look_seconds
        self._stirred = asyncio.Event()
        self._last = asyncio.get_running_loop().time()

    def stir(self) -> None:
        """Something has happened: whoever rests goes on at once."""
        self._last = asyncio.get_running_loop().time()
        self._stirred.set()

    @property
    def is_due(self) -> bool:
        if self._after_seconds is None:
            return False
        return asyncio.get_running_loop().time() - self._last >= self._after_seconds

    async def over(self, stop: asyncio.Event) -> None:
        """Waits until something happens, and anyway not for longer than to the next look."""
        self._stirred.clear()
        waiting = [asyncio.create_task(event.wait()) for event in (self._stirred, stop)]
        await asyncio.wait(waiting, timeout=self.look_seconds, return_when="FIRST_COMPLETED")
        for task in waiting:
            task.cancel()


async def run_worker(
    app: App,
    stop: asyncio.Event,
    *,
    progress: Progress | None = None,
    rest: IdleTimer | None = None,
) -> None:
    """Runs every job until `stop` is set; what is under way is finished first."""
    settings = app.settings
    progress = progress or Progress()
    rest = rest or IdleTimer(settings.idle_after_seconds)
    worker = _Worker(stop, progress)

    def moved() -> None:
        progress.moved("work", settings.work_wait_seconds)

    moved()
    async with serve_liveness(progress, settings.host, settings.worker_port), tracing(app) as begin:
        consumer = Consumer(app, moved, rest.stir, lambda kind: begin(kind, None))
        jobs = [worker.repeat(*job, rest) for job in _jobs(app, progress)]
        if settings.service_name is not None:
            measure = _measuring(app, rest)
            jobs.append(
                worker.repeat("metrics", measure, METRICS_INTERVAL_SECONDS, IdleTimer(None))
            )
        await _finish(asyncio.gather(consumer.run(stop), *jobs), stop, settings.stop_seconds)
        await app.metrics.write()


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
        count_notifications(messages, app.metrics)
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


def _measuring(app: App, rest: IdleTimer) -> Job:
    """Hands on what was counted, also before a rest; a database that rests is not asked."""

    async def measure() -> int:
        try:
            if not rest.is_due:
                await count_outbox_age(app, app.metrics)
                await count_dead_letters(app, app.metrics)
        finally:
            await app.metrics.write()
        return 0

    return measure


class _Worker:
    """The loop that all jobs share."""

    def __init__(self, stop: asyncio.Event, progress: Progress) -> None:
        self._stop = stop
        self._progress = progress

    async def repeat(self, name: str, job: Job, pause_seconds: float, rest: IdleTimer) -> None:
        """Repeats `job` at once while it finds work, and after a pause when it finds none or
        fails.
        """
        while not self._stop.is_set():
            pause = pause_seconds
            self._progress.moved(name)
            try:
                if await job():
                    pause = 0.0
                    rest.stir()
            except Exception:
                log.exception("job_failed", job=name)
                pause = max(pause, FAILURE_PAUSE_SECONDS)
            self._progress.moved(name, pause)
            if pause:
                await self._pause(pause)
            if rest.is_due and not self._stop.is_set():
                self._progress.moved(name, rest.look_seconds)
                await rest.over(self._stop)
        self._progress.ended(name)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return
