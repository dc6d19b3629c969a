"""The consumer: its concurrency, the visibility of its messages, its failures and its stop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from msgspec import structs

from remit.adapters.memory.queue import MemoryQueue
from remit.delivery.consumer import Consumer
from remit.delivery.relay import relay
from remit.domain.change import UNREADABLE, Message
from remit.domain.errors import Unavailable
from remit.domain.operation import ProcessorResult, Received
from remit.domain.payment import Payment, State
from remit.payments.process import ProcessRequest, enqueue
from remit.ports.app import App
from remit.ports.delivery import ReceivedMessage
from remit.ports.processor import (
    Capabilities,
    Instruction,
    Processor,
    ProcessorBalance,
    SettlementLine,
)
from remit.settings import Settings
from tests.builders import AppFactory, caller, clock_of, processor_of, replace_parts
from tests.unit.steps import a_validated_payment, current, queue_of

SLOW = "6.66"
"""An amount for which the processor waits for the test."""


class SlowProcessor(Processor):
    """A processor that waits for the test with amounts of 6.66, and counts its calls at once."""

    name = "slow"
    capabilities = Capabilities(modes=frozenset({"test"}))

    def __init__(self, app: App) -> None:
        self.inner = processor_of(app)
        self.go = asyncio.Event()
        self.started = asyncio.Event()
        self.calls = 0
        self.most_calls = 0

    async def execute(self, instruction: Instruction) -> ProcessorResult | Received:
        self.calls += 1
        self.most_calls = max(self.most_calls, self.calls)
        try:
            if instruction.amount_minor == 666:
                self.started.set()
                await self.go.wait()
            else:
                await asyncio.sleep(0)
            return await self.inner.execute(instruction)
        finally:
            self.calls -= 1

    async def balance(self, payment_id: str) -> ProcessorBalance | None:
        return await self.inner.balance(payment_id)

    def settlement(self) -> AsyncIterator[SettlementLine]:
        return self.inner.settlement()


class RecordingQueue:
    """A queue that records its receives and extensions."""

    def __init__(self, queue: MemoryQueue) -> None:
        self.inner = queue
        self.limits: list[int] = []
        self.extensions: list[float] = []
        self.extended_twice = asyncio.Event()
        self.return_when: asyncio.Event | None = None
        self.receiving = asyncio.Event()

    async def send(self, messages: Sequence[Message]) -> None:
        await self.inner.send(messages)

    async def receive(self, limit: int) -> list[ReceivedMessage]:
        self.limits.append(limit)
        self.receiving.set()
        if self.return_when is not None:
            await self.return_when.wait()
        return await self.inner.receive(limit)

    async def delete(self, received: ReceivedMessage) -> None:
        await self.inner.delete(received)

    async def retry(
        self, received: ReceivedMessage, error: str, after_seconds: float = 0.0
    ) -> None:
        await self.inner.retry(received, error, after_seconds)

    async def extend(self, received: ReceivedMessage, seconds: float) -> None:
        self.extensions.append(seconds)
        if len(self.extensions) == 1 and seconds:
            raise Unavailable("The queue cannot be reached. Try again.")
        if len(self.extensions) > 1:
            self.extended_twice.set()
        await self.inner.extend(received, seconds)


def recording_app(
    new_app: AppFactory, **settings: Any
) -> tuple[App, SlowProcessor, RecordingQueue]:
    app = new_app(settings=Settings(relay_interval_seconds=0.001, **settings))
    processor, queue = SlowProcessor(app), RecordingQueue(queue_of(app))
    return replace_parts(app, processor=processor, queue=queue), processor, queue


async def a_queued_payment(app: App, amount: str = "100.00") -> Payment:
    payment = await a_validated_payment(app, amount)
    await enqueue(app, caller(), ProcessRequest(payment.id))
    await relay(app)
    return payment


async def until(done: Callable[..., Awaitable[bool]], *args: object) -> None:
    async with asyncio.timeout(30):
        while not await done(*args):  # noqa: ASYNC110 - the consumer sets no event for the test
            await asyncio.sleep(0.001)


async def is_captured(app: App, payment: Payment) -> bool:
    return (await current(app, payment)).state is State.CAPTURED


class Running:
    """A consumer that runs while the block does."""

    def __init__(self, app: App) -> None:
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(Consumer(app).run(self.stop))

    async def __aenter__(self) -> "Running":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        async with asyncio.timeout(30):
            await self.task


async def test_one_slow_message_delays_no_other(new_app: AppFactory) -> None:
    app, processor, queue = recording_app(new_app, work_concurrency=2)
    slow = await a_queued_payment(app, SLOW)
    quick = [await a_queued_payment(app) for _ in range(20)]
    async with Running(app):
        await processor.started.wait()
        for payment in quick:
            await until(is_captured, app, payment)
        assert not await is_captured(app, slow)
        processor.go.set()
        await until(is_captured, app, slow)
    assert (queue.inner.waiting, queue.inner.dead) == ({}, {})


async def test_the_consumer_never_exceeds_its_concurrency(
    new_app: AppFactory,
) -> None:
    app, processor, queue = recording_app(new_app, work_concurrency=3)
    payments = [await a_queued_payment(app, SLOW if number < 5 else "1.00") for number in range(30)]
    async with Running(app):
        await processor.started.wait()
        processor.go.set()
        for payment in payments:
            await until(is_captured, app, payment)
    assert processor.most_calls == 3
    assert max(queue.limits) == 3


async def test_a_message_stays_hidden_while_it_is_handled(new_app: AppFactory) -> None:
    app, processor, queue = recording_app(new_app, work_visibility_seconds=0.002)
    slow = await a_queued_payment(app, SLOW)
    async with Running(app):
        async with asyncio.timeout(30):
            await queue.extended_twice.wait()  # the first extension failed
        processor.go.set()
        await until(is_captured, app, slow)
    assert set(queue.extensions) == {0.002}
    assert (queue.inner.waiting, queue.inner.dead) == ({}, {})


async def test_a_stopped_consumer_returns_new_messages_and_finishes_those_under_way(
    new_app: AppFactory,
) -> None:
    app, processor, queue = recording_app(new_app, work_concurrency=2)
    started = await a_queued_payment(app, SLOW)
    running = Running(app)
    await processor.started.wait()
    queue.receiving.clear()
    queue.return_when = asyncio.Event()
    await queue.receiving.wait()
    late = await a_queued_payment(app)
    running.stop.set()
    await asyncio.sleep(0)
    queue.return_when.set()
    processor.go.set()
    async with asyncio.timeout(30):
        await running.task
    assert await is_captured(app, started)
    assert not await is_captured(app, late)
    assert queue.extensions == [0]
    [waiting] = await queue.inner.receive(10)
    assert waiting.message.payment_id == late.id


async def test_a_message_not_finished_in_time_returns_to_the_queue(new_app: AppFactory) -> None:
    app, processor, queue = recording_app(new_app, stop_seconds=0.001)
    slow = await a_queued_payment(app, SLOW)
    async with Running(app):
        await processor.started.wait()
    assert len(queue.inner.waiting) == 1
    processor.go.set()
    clock_of(app).advance(3_600)
    async with Running(app):
        await until(is_empty, queue)
    assert await is_captured(app, slow)
    assert len(processor.inner.results) == 1


async def is_empty(queue: RecordingQueue) -> bool:
    return not queue.inner.waiting


async def test_a_queue_that_was_down_is_received_from_again(
    new_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.delivery.consumer.FAILURE_PAUSE_SECONDS", 0.001)
    app, _, queue = recording_app(new_app)
    payment = await a_queued_payment(app)
    failures = [Unavailable("The queue cannot be reached."), RuntimeError("unforeseen")]
    receive = queue.receive

    async def fail(limit: int) -> list[ReceivedMessage]:
        if failures:
            raise failures.pop()
        return await receive(limit)

    monkeypatch.setattr(queue, "receive", fail)
    async with Running(app):
        await until(is_captured, app, payment)


async def test_a_message_that_could_not_be_deleted_returns_and_charges_once(
    new_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, processor, queue = recording_app(new_app)
    payment = await a_queued_payment(app)
    delete, failures = queue.delete, [Unavailable("The queue cannot be reached.")]

    async def fail(received: ReceivedMessage) -> None:
        if failures:
            raise failures.pop()
        await delete(received)

    monkeypatch.setattr(queue, "delete", fail)
    async with Running(app):
        await until(is_captured, app, payment)
        clock_of(app).advance(3_600)
        await until(is_empty, queue)
    assert len(processor.inner.results) == 1


async def test_an_unreadable_message_becomes_a_dead_letter(new_app: AppFactory) -> None:
    app, _, queue = recording_app(new_app, work_max_receives=3)
    payment = await a_validated_payment(app)
    await enqueue(app, caller(), ProcessRequest(payment.id))
    [message] = [m for m in await app.delivery.outbox.pending(10) if m.kind == "operation"]
    await queue.send([structs.replace(message, kind=UNREADABLE)])
    async with Running(app):
        await until(has_dead_letter, queue)
    [dead] = await queue.inner.dead_letters(10)
    assert (dead.receives, dead.last_error) == (3, "error: The message cannot be read.")


async def has_dead_letter(queue: RecordingQueue) -> bool:
    return bool(queue.inner.dead)
