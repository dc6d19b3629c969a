"""The worker as a process: its jobs, its metrics, its liveness, and when it is idle."""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from remit.delivery.work_messages import handle_message
from remit.domain.change import Message
from remit.domain.errors import Unavailable
from remit.domain.health_state import Check
from remit.domain.payment import State
from remit.entrypoints.healthcheck import is_live
from remit.entrypoints.liveness import Progress, serve_liveness
from remit.entrypoints.worker import run_worker
from remit.idle import IdlePolicy
from remit.oversight.health import Monitor
from remit.payments.process import ProcessRequest, enqueue
from remit.ports.app import App
from remit.settings import Settings
from tests.builders import AppFactory, caller, clock_of, replace_parts
from tests.unit.steps import (
    a_processed_payment,
    a_validated_payment,
    current,
    queue_of,
    store_of,
    tamper,
)

QUICK = Settings(
    relay_interval_seconds=0.001,
    archive_interval_seconds=0.001,
    sweep_interval_seconds=0.001,
    service_name="payment-worker",
)


class RecordedMetrics:
    """Metrics that a test can read: the values so far, and those that were published."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.published: dict[str, float] = {}

    def count(self, name: str, value: float = 1.0) -> None:
        self.values[name] = self.values.get(name, 0.0) + value

    def seconds(self, name: str, value: float) -> None:
        self.values[name] = value

    async def write(self) -> None:
        self.published |= self.values


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - the worker sets no event for the test
            await asyncio.sleep(0.001)


class Running:
    """A worker that runs while the block does."""

    def __init__(self, app: App, progress: Progress | None = None) -> None:
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(run_worker(app, self._stop, progress=progress))

    async def __aenter__(self) -> None:
        await asyncio.sleep(0)

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        async with asyncio.timeout(30):
            await self._task


async def test_all_metrics_are_published_at_the_end(new_app: AppFactory) -> None:
    metrics = RecordedMetrics()
    app = replace_parts(new_app(settings=QUICK), metrics=metrics)
    payment = await a_validated_payment(app)
    await enqueue(app, caller(), ProcessRequest(payment.id))
    async with Running(app):
        await until(lambda: "payment_intent.succeeded" in metrics.values)
    assert (await current(app, payment)).state is State.CAPTURED
    assert metrics.published == {
        "OutboxAge": 0.0,
        "DeadLetters": 0.0,
        "payment_intent.created": 1.0,
        "payment_intent.succeeded": 1.0,
    }


async def test_a_scheduled_message_reconciles_the_books_and_counts_discrepancies(
    new_app: AppFactory,
) -> None:
    metrics = RecordedMetrics()
    app = replace_parts(new_app(settings=QUICK), metrics=metrics)
    payment = await a_processed_payment(app)
    tamper(app, payment, captured_minor=1)
    body = {
        "id": "6f1f6c9e-17f4-4a8d-8c7b-1f0e5b8f3a52",
        "kind": "reconcile",
        "topic": "work",
        "created_at": "2026-11-21T03:00:00Z",
    }
    scheduled = msgspec.json.decode(json.dumps(body).encode(), type=Message)
    assert await handle_message(app, scheduled) is None
    assert metrics.values["LedgerImbalances"] == 1.0
    assert metrics.values["AuditBreaks"] == 0.0
    assert "Discrepancies" in metrics.values


async def test_metrics_are_published_while_the_worker_is_idle(
    new_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.entrypoints.worker.METRICS_INTERVAL_SECONDS", 0.01)
    metrics, idle = RecordedMetrics(), IdlePolicy(0.001)
    app = replace_parts(new_app(settings=QUICK), metrics=metrics)
    async with Running(replace_parts(app, idle=idle)):
        await until(lambda: idle.is_idle)
        metrics.count("payment_intent.succeeded")
        await until(lambda: "payment_intent.succeeded" in metrics.published)


async def test_a_failed_message_is_counted(new_app: AppFactory) -> None:
    metrics = RecordedMetrics()
    app = replace_parts(new_app(settings=QUICK), metrics=metrics)
    await app.delivery.queue.send([msgspec.structs.replace(a_wake_message(app), kind="dance")])
    async with Running(app):
        await until(lambda: bool(queue_of(app).dead))
    assert metrics.published["MessagesFailed"] == app.settings.work_max_receives


def a_wake_message(app: App) -> Message:
    return msgspec.convert(
        {"id": app.new_id(), "kind": "wake", "topic": "work", "created_at": app.clock()}, Message
    )


async def test_a_wake_message_takes_no_step(in_memory: App) -> None:
    assert await handle_message(in_memory, a_wake_message(in_memory)) is None


async def test_metrics_are_read_once_in_their_maximum_age(in_memory: App) -> None:
    reads = 0

    async def measures() -> Mapping[str, Check]:
        nonlocal reads
        reads += 1
        if reads == 2:
            raise Unavailable("AWS cannot be reached. Try again.")
        return {"api-errors": Check(ok=True)}

    monitor = Monitor(
        replace_parts(in_memory, measures=measures), metrics_max_age=timedelta(minutes=1)
    )
    metrics = []
    for _ in range(26):
        checks = set((await monitor.check()).checks)
        metrics.append(checks - {"database", "delivery", "dead_letters"})
        clock_of(in_memory).advance(5)
    assert reads == 3
    assert (metrics[11], metrics[12], metrics[24]) == ({"api-errors"}, {"metrics"}, {"api-errors"})


async def get(port: int | None, path: str = "/live") -> tuple[int, str]:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        response = await client.get(f"http://127.0.0.1:{port}{path}")
    return response.status_code, response.text


async def test_liveness_names_a_job_that_hangs_until_it_goes_on() -> None:
    progress = Progress(hung_seconds=0.0)
    async with serve_liveness(progress, "127.0.0.1", 0) as port:
        progress.report("relay", 3_600)
        assert await get(port) == (200, "live")
        progress.report("archive", -1)
        assert await get(port) == (503, "hung: archive")
        progress.report("archive", 3_600)
        assert await get(port) == (200, "live")
        assert (await get(port, "/"))[0] == 404


async def test_a_worker_whose_job_hangs_is_not_live(
    new_app: AppFactory, unused_tcp_port: int
) -> None:
    class Hanging:
        def __init__(self, app: App) -> None:
            self.inner = app.delivery.outbox
            self.go = asyncio.Event()

        async def pending(self, *arguments: Any) -> list[Message]:
            await self.go.wait()
            return await self.inner.pending(*arguments)

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

    app = new_app(settings=msgspec.structs.replace(QUICK, worker_port=unused_tcp_port))
    outbox = Hanging(app)
    progress = Progress(hung_seconds=1.0)
    async with Running(replace_parts(app, outbox=outbox), progress=progress):
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(is_live, unused_tcp_port):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            # On a busy machine other jobs may hang too.
            while "relay" not in (await get(unused_tcp_port))[1]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert not await asyncio.to_thread(is_live, unused_tcp_port)
            outbox.go.set()
            while not await asyncio.to_thread(is_live, unused_tcp_port):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert not await asyncio.to_thread(is_live, unused_tcp_port)


async def test_bytes_that_are_no_request_do_no_harm(new_app: AppFactory) -> None:
    async with serve_liveness(Progress(), "127.0.0.1", 0) as port:
        for sent in (b"\n", b"\x00" * 100_000, b"GET /live HTTP/1.1\r\n" + b"a: b\r\n" * 200):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            writer.write_eof()
            with suppress(ConnectionError):
                await reader.read()
            writer.close()
        assert await get(port) == (200, "live")


async def test_an_idle_worker_does_not_read_the_outbox_until_a_message_wakes_it(
    new_app: AppFactory,
) -> None:
    app = new_app(settings=QUICK)
    idle = IdlePolicy(0.05)
    async with Running(replace_parts(app, idle=idle)):
        await until(lambda: idle.is_idle)
        await asyncio.sleep(0.05)
        reads = count_reads(app)
        await a_validated_payment(app)
        await asyncio.sleep(0.05)
        assert reads == [0]
        assert len(store_of(app).messages) == 1
        await app.delivery.queue.send([a_wake_message(app)])
        await until(lambda: not store_of(app).messages)


def count_reads(app: App) -> list[int]:
    """Counts the reads of the store's outbox from now on."""
    reads, pending = [0], store_of(app).pending

    async def count(*arguments: Any) -> list[Message]:
        reads[0] += 1
        return await pending(*arguments)

    store_of(app).pending = count  # type: ignore[assignment,method-assign]
    return reads


async def test_an_idle_worker_checks_for_work_at_its_wake_up_interval(new_app: AppFactory) -> None:
    app = new_app(settings=QUICK)
    idle = IdlePolicy(0.01, wake_up_seconds=0.02)
    async with Running(replace_parts(app, idle=idle)):
        await until(lambda: idle.is_idle)
        await a_validated_payment(app)
        await until(lambda: not store_of(app).messages)
