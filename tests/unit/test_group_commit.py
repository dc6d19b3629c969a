"""Group commit: a lone item goes at once, items under load go together, each has its result."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from remit.adapters.postgres.group_commit import GroupCommit


class Flusher:
    """A flush function that records each batch, and waits while its gate is closed."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.started = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, items: Sequence[str]) -> list[str | Exception]:
        self.batches.append(list(items))
        self.started.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [ValueError(item) if item.startswith("bad") else item.upper() for item in items]


def no_conflict_keys(item: str) -> Sequence[object]:
    return ()


def first_letter(item: str) -> Sequence[object]:
    return item[:1]


def both_letters(item: str) -> Sequence[object]:
    return list(item[:2])


class Busy:
    """A batcher whose first batch is under way, so that every further item must wait."""

    def __init__(
        self,
        *,
        limit: int = 100,
        conflict_keys: Callable[[str], Sequence[object]] = no_conflict_keys,
    ) -> None:
        self.flush = Flusher()
        self.batcher: GroupCommit[str, str] = GroupCommit(
            self.flush, limit=limit, conflict_keys=conflict_keys
        )
        self.tasks: list[asyncio.Task[str]] = []

    async def __aenter__(self) -> "Busy":
        self.flush.gate.clear()
        self.submit("first")
        await asyncio.wait_for(self.flush.started.wait(), 5)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.flush.gate.set()
        await asyncio.wait_for(asyncio.gather(*self.tasks, return_exceptions=True), 5)

    def submit(self, *items: str) -> None:
        self.tasks.extend(asyncio.create_task(self.batcher.submit(item)) for item in items)

    async def finish(self) -> list[str | BaseException]:
        """The results of all items but the first, in the order of submission."""
        await asyncio.sleep(0)
        self.flush.gate.set()
        results = await asyncio.wait_for(asyncio.gather(*self.tasks, return_exceptions=True), 5)
        return list(results[1:])

    @property
    def batches(self) -> list[list[str]]:
        return self.flush.batches[1:]


async def test_a_lone_item_goes_at_once() -> None:
    flush = Flusher()
    batcher: GroupCommit[str, str] = GroupCommit(flush, limit=10)
    task = asyncio.create_task(batcher.submit("a"))
    # One turn of the loop submits the item and one runs the batch, so there is no timer in between.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert flush.batches == [["a"]]
    assert await task == "A"


async def test_items_one_after_another_do_not_wait_for_a_batch() -> None:
    flush = Flusher()
    batcher: GroupCommit[str, str] = GroupCommit(flush, limit=10)
    assert [await batcher.submit(item) for item in "abc"] == ["A", "B", "C"]
    assert flush.batches == [["a"], ["b"], ["c"]]


async def test_items_that_arrive_during_a_batch_go_together_in_the_next() -> None:
    async with Busy() as busy:
        busy.submit("a", "b", "c")
        assert await busy.finish() == ["A", "B", "C"]
        assert busy.batches == [["a", "b", "c"]]


async def test_only_one_batch_is_under_way_at_a_time() -> None:
    async with Busy() as busy:
        busy.submit("a")
        for _ in range(10):
            await asyncio.sleep(0)
        assert busy.batches == []
        await busy.finish()
        assert busy.batches == [["a"]]


async def test_a_batch_has_a_limit_and_keeps_the_order() -> None:
    async with Busy(limit=2) as busy:
        busy.submit(*"abcde")
        assert await busy.finish() == list("ABCDE")
        assert busy.batches == [["a", "b"], ["c", "d"], ["e"]]


async def test_one_item_that_fails_fails_alone() -> None:
    async with Busy() as busy:
        busy.submit("a", "bad", "c")
        first, failed, last = await busy.finish()
        assert (first, last) == ("A", "C")
        assert isinstance(failed, ValueError)
        assert busy.batches == [["a", "bad", "c"]]


async def test_a_batch_that_fails_fails_all_its_items_and_no_later_one() -> None:
    async with Busy() as busy:
        busy.submit("a", "b")
        busy.flush.error = OSError("down")
        assert [type(result) for result in await busy.finish()] == [OSError, OSError]
        busy.flush.error = None
        assert await busy.batcher.submit("c") == "C"


async def test_an_item_whose_caller_is_cancelled_is_left_out() -> None:
    async with Busy() as busy:
        busy.submit("a", "b", "c")
        await asyncio.sleep(0)
        busy.tasks[2].cancel()
        first, cancelled, last = await busy.finish()
        assert (first, last) == ("A", "C")
        assert isinstance(cancelled, asyncio.CancelledError)
        assert busy.batches == [["a", "c"]]


async def test_a_caller_cancelled_during_its_batch_affects_no_other_item() -> None:
    async with Busy() as busy:
        busy.submit("a")
        busy.tasks[0].cancel()
        assert await busy.finish() == ["A"]
        with pytest.raises(asyncio.CancelledError):
            await busy.tasks[0]


async def test_items_that_conflict_never_share_a_batch_and_keep_their_order() -> None:
    async with Busy(conflict_keys=first_letter) as busy:
        busy.submit("a1", "b1", "a2", "c1", "a3", "b2")
        assert await busy.finish() == ["A1", "B1", "A2", "C1", "A3", "B2"]
        assert busy.batches == [["a1", "b1", "c1"], ["a2", "b2"], ["a3"]]


async def test_an_item_does_not_overtake_one_that_it_conflicts_with() -> None:
    async with Busy(conflict_keys=both_letters) as busy:
        busy.submit("ab", "bc", "cd")
        assert await busy.finish() == ["AB", "BC", "CD"]
        assert busy.batches == [["ab"], ["bc"], ["cd"]]


async def test_conflicting_items_beyond_the_limit_keep_their_order() -> None:
    async with Busy(limit=2, conflict_keys=first_letter) as busy:
        busy.submit("a1", "a2", "b1", "c1", "a3")
        await busy.finish()
        assert busy.batches == [["a1", "b1"], ["a2", "c1"], ["a3"]]


async def test_many_callers_each_get_their_own_result() -> None:
    flush = Flusher()
    batcher: GroupCommit[str, str] = GroupCommit(flush, limit=7, conflict_keys=first_letter)
    items = [f"{letter}{number}" for number in range(50) for letter in "abc"]
    results = await asyncio.gather(*(batcher.submit(item) for item in items))
    assert results == [item.upper() for item in items]
    assert sorted(item for batch in flush.batches for item in batch) == sorted(items)
    for letter in "abc":
        sent = [item for batch in flush.batches for item in batch if item[0] == letter]
        assert sent == [item for item in items if item[0] == letter]
