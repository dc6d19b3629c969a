"""Keeps a bounded number of steps under way, for a worker that runs until it is told to stop.

One slow message holds up no other: what has finished makes room for what is received next. How a
message is handled is in `deliver.py`, as for every other consumer.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

import structlog

from remit.delivery.relay import acknowledge, try_message
from remit.ports.app import App
from remit.ports.delivery import ReceivedMessage

FAILURE_PAUSE_SECONDS = 1.0

log = structlog.get_logger("worker")


class Consumer:
    """Takes the messages of `app.queue`, `work_concurrency` at once.

    Calls `moved` whenever it gets anywhere, and `heard` when the queue had something.
    """

    def __init__(
        self,
        app: App,
        moved: Callable[[], None] = lambda: None,
        heard: Callable[[], None] = lambda: None,
        begin: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """`begin` records a step of this kind, for whoever traces it."""
        self._app = app
        self._moved = moved
        self._heard = heard
        self._begin_step = begin
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`: then receives no more, and finishes within `stop_seconds` what is under
        way. What is not finished by then is left, and comes back by itself.
        """
        stopping = asyncio.create_task(stop.wait())
        receiving = asyncio.create_task(self._receive_until(stopping))
        await stopping
        deadline = asyncio.get_running_loop().time() + self._app.settings.stop_seconds
        # Not canceled: a receive that is abandoned would hide what it brings.
        await _until(deadline, {receiving})
        await _until(deadline, self._under_way)
        left = [task for task in (receiving, *self._under_way) if not task.done()]
        if left:
            log.warning("work_left", messages=len(self._under_way))
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _receive_until(self, stopping: asyncio.Task[bool]) -> None:
        settings = self._app.settings
        while not stopping.done():
            free = settings.work_concurrency - len(self._under_way)
            if free <= 0:
                await asyncio.wait({stopping, *self._under_way}, return_when="FIRST_COMPLETED")
                continue
            pause = settings.relay_interval_seconds
            try:
                deliveries = await self._app.delivery.queue.receive(free)
            except Exception:
                log.exception("job_failed", job="work")
                deliveries, pause = [], max(pause, FAILURE_PAUSE_SECONDS)
            self._moved()
            if stopping.done():
                await asyncio.gather(*(self._hand_back(delivery) for delivery in deliveries))
                return
            if deliveries:
                self._heard()
                self._begin(deliveries)
            else:
                await asyncio.wait({stopping}, timeout=pause)

    def _begin(self, deliveries: list[ReceivedMessage]) -> None:
        for delivery in deliveries:
            task = asyncio.create_task(self._take(delivery))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _take(self, delivery: ReceivedMessage) -> None:
        app = self._app
        try:
            async with self._hidden(delivery):
                with self._begin_step(delivery.message.kind):
                    failure = await try_message(app, delivery.message, self._moved)
            await acknowledge(app, delivery, failure)
        except Exception:
            # The step is safe to take again, and comes back by itself.
            log.exception("message_left", message_id=delivery.message.id)
        self._moved()

    async def _hand_back(self, delivery: ReceivedMessage) -> None:
        try:
            await self._app.delivery.queue.extend(delivery, 0)
        except Exception:
            log.exception("message_left", message_id=delivery.message.id)

    @asynccontextmanager
    async def _hidden(self, delivery: ReceivedMessage) -> AsyncIterator[None]:
        """Keeps a message from coming back while it is worked on, however long that takes."""
        done = asyncio.Event()
        extending = asyncio.create_task(self._extend(delivery, done))
        try:
            yield
            done.set()
            # An extension that is under way must not come after what the queue is told next.
            await extending
        finally:
            extending.cancel()

    async def _extend(self, delivery: ReceivedMessage, done: asyncio.Event) -> None:
        visibility_seconds = self._app.settings.work_visibility_seconds
        wait = visibility_seconds / 2
        while not done.is_set():
            try:
                async with asyncio.timeout(wait):
                    await done.wait()
            except TimeoutError:
                wait = visibility_seconds / 2
                try:
                    await self._app.delivery.queue.extend(delivery, visibility_seconds)
                except Exception:
                    log.exception("message_not_extended", message_id=delivery.message.id)
                    wait = min(wait, FAILURE_PAUSE_SECONDS)


async def _until(deadline: float, tasks: set[asyncio.Task[None]]) -> None:
    left = deadline - asyncio.get_running_loop().time()
    if tasks:
        await asyncio.wait(tasks, timeout=max(0.0, left))
