"""Keeps a bounded number of messages under way, in a worker that runs until it is stopped.

One slow message delays no other: each message that ends makes room for the next. How a message is
handled is in `delivery/work_messages.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

import structlog

from remit.delivery.work_messages import acknowledge, try_message
from remit.ports.app import App
from remit.ports.delivery import ReceivedMessage

FAILURE_PAUSE_SECONDS = 1.0

log = structlog.get_logger("worker")


class Consumer:
    """Handles the messages of the work queue, `work_concurrency` at once.

    Calls `report_progress` after each receive and each message, and `on_work` when the queue had
    messages. `start_span` traces a message by its kind.
    """

    def __init__(
        self,
        app: App,
        report_progress: Callable[[], None] = lambda: None,
        on_work: Callable[[], None] = lambda: None,
        start_span: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._app = app
        self._report_progress = report_progress
        self._on_work = on_work
        self._start_span = start_span
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Receives messages until `stop` is set, then finishes those under way.

        After `stop_seconds` it cancels the messages that are not finished. They return to the
        queue when their visibility time ends.
        """
        stopping = asyncio.create_task(stop.wait())
        receiving = asyncio.create_task(self._receive_until(stopping))
        await stopping
        deadline = asyncio.get_running_loop().time() + self._app.settings.stop_seconds
        # A receive is not canceled, because its messages would stay hidden in the queue.
        await _wait_until(deadline, {receiving})
        await _wait_until(deadline, self._under_way)
        unfinished = [task for task in (receiving, *self._under_way) if not task.done()]
        if unfinished:
            log.warning("work_unfinished", messages=len(self._under_way))
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)

    async def _receive_until(self, stopping: asyncio.Task[bool]) -> None:
        settings = self._app.settings
        while not stopping.done():
            free = settings.work_concurrency - len(self._under_way)
            if free <= 0:
                await asyncio.wait({stopping, *self._under_way}, return_when="FIRST_COMPLETED")
                continue
            pause = settings.relay_interval_seconds
            try:
                batch = await self._app.delivery.queue.receive(free)
            except Exception:
                log.exception("job_failed", job="work")
                batch, pause = [], max(pause, FAILURE_PAUSE_SECONDS)
            self._report_progress()
            if stopping.done():
                await asyncio.gather(*(self._return_message(received) for received in batch))
                return
            if batch:
                self._on_work()
                self._start_handling(batch)
            else:
                await asyncio.wait({stopping}, timeout=pause)

    def _start_handling(self, batch: list[ReceivedMessage]) -> None:
        for received in batch:
            task = asyncio.create_task(self._handle(received))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _handle(self, received: ReceivedMessage) -> None:
        app = self._app
        try:
            async with self._extending_visibility(received):
                with self._start_span(received.message.kind):
                    failure = await try_message(app, received.message, self._report_progress)
            await acknowledge(app, received, failure)
        except Exception:
            # The message returns to the queue by itself, and its step can be taken again.
            log.exception("message_not_acknowledged", message_id=received.message.id)
        self._report_progress()

    async def _return_message(self, received: ReceivedMessage) -> None:
        try:
            await self._app.delivery.queue.extend(received, 0)
        except Exception:
            log.exception("message_not_returned", message_id=received.message.id)

    @asynccontextmanager
    async def _extending_visibility(self, received: ReceivedMessage) -> AsyncIterator[None]:
        """Keeps the message hidden from other workers while the block runs."""
        done = asyncio.Event()
        extension = asyncio.create_task(self._extend_until(received, done))
        try:
            yield
            done.set()
            # An extension under way must reach the queue before the acknowledgement does.
            await extension
        finally:
            extension.cancel()

    async def _extend_until(self, received: ReceivedMessage, done: asyncio.Event) -> None:
        visibility_seconds = self._app.settings.work_visibility_seconds
        wait = visibility_seconds / 2
        while not done.is_set():
            try:
                async with asyncio.timeout(wait):
                    await done.wait()
            except TimeoutError:
                wait = visibility_seconds / 2
                try:
                    await self._app.delivery.queue.extend(received, visibility_seconds)
                except Exception:
                    log.exception("visibility_not_extended", message_id=received.message.id)
                    wait = min(wait, FAILURE_PAUSE_SECONDS)


async def _wait_until(deadline: float, tasks: set[asyncio.Task[None]]) -> None:
    left = deadline - asyncio.get_running_loop().time()
    if tasks:
        await asyncio.wait(tasks, timeout=max(0.0, left))
