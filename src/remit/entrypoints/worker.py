"""The worker, `remit work`: handles queued work and runs the regular jobs, each in its own loop.

A job that fails does not stop the others. Several workers may run at once. They share the messages
of the queue, and take turns by a lease at the jobs that only one may do.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import structlog

from remit.delivery.consumer import FAILURE_PAUSE_SECONDS, Consumer
from remit.delivery.relay import relay
from remit.delivery.sweep import delete_expired_records, sweep
from remit.entrypoints.liveness import Progress, serve_liveness
from remit.entrypoints.tracing import tracing
from remit.idle import IdlePolicy
from remit.oversight.audit.archiver import AuditArchiver
from remit.oversight.health import Monitor
from remit.oversight.metrics import count_dead_letters, count_notifications, count_outbox_age
from remit.ports.app import App

MONITOR_INTERVAL_SECONDS = 5.0
METRICS_MAX_AGE = timedelta(minutes=1)
EXPIRY_INTERVAL_SECONDS = 60.0
METRICS_INTERVAL_SECONDS = 60.0

Job = Callable[[], Awaitable[int]]
"""One round of a job. Returns how much it had to do."""

log = structlog.get_logger("worker")


async def run_worker(
    app: App,
    stop: asyncio.Event,
    *,
    progress: Progress | None = None,
) -> None:
    """Runs every job until `stop` is set, and then finishes the work under way."""
    settings = app.settings
    progress = progress or Progress()
    loop = _JobLoop(stop, progress)

    def report_progress() -> None:
        progress.report("work", settings.work_wait_seconds)

    report_progress()
    liveness = serve_liveness(progress, settings.host, settings.worker_port)
    async with liveness, tracing(app) as start_span:
        consumer = Consumer(
            app, report_progress, app.idle.record_work, lambda kind: start_span(kind, None)
        )
        jobs = [loop.repeat(*job, app.idle) for job in _jobs(app, progress)]
        if settings.service_name is not None:
            job = _metrics_job(app)
            jobs.append(loop.repeat("metrics", job, METRICS_INTERVAL_SECONDS, IdlePolicy()))
        await _finish(asyncio.gather(consumer.run(stop), *jobs), stop, settings.stop_seconds)
        await app.monitoring.metrics.write()


async def _finish(
    jobs: asyncio.Future[list[None]], stop: asyncio.Event, stop_seconds: float
) -> None:
    """Waits for all jobs. After `stop` it cancels those that do not end within `stop_seconds`."""
    stopping = asyncio.create_task(stop.wait())
    either: set[asyncio.Future[Any]] = {jobs, stopping}
    await asyncio.wait(either, return_when="FIRST_COMPLETED")
    stopping.cancel()
    # The consumer ends within `stop_seconds` by itself, and logs the messages that it cancels.
    await asyncio.wait({jobs}, timeout=stop_seconds + FAILURE_PAUSE_SECONDS)
    if jobs.done():
        jobs.result()
        return
    log.warning("jobs_unfinished")
    jobs.cancel()
    await asyncio.gather(jobs, return_exceptions=True)


def _jobs(app: App, progress: Progress) -> list[tuple[str, Job, float]]:
    """Each job's name, one round of it, and the pause after a round without work."""
    settings = app.settings
    monitor = Monitor(app, metrics_max_age=METRICS_MAX_AGE)
    archiver = AuditArchiver(app, lambda: progress.report("archive"))

    async def relay_once() -> int:
        messages = await relay(app)
        count_notifications(messages, app.monitoring.metrics)
        return len(messages)

    async def check_health() -> int:
        await monitor.check()
        return 0

    async def archive() -> int:
        """Pauses after a segment that is not full. A segment costs two objects, so entries wait
        for the next one.
        """
        archived = await archiver.archive()
        return archived if archived == settings.archive_batch else 0

    return [
        ("relay", relay_once, settings.relay_interval_seconds),
        ("sweep", lambda: sweep(app), settings.sweep_interval_seconds),
        ("expire", lambda: delete_expired_records(app), EXPIRY_INTERVAL_SECONDS),
        ("archive", archive, settings.archive_interval_seconds),
        ("monitor", check_health, MONITOR_INTERVAL_SECONDS),
    ]


def _metrics_job(app: App) -> Job:
    """Publishes the metrics, in an idle process too, without reading its database."""

    async def publish_metrics() -> int:
        try:
            if not app.idle.is_idle:
                await count_outbox_age(app, app.monitoring.metrics)
                await count_dead_letters(app, app.monitoring.metrics)
        finally:
            await app.monitoring.metrics.write()
        return 0

    return publish_metrics


class _JobLoop:
    """Repeats jobs until `stop` is set."""

    def __init__(self, stop: asyncio.Event, progress: Progress) -> None:
        self._stop = stop
        self._progress = progress

    async def repeat(self, name: str, job: Job, pause_seconds: float, idle: IdlePolicy) -> None:
        """Repeats the job: at once after a round with work, and else after a pause.

        In an idle process it waits until there is work.
        """
        while not self._stop.is_set():
            pause = pause_seconds
            self._progress.report(name)
            try:
                if await job():
                    pause = 0.0
                    idle.record_work()
            except Exception:
                log.exception("job_failed", job=name)
                pause = max(pause, FAILURE_PAUSE_SECONDS)
            self._progress.report(name, pause)
            if pause:
                await self._pause(pause)
            if idle.is_idle and not self._stop.is_set():
                self._progress.report(name, idle.wake_up_seconds)
                await idle.wait_for_work(self._stop)
        self._progress.finish(name)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return
