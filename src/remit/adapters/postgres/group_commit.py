"""Group commit: calls that arrive while a batch is under way go together in the next one.

No timer and no added delay: an idle batcher sends a lone call at once. Under load a batch is
whatever gathered during the one before it, so the cost of a round trip and of a disk flush is
shared.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """Turns `flush`, which answers many items at once, into `submit`, which answers one.

    `contended(item)` lists what an item wants to itself: two items that share one of these are
    never in one batch, and keep their order. One batch is under way at a time.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        *,
        limit: int,
        conflict_keys: Callable[[T], Sequence[object]] = lambda item: (),
    ) -> None:
        self._flush = flush
        self._limit = limit
        self._contended = conflict_keys
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """The answer for `item`; raises it if it is an exception, or what `flush` raised."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while batch := self._take():
                await self._answer(batch)
        finally:
            # In the same turn as the look that found nothing, so that no item falls between.
            self._running = None

    async def _answer(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            answers = await self._flush([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - every caller gets it
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        """The next batch: the oldest items, less those that contend with one that goes before."""
        taken: list[tuple[T, asyncio.Future[R]]] = []
        left: list[tuple[T, asyncio.Future[R]]] = []
        wanted_before: set[object] = set()
        while self._waiting and len(taken) < self._limit:
            item, future = self._waiting.popleft()
            if future.cancelled():
                continue
            wanted = self._contended(item)
            (taken if wanted_before.isdisjoint(wanted) else left).append((item, future))
            wanted_before.update(wanted)
        self._waiting.extendleft(reversed(left))
        return taken
