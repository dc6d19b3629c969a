"""Processes of the service: slow, paused, killed, with clocks apart, over one store and queue."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from remit.delivery.consumer import Consumer
from remit.delivery.relay import relay
from remit.delivery.sweep import sweep
from remit.domain.change import Message
from remit.domain.errors import ConnectionLost, ResultUnknown, Unavailable
from remit.ports.app import App
from remit.ports.delivery import ReceivedMessage
from tests.builders import replace_parts
from tests.simulation.adversary import EPOCH, Adversary, Fault

HANG_SECONDS = (1.0, 20.0)
PAUSE_SECONDS = (1.0, 60.0)
REQUEST_SECONDS = 60.0
REPEAT_SECONDS = (1.0, 1_800.0)
MAX_SKEW_SECONDS = 300.0
RELAY_SECONDS = 8.0
SWEEP_SECONDS = 12.0
REST_SLOWNESS = 10.0

T = TypeVar("T")


class NoResponse(Exception):
    """The process died before it answered, or took longer than its caller waits."""


class SimulatedProcess:
    """One process. Each of its calls to a port takes time, can fail, and never returns if the
    process was killed: what it would have done next does not happen.
    """

    def __init__(self, name: str, app: App, processor: Any, adversary: Adversary) -> None:
        self.name = name
        self._adversary = adversary
        self._paused_until = 0.0
        self._skew_seconds = 0.0
        if adversary.strikes(Fault.CLOCKS_APART, times=5.0):
            self._skew_seconds = adversary.between(-MAX_SKEW_SECONDS, MAX_SKEW_SECONDS)
        self._died = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[Any]] = []
        commits = (Fault.COMMIT_FAILS, Fault.COMMIT_UNHEARD, Fault.COMMIT_HANGS)
        sends = (Fault.SEND_FAILS, Fault.SEND_UNHEARD)
        store = Port(self, app.store, reads=(Fault.READ_FAILS,), commit=commits)
        self.app = replace(
            replace_parts(
                app,
                store=store,
                reader=store,
                processor=Port(self, processor),
                outbox=Port(self, app.delivery.outbox, mark_sent=commits[:2]),
                queue=Port(self, RepeatingQueue(self, app.delivery.queue), send=sends),
                notifications=Port(self, app.delivery.notifications, publish=sends),
                alerts=Port(self, app.delivery.alerts, publish=sends),
            ),
            clock=self.now,
        )

    @property
    def is_alive(self) -> bool:
        return not self._died.done()

    @property
    def slowness(self) -> float:
        """How much longer the pauses of a worker are by now: at rest little is left to do, and most
        of the time of a run would go into looking for it.
        """
        return REST_SLOWNESS if self._adversary.is_at_rest else 1.0

    def now(self) -> datetime:
        seconds = asyncio.get_running_loop().time() + self._skew_seconds
        return EPOCH + timedelta(seconds=seconds)

    def start(self) -> None:
        """Starts the jobs of a worker."""
        for job in (
            Consumer(self.app).run(asyncio.Event()),
            self._repeat(lambda: relay(self.app), RELAY_SECONDS),
            self._repeat(lambda: sweep(self.app), SWEEP_SECONDS),
        ):
            self._tasks.append(asyncio.ensure_future(job))

    def kill(self) -> None:
        if self.is_alive:
            self._died.set_result(None)

    def pause(self, seconds: float) -> None:
        self._paused_until = asyncio.get_running_loop().time() + seconds

    async def run(self, step: Awaitable[T]) -> T:
        """The result of a request's step. Raises NoResponse if the process dies first, or after
        the time that a caller waits. The step goes on, as it does where a connection is lost.
        """
        task = asyncio.ensure_future(step)
        self._tasks.append(task)
        await asyncio.wait(
            {task, self._died}, timeout=REQUEST_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        if not task.done():
            task.add_done_callback(_drop_result)
            raise NoResponse
        self._tasks.remove(task)
        return task.result()

    async def gate(self) -> None:
        """Lets a call pass after its latency, and never in a process that is dead."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._adversary.latency())
        if loop.time() < self._paused_until:
            await asyncio.sleep(self._paused_until - loop.time())
        if not self.is_alive:
            await loop.create_future()

    async def fail(self, faults: Collection[Fault]) -> None:
        for fault in faults:
            if self._adversary.strikes(fault):
                match fault:
                    case Fault.COMMIT_HANGS:
                        await asyncio.sleep(self._adversary.between(*HANG_SECONDS))
                    case _ if fault in BEFORE:
                        raise Unavailable(f"simulated: {fault}")
                    case _:
                        raise ConnectionLost(f"simulated: {fault}")

    def repeat_later(self, send: Callable[[], Awaitable[None]]) -> None:
        """Does it again some time later, whatever becomes of the process."""
        if self._adversary.strikes(Fault.MESSAGE_REPEATED):

            async def repeat() -> None:
                await asyncio.sleep(self._adversary.between(*REPEAT_SECONDS))
                await send()

            self._tasks.append(asyncio.ensure_future(repeat()))

    async def _repeat(self, job: Callable[[], Awaitable[object]], pause_seconds: float) -> None:
        while True:
            with suppress(Unavailable):  # as a worker does, it tries again after the pause
                await job()
            await asyncio.sleep(pause_seconds * self.slowness)


def _drop_result(task: asyncio.Task[Any]) -> None:
    """Nobody waits for this request any more. Its errors are those that a caller would be told."""
    if not task.cancelled() and isinstance(task.exception(), ResultUnknown | Unavailable):
        return


BEFORE = frozenset({Fault.COMMIT_FAILS, Fault.COMMIT_HANGS, Fault.READ_FAILS, Fault.SEND_FAILS})


class RepeatingQueue:
    """The work queue, which delivers a message again much later, as SQS and a redrive can."""

    def __init__(self, process: "SimulatedProcess", queue: Any) -> None:
        self._process = process
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def receive(self, limit: int) -> list[ReceivedMessage]:
        received: list[ReceivedMessage] = await self._queue.receive(limit)
        if not received and self._process.slowness > 1.0:
            await asyncio.sleep(RELAY_SECONDS * self._process.slowness)
        return received

    async def send(self, messages: Sequence[Message]) -> None:
        await self._queue.send(messages)
        for message in messages:
            self._process.repeat_later(partial(self._queue.send, [message]))


class Port:
    """A port of a process. `faults` are those of each method, `reads` those of all others."""

    def __init__(
        self,
        process: SimulatedProcess,
        port: Any,
        reads: tuple[Fault, ...] = (),
        **faults: tuple[Fault, ...],
    ) -> None:
        self._process = process
        self._port = port
        self._reads = reads
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not asyncio.iscoroutinefunction(method):
            return method
        faults = self._faults.get(name, self._reads)
        before = [fault for fault in faults if fault in BEFORE]
        after = [fault for fault in faults if fault not in BEFORE]
        process = self._process

        async def call(*args: Any, **named: Any) -> Any:
            await process.gate()
            await process.fail(before)
            if before:
                await process.gate()
            result = await method(*args, **named)
            await process.gate()
            await process.fail(after)
            return result

        setattr(self, name, call)
        return call
