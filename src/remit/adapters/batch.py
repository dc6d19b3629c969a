"""Group commit: calls that arrive while a batch is under way go together in the next one.

No timer and no added delay: an idle batcher sends a lone call at once. Under load a batch is
whatever gathered during the one before it, so the cost of a round trip and of a disk flush is
shared. One batch is under way at a time.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Turns `flush`, which answers many items at once, into `submit`, which answers one.

    `contended(item)` lists what an item wants to itself: two items that share one of these never
    travel in the same batch, and keep their order.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        *,
        limit: int,
        contended: Callable[[T], Sequence[object]] = lambda item: (),
    ) -> None:
        self._flush = flush
        self._limit = limit
        self._contended = contended
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """The answer for `item`; raises it if it is an exception, or what `flush` raised."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._take()
                try:
                    answers = await self._flush([item for item, _ in batch])
                except Exception as error:  # noqa: BLE001 - every caller gets it
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)
                else:
                    for (_, future), answer in zip(batch, answers, strict=True):
                        if future.done():
                            continue
                        if isinstance(answer, Exception):
                            future.set_exception(answer)
                        else:
                            future.set_result(answer)
        finally:
            self._runner = None

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        """The next batch: the oldest items, less those that contend with one taken before them."""
        taken: list[tuple[T, asyncio.Future[R]]] = []
        left: list[tuple[T, asyncio.Future[R]]] = []
        wanted: set[object] = set()
        while self._waiting and len(taken) < self._limit:
            item, future = self._waiting.popleft()
            if future.cancelled():
                continue
            wants = self._contended(item)
            if wanted.isdisjoint(wants):
                taken.append((item, future))
            else:
                left.append((item, future))
            wanted.update(wants)
        self._waiting.extendleft(reversed(left))
        return taken
