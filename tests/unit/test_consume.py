"""Many messages at once: what is under way, what is kept hidden, and what a stop does with it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from msgspec import structs

from remit.adapters.memory.queue import MemoryQueue
from remit.delivery.consumer import Consumer
from remit.delivery.relay import relay
from remit.domain.change import UNREADABLE, Message
from remit.domain.errors import Unavailable
from remit.domain.payment import Payment, ProcessorResult, State
from remit.payments.process import ProcessRequest, enqueue
from remit.ports.app import App
from remit.ports.delivery import ReceivedMessage
from remit.ports.processor import Instruction
from remit.settings import Settings
from tests.builders import AppFactory, caller, clock_of, processor_of, rewired
from tests.unit.arranged import a_validated, current, queue_of

SLOW = "6.66"
"""An amount whose processor answers when the test says so."""


class Watched:
    """A processor that holds amounts of 6.66 until told, and knows how many it had at once."""

    name = "watched"

    def __init__(self, app: App) -> None:
        self.inner = processor_of(app)
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.now = 0
        self.most = 0

    async def execute(self, instruction: Instruction) -> ProcessorResult:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if instruction.amount_minor == 666:
                self.begun.set()
                await self.go.wait()
            else:
                await asyncio.sleep(0)
            return await self.inner.execute(instruction)
        finally:
            self.now -= 1

    async def find(self, key: str) -> ProcessorResult | None:
        return await self.inner.find(key)

    async def balance(self, payment_id: str) -> int | None:
        return await self.inner.balance(payment_id)


class Recorded:
    """A queue that writes down what it is told."""

    def __init__(self, queue: MemoryQueue) -> None:
        self.inner = queue
        self.asked: list[int] = []
        self.extended: list[float] = []
        self.twice = asyncio.Event()
        self.deliver_when: asyncio.Event | None = None
        self.asking = asyncio.Event()

    async def send(self, messages: Sequence[Message]) -> None:
        await self.inner.send(messages)

    async def receive(self, limit: int) -> list[ReceivedMessage]:
        self.asked.append(limit)
        self.asking.set()
        if self.deliver_when is not None:
            await self.deliver_when.wait()
        return await self.inner.receive(limit)

    async def delete(self, delivery: ReceivedMessage) -> None:
        await self.inner.delete(delivery)

    async def retry(
        self, delivery: ReceivedMessage, error: str, after_seconds: float = 0.0
    ) -> None:
        await self.inner.retry(delivery, error, after_seconds)

    async def extend(self, delivery: ReceivedMessage, seconds: float) -> None:
        self.extended.append(seconds)
        if len(self.extended) == 1 and seconds:
            raise Unavailable("The queue cannot be reached. Try again.")
        if len(self.extended) > 1:
            self.twice.set()
        await self.inner.extend(delivery, seconds)


def watched(new_app: AppFactory, **settings: Any) -> tuple[App, Watched, Recorded]:
    app = new_app(settings=Settings(relay_interval_seconds=0.001, **settings))
    processor, queue = Watched(app), Recorded(queue_of(app))
    return rewired(app, processor=processor, queue=queue), processor, queue


async def an_enqueued(app: App, amount: str = "100.00") -> Payment:
    payment = await a_validated(app, amount)
    await enqueue(app, caller(), ProcessRequest(payment.id))
    await relay(app)
    return payment


async def until(done: Callable[..., Awaitable[bool]], *args: object) -> None:
    async with asyncio.timeout(30):
        while not await done(*args):  # noqa: ASYNC110 - looks as anybody can, from outside
            await asyncio.sleep(0.001)


async def is_captured(app: App, payment: Payment) -> bool:
    return (await current(app, payment)).state is State.CAPTURED


class Running:
    """A consumer for as long as the block lasts."""

    def __init__(self, app: App) -> None:
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(Consumer(app).run(self.stop))

    async def __aenter__(self) -> "Running":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        async with asyncio.timeout(30):
            await self.task


async def test_one_slow_message_holds_up_no_other(new_app: AppFactory) -> None:
    app, processor, queue = watched(new_app, work_concurrency=2)
    slow = await an_enqueued(app, SLOW)
    quick = [await an_enqueued(app) for _ in range(20)]
    async with Running(app):
        await processor.begun.wait()
        for payment in quick:
            await until(is_captured, app, payment)
        assert not await is_captured(app, slow)
        processor.go.set()
        await until(is_captured, app, slow)
    assert (queue.inner.waiting, queue.inner.buried) == ({}, {})


async def test_never_more_messages_are_under_way_or_asked_for_than_are_allowed(
    new_app: AppFactory,
) -> None:
    app, processor, queue = watched(new_app, work_concurrency=3)
    payments = [await an_enqueued(app, SLOW if number < 5 else "1.00") for number in range(30)]
    async with Running(app):
        await processor.begun.wait()
        processor.go.set()
        for payment in payments:
            await until(is_captured, app, payment)
    assert processor.most == 3
    assert max(queue.asked) == 3


async def test_a_message_stays_hidden_while_it_is_worked_on(new_app: AppFactory) -> None:
    app, processor, queue = watched(new_app, work_visibility_seconds=0.002)
    slow = await an_enqueued(app, SLOW)
    async with Running(app):
        async with asyncio.timeout(30):
            await queue.twice.wait()  # though the first extension failed
        processor.go.set()
        await until(is_captured, app, slow)
    assert set(queue.extended) == {0.002}
    assert (queue.inner.waiting, queue.inner.buried) == ({}, {})


async def test_a_stop_hands_back_what_is_not_begun_and_finishes_what_is(
    new_app: AppFactory,
) -> None:
    app, processor, queue = watched(new_app, work_concurrency=2)
    begun = await an_enqueued(app, SLOW)
    running = Running(app)
    await processor.begun.wait()
    queue.asking.clear()
    queue.deliver_when = asyncio.Event()
    await queue.asking.wait()
    late = await an_enqueued(app)
    running.stop.set()
    await asyncio.sleep(0)
    queue.deliver_when.set()
    processor.go.set()
    async with asyncio.timeout(30):
        await running.task
    assert await is_captured(app, begun)
    assert not await is_captured(app, late)
    assert queue.extended == [0]
    [waiting] = await queue.inner.receive(10)
    assert waiting.message.payment_id == late.id


async def test_what_is_not_finished_in_time_is_left_and_comes_back(new_app: AppFactory) -> None:
    app, processor, queue = watched(new_app, stop_seconds=0.001)
    slow = await an_enqueued(app, SLOW)
    async with Running(app):
        await processor.begun.wait()
    assert len(queue.inner.waiting) == 1
    processor.go.set()
    clock_of(app).advance(3_600)
    async with Running(app):
        await until(is_empty, queue)
    assert await is_captured(app, slow)
    assert len(processor.inner.answers) == 1


async def is_empty(queue: Recorded) -> bool:
    return not queue.inner.waiting


async def test_a_queue_that_is_down_is_asked_again(
    new_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.delivery.consumer.FAILURE_PAUSE_SECONDS", 0.001)
    app, _, queue = watched(new_app)
    payment = await an_enqueued(app)
    failures = [Unavailable("The queue cannot be reached."), RuntimeError("unforeseen")]
    receive = queue.receive

    async def fail(limit: int) -> list[ReceivedMessage]:
        if failures:
            raise failures.pop()
        return await receive(limit)

    monkeypatch.setattr(queue, "receive", fail)
    async with Running(app):
        await until(is_captured, app, payment)


async def test_a_message_that_cannot_be_deleted_comes_back_and_is_done_once(
    new_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, processor, queue = watched(new_app)
    payment = await an_enqueued(app)
    delete, failures = queue.delete, [Unavailable("The queue cannot be reached.")]

    async def fail(delivery: ReceivedMessage) -> None:
        if failures:
            raise failures.pop()
        await delete(delivery)

    monkeypatch.setattr(queue, "delete", fail)
    async with Running(app):
        await until(is_captured, app, payment)
        clock_of(app).advance(3_600)
        await until(is_empty, queue)
    assert len(processor.inner.answers) == 1


async def test_what_nobody_can_read_fails_and_is_buried_and_counted(new_app: AppFactory) -> None:
    app, _, queue = watched(new_app, work_max_receives=3)
    payment = await a_validated(app)
    await enqueue(app, caller(), ProcessRequest(payment.id))
    [message] = [m for m in await app.delivery.outbox.pending(10) if m.kind == "process"]
    await queue.send([structs.replace(message, kind=UNREADABLE)])
    async with Running(app):
        await until(is_buried, queue)
    [dead] = await queue.inner.dead_letters(10)
    assert (dead.receives, dead.last_error) == (3, "error: The message cannot be read.")


async def is_buried(queue: Recorded) -> bool:
    return bool(queue.inner.buried)
