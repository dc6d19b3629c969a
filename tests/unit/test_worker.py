"""The worker as a process: its jobs, what it counts, whether it lives, and when it is idle."""

import asyncio
import http.client
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta

import msgspec
import pytest

from remit.delivery.relay import handle_message
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
from tests.builders import AppFactory, caller, clock_of, rewired
from tests.unit.arranged import a_processed, a_validated, current, queue_of, store_of, tamper

QUICK = Settings(
    relay_interval_seconds=0.001,
    archive_interval_seconds=0.001,
    sweep_interval_seconds=0.001,
    service_name="payment-worker",
)


class Tallied:
    """Metrics that a test can read: what was counted, and what of it was handed on."""

    def __init__(self) -> None:
        self.counted: dict[str, float] = {}
        self.written: dict[str, float] = {}

    def count(self, name: str, value: float = 1.0) -> None:
        self.counted[name] = self.counted.get(name, 0.0) + value

    def seconds(self, name: str, value: float) -> None:
        self.counted[name] = value

    async def write(self) -> None:
        self.written |= self.counted


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - looks as anybody can, from outside
            await asyncio.sleep(0.001)


class Running:
    """A worker for as long as the block lasts."""

    def __init__(self, app: App, progress: Progress | None = None) -> None:
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(run_worker(app, self._stop, progress=progress))

    async def __aenter__(self) -> None:
        await asyncio.sleep(0)

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        async with asyncio.timeout(30):
            await self._task


async def test_all_that_was_counted_is_handed_on_at_the_end(new_app: AppFactory) -> None:
    metrics = Tallied()
    app = rewired(new_app(settings=QUICK), metrics=metrics)
    payment = await a_validated(app)
    await enqueue(app, caller(), ProcessRequest(payment.id))
    async with Running(app):
        await until(lambda: "payment_intent.succeeded" in metrics.counted)
    assert (await current(app, payment)).state is State.CAPTURED
    assert metrics.written == {
        "OutboxAge": 0.0,
        "DeadLetters": 0.0,
        "payment_intent.created": 1.0,
        "payment_intent.succeeded": 1.0,
    }


async def test_the_clock_has_the_books_proven_and_what_is_found_counted(
    new_app: AppFactory,
) -> None:
    metrics = Tallied()
    app = rewired(new_app(settings=QUICK), metrics=metrics)
    payment = await a_processed(app)
    tamper(app, payment, captured_minor=1)
    body = {
        "id": "6f1f6c9e-17f4-4a8d-8c7b-1f0e5b8f3a52",
        "kind": "reconcile",
        "topic": "work",
        "created_at": "2026-11-21T03:00:00Z",
    }
    scheduled = msgspec.json.decode(json.dumps(body).encode(), type=Message)
    assert await handle_message(app, scheduled) is None
    assert metrics.counted["LedgerImbalances"] == 1.0
    assert metrics.counted["AuditBreaks"] == 0.0
    assert "Discrepancies" in metrics.counted


async def test_what_was_counted_is_written_while_the_worker_is_idle(
    new_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.entrypoints.worker.METRICS_INTERVAL_SECONDS", 0.01)
    metrics, idle = Tallied(), IdlePolicy(0.001)
    app = rewired(new_app(settings=QUICK), metrics=metrics)
    async with Running(rewired(app, idle=idle)):
        await until(lambda: idle.is_idle)
        metrics.count("payment_intent.succeeded")
        await until(lambda: "payment_intent.succeeded" in metrics.written)


async def test_a_failed_step_is_counted(new_app: AppFactory) -> None:
    metrics = Tallied()
    app = rewired(new_app(settings=QUICK), metrics=metrics)
    [message] = [a_wake(app)]
    await app.delivery.queue.send([msgspec.structs.replace(message, kind="dance")])
    async with Running(app):
        await until(lambda: bool(queue_of(app).buried))
    assert metrics.written["MessagesFailed"] == app.settings.work_max_receives


def a_wake(app: App) -> Message:
    return msgspec.convert(
        {"id": app.new_id(), "kind": "wake", "topic": "work", "created_at": app.clock()}, Message
    )


async def test_a_wake_is_done_when_it_is_received(in_memory: App) -> None:
    assert await handle_message(in_memory, a_wake(in_memory)) is None


async def test_measures_that_cost_money_are_taken_once_in_their_time(in_memory: App) -> None:
    looks = 0

    async def measures() -> Mapping[str, Check]:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise Unavailable("AWS cannot be reached. Try again.")
        return {"api-errors": Check(ok=True)}

    monitor = Monitor(rewired(in_memory, measures=measures), measures_hold=timedelta(minutes=1))
    seen = []
    for _ in range(26):
        seen.append(set((await monitor.watch()).checks) - {"database", "delivery", "dead_letters"})
        clock_of(in_memory).advance(5)
    assert looks == 3
    assert (seen[11], seen[12], seen[24]) == ({"api-errors"}, {"metrics"}, {"api-errors"})


async def asked(port: int | None, path: str = "/live") -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        assert port is not None
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    return await asyncio.to_thread(ask)


async def test_a_job_that_hangs_is_told_until_it_goes_on() -> None:
    progress = Progress(hung_seconds=0.0)
    async with serve_liveness(progress, "127.0.0.1", 0) as port:
        progress.moved("relay", 3_600)
        assert await asked(port) == (200, "live")
        progress.moved("archive", -1)
        assert await asked(port) == (503, "hung: archive")
        progress.moved("archive", 3_600)
        assert await asked(port) == (200, "live")
        assert (await asked(port, "/"))[0] == 404


async def test_a_worker_whose_job_hangs_does_not_live(
    new_app: AppFactory, unused_tcp_port: int
) -> None:
    class Hanging:
        def __init__(self, app: App) -> None:
            self.inner = app.delivery.outbox
            self.go = asyncio.Event()

        async def pending(self, limit: int) -> list[Message]:
            await self.go.wait()
            return await self.inner.pending(limit)

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

    app = new_app(settings=msgspec.structs.replace(QUICK, worker_port=unused_tcp_port))
    outbox = Hanging(app)
    progress = Progress(hung_seconds=1.0)
    async with Running(rewired(app, outbox=outbox), progress=progress):
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(is_live, unused_tcp_port):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            # On a machine that is busy others may be late too.
            while "relay" not in (await asked(unused_tcp_port))[1]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert not await asyncio.to_thread(is_live, unused_tcp_port)
            outbox.go.set()
            while not await asyncio.to_thread(is_live, unused_tcp_port):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert not await asyncio.to_thread(is_live, unused_tcp_port)


async def test_what_is_no_request_is_no_harm(new_app: AppFactory) -> None:
    async with serve_liveness(Progress(), "127.0.0.1", 0) as port:
        for sent in (b"\n", b"\x00" * 100_000, b"GET /live HTTP/1.1\r\n" + b"a: b\r\n" * 200):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            writer.write_eof()
            with suppress(ConnectionError):
                await reader.read()
            writer.close()
        assert await asked(port) == (200, "live")


async def test_an_idle_worker_leaves_the_outbox_alone_until_a_message_wakes_it(
    new_app: AppFactory,
) -> None:
    app = new_app(settings=QUICK)
    idle = IdlePolicy(0.05)
    async with Running(rewired(app, idle=idle)):
        await until(lambda: idle.is_idle)
        await asyncio.sleep(0.05)
        looks = count_looks(app)
        await a_validated(app)
        await asyncio.sleep(0.05)
        assert looks == [0]
        assert len(store_of(app).messages) == 1
        await app.delivery.queue.send([a_wake(app)])
        await until(lambda: not store_of(app).messages)


def count_looks(app: App) -> list[int]:
    """How often the store's outbox is looked at from now on."""
    looks, pending = [0], store_of(app).pending

    async def counted(limit: int) -> list[Message]:
        looks[0] += 1
        return await pending(limit)

    store_of(app).pending = counted  # type: ignore[method-assign]
    return looks


async def test_an_idle_worker_looks_for_work_now_and_then(new_app: AppFactory) -> None:
    app = new_app(settings=QUICK)
    idle = IdlePolicy(0.01, wake_up_seconds=0.02)
    async with Running(rewired(app, idle=idle)):
        await until(lambda: idle.is_idle)
        await a_validated(app)
        await until(lambda: not store_of(app).messages)
