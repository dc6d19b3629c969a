"""The rate limits of one process: a burst at once, a rate over time, and the wait."""

import pytest

from remit.adapters.memory import limiter as limiter_module
from remit.adapters.memory.limiter import LocalLimiter
from tests.builders import StoppedClock


async def take(limiter: LocalLimiter, count: int, key: str = "k1") -> list[int | None]:
    return [await limiter.take(key) for _ in range(count)]


async def test_a_burst_is_allowed_and_then_a_wait_is_returned() -> None:
    limiter = LocalLimiter(StoppedClock(), per_second=2, burst=3)
    assert await take(limiter, 5) == [None, None, None, 1, 1]


async def test_the_rate_refills_the_bucket_up_to_the_burst() -> None:
    clock = StoppedClock()
    limiter = LocalLimiter(clock, per_second=2, burst=3)
    await take(limiter, 3)
    clock.advance(0.4)
    assert await take(limiter, 1) == [1]
    clock.advance(0.1)
    assert await take(limiter, 2) == [None, 1]
    clock.advance(3_600)
    assert await take(limiter, 4) == [None, None, None, 1]


async def test_a_request_after_the_returned_wait_is_allowed() -> None:
    clock = StoppedClock()
    limiter = LocalLimiter(clock, per_second=1, burst=1)
    await take(limiter, 1)
    clock.advance(0.25)
    [wait_seconds] = await take(limiter, 1)
    assert wait_seconds == 1
    clock.advance(wait_seconds)
    assert await take(limiter, 1) == [None]


async def test_a_rejected_request_does_not_count() -> None:
    clock = StoppedClock()
    limiter = LocalLimiter(clock, per_second=1, burst=1)
    await take(limiter, 50)
    clock.advance(1)
    assert await take(limiter, 1) == [None]


async def test_no_more_than_the_rate_is_allowed_over_time() -> None:
    clock = StoppedClock()
    limiter = LocalLimiter(clock, per_second=10, burst=5)
    allowed = 0
    for _ in range(1_000):
        allowed += (await limiter.take("k1")) is None
        clock.advance(0.01)
    assert 100 <= allowed <= 105


async def test_a_clock_that_steps_back_allows_no_extra_request() -> None:
    clock = StoppedClock()
    limiter = LocalLimiter(clock, per_second=1, burst=2)
    await take(limiter, 1)
    clock.advance(-3_600)
    assert await take(limiter, 2) == [None, 1]


async def test_keys_do_not_share_a_bucket() -> None:
    limiter = LocalLimiter(StoppedClock(), per_second=1, burst=1)
    assert await take(limiter, 2, "k1") == [None, 1]
    assert await take(limiter, 2, "k2") == [None, 1]


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter_module, "MAX_KEYS", 3)
    limiter = LocalLimiter(StoppedClock(), per_second=1, burst=1)
    for number in range(100):
        assert await limiter.take(f"k{number}") is None
    assert len(limiter._buckets) <= 3
