"""Group commit: items that arrive while a batch is under way go together in the next one.

There is no timer, so nothing is delayed: a lone item goes at once. Under load the items share the
cost of one round trip and of one flush to disk.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """Offers `submit` for one item, on top of `flush`, which takes a batch of them.

    Two items that share one of their `conflict_keys` are never in one batch, and keep their order.
    One batch is under way at a time.
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
        self._conflict_keys = conflict_keys
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """The result that `flush` returned for the item. Raises the exception that it returned for
        the item, or raised.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while batch := self._next_batch():
                await self._run_batch(batch)
        finally:
            # No await lies between the empty batch and this, so no item can be missed.
            self._running = None

    async def _run_batch(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._flush([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - every caller gets it
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _next_batch(self) -> list[tuple[T, asyncio.Future[R]]]:
        """The oldest items, without those that conflict with an earlier one."""
        batch: list[tuple[T, asyncio.Future[R]]] = []
        left: list[tuple[T, asyncio.Future[R]]] = []
        earlier_keys: set[object] = set()
        while self._waiting and len(batch) < self._limit:
            item, future = self._waiting.popleft()
            if future.cancelled():
                continue
            keys = self._conflict_keys(item)
            (batch if earlier_keys.isdisjoint(keys) else left).append((item, future))
            earlier_keys.update(keys)
        self._waiting.extendleft(reversed(left))
        return batch
