"""Redis as ElastiCache runs it: limits that processes share, and what happens while it is down.

Who may connect is in `test_redis_access.py`, and what is cached in `test_cached_reads.py`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from redis.asyncio.connection import SSLConnection

from remit.adapters.memory.limiter import LocalLimiter
from remit.adapters.redis.limiter import PARTS, RedisLimiter
from remit.domain.health_state import Check
from remit.oversight.health import Monitor, health
from remit.ports.app import App
from remit_infra.emulated.cache import EmulatedCache
from tests.builders import (
    AppFactory,
    StoppedClock,
    clock_of,
    memory_app,
    redis_connection,
    redis_settings,
    replace_parts,
)
from tests.unit.steps import published

DOWN = Check(ok=False, detail="Redis cannot be reached. Rate limits are per process.")

NewLimiter = Callable[..., RedisLimiter]


class NoFallback:
    """The fallback where Redis must answer."""

    async def take(self, key: str) -> int | None:
        raise AssertionError("the fallback was called")


@pytest.fixture
async def new_limiter(cache: EmulatedCache) -> AsyncIterator[NewLimiter]:
    """Makes a limiter as another process of the service would, with a connection of its own."""
    async with AsyncExitStack() as stack:

        def make(per_second: int, burst: int, clock: StoppedClock | None = None) -> RedisLimiter:
            connection = redis_connection(cache, clock or StoppedClock())
            stack.push_async_callback(connection.close)
            otherwise = LocalLimiter(clock, per_second=1, burst=1) if clock else NoFallback()
            return RedisLimiter(connection, per_second=per_second, burst=burst, fallback=otherwise)

        yield make


@pytest.fixture
async def app(cache: EmulatedCache, tmp_path: Path) -> AsyncIterator[App]:
    made = memory_app(tmp_path, settings=redis_settings(cache))
    yield made
    await made.close()


async def eventually(happens: Callable[[], Awaitable[bool]]) -> None:
    """Waits for what will happen, however long this machine takes."""
    while not await happens():  # noqa: ASYNC110 - it happens in another process
        await asyncio.sleep(0.01)


async def test_of_many_requests_at_once_in_many_processes_exactly_the_burst_is_allowed(
    new_limiter: NewLimiter,
) -> None:
    # A window of 500 seconds, so that none ends meanwhile.
    limiters = [new_limiter(per_second=1, burst=500) for _ in range(4)]
    waits = await asyncio.gather(*(limiters[n % 4].take("k1") for n in range(1_200)))
    rejected = [wait for wait in waits if wait is not None]
    assert (waits.count(None), len(rejected)) == (500, 700)
    assert all(470 <= wait <= 525 for wait in rejected)
    assert await limiters[0].take("k2") is None


async def test_no_window_has_more_than_the_burst_whenever_it_starts(
    new_limiter: NewLimiter, cache: EmulatedCache
) -> None:
    per_second, burst = 100, 20
    window = burst / per_second
    taken: list[tuple[float, float]] = []
    until = time.monotonic() + 8 * window

    async def caller(limiter: RedisLimiter) -> None:
        while time.monotonic() < until:
            asked = time.monotonic()
            if await limiter.take("k1") is None:
                taken.append((asked, time.monotonic()))

    limiters = [new_limiter(per_second, burst) for _ in range(3)]
    await asyncio.gather(*(caller(limiter) for limiter in limiters for _ in range(4)))
    assert len(taken) > burst  # it went on after the first window
    for begin, _ in taken:
        surely_within = [one for one in taken if begin <= one[0] and one[1] < begin + window]
        assert len(surely_within) <= burst
    assert len(cache.contents().get("limit:k1", {})) <= PARTS + 1


async def test_a_request_after_the_returned_wait_is_allowed_in_redis(
    new_limiter: NewLimiter,
) -> None:
    limiter = new_limiter(per_second=2, burst=2)
    while (wait := await limiter.take("k1")) is None:
        pass
    assert 1 <= wait <= 2
    await asyncio.sleep(wait)
    assert await limiter.take("k1") is None


async def test_a_key_that_is_not_used_expires(
    new_limiter: NewLimiter, cache: EmulatedCache
) -> None:
    await new_limiter(per_second=1, burst=10).take("long")
    await new_limiter(per_second=100, burst=10).take("brief")
    with cache.owner() as owner:
        assert 0 < owner.pttl("limit:long") <= 11_000

        async def only_one_is_left() -> bool:
            return set(cache.contents()) == {"limit:long"}

        await eventually(only_one_is_left)


async def test_each_process_limits_by_itself_while_redis_is_down(
    new_limiter: NewLimiter, cache: EmulatedCache
) -> None:
    clocks = StoppedClock(), StoppedClock()
    limiters = [new_limiter(per_second=1_000, burst=10_000, clock=clock) for clock in clocks]
    assert [await limiters[0].take("k1") for _ in range(3)] == [None] * 3
    cache.stop()
    for limiter in limiters:
        assert [await limiter.take("k1") for _ in range(3)] == [None, 1, 1]


async def test_redis_is_probed_a_second_after_a_failure(
    new_limiter: NewLimiter, cache: EmulatedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[SSLConnection] = []
    connect = SSLConnection.connect

    async def count_attempt(connection: SSLConnection) -> None:
        attempts.append(connection)
        await connect(connection)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(SSLConnection, "connect", count_attempt)
    clock = StoppedClock()
    limiter = new_limiter(per_second=1_000, burst=10_000, clock=clock)
    cache.stop()
    assert [await limiter.take("k1") for _ in range(2)] == [None, 1]
    cache.start()
    clock.advance(0.9)
    for _ in range(3):
        assert await limiter.take("k1") == 1
        await asyncio.sleep(0.01)
    assert len(attempts) == 1
    clock.advance(0.1)
    assert [await limiter.take("k1") for _ in range(3)] == [None, 1, 1]

    async def redis_is_asked() -> bool:
        return await limiter.take("k2") is None and "limit:k2" in cache.contents()

    await eventually(redis_is_asked)
    assert [await limiter.take("k1") for _ in range(5)] == [None] * 5
    assert len(attempts) == 2


async def test_a_redis_that_hangs_times_out_once(
    new_limiter: NewLimiter, cache: EmulatedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StoppedClock()
    limiter = new_limiter(per_second=1_000, burst=10_000, clock=clock)
    await limiter.take("k1")
    monkeypatch.setattr("remit.adapters.redis.connection.RESPONSE_SECONDS", 0.05)
    with cache.hanging():
        waits = await asyncio.gather(*(limiter.take("k1") for _ in range(50)))
        assert waits.count(None) == 1
        monkeypatch.setattr("remit.adapters.redis.connection.RESPONSE_SECONDS", 3_600.0)
        clock.advance(5)
        assert await limiter.take("k1") is None
        assert await limiter.take("k1") == 1


async def test_a_call_survives_a_replaced_node(
    new_limiter: NewLimiter, cache: EmulatedCache
) -> None:
    limiter = new_limiter(per_second=1, burst=2)
    assert [await limiter.take("k1") for _ in range(2)] == [None, None]
    cache.restart()
    assert [await limiter.take("k1") for _ in range(2)] == [None, None]


async def test_a_connection_to_a_primary_that_became_a_replica_is_replaced(
    new_limiter: NewLimiter, cache: EmulatedCache
) -> None:
    clock = StoppedClock()
    limiter = new_limiter(per_second=1_000, burst=10_000, clock=clock)
    assert await limiter.take("k1") is None
    with cache.owner() as owner:

        def connected() -> set[str]:
            return {client["id"] for client in owner.client_list() if client["user"] == cache.user}

        to_the_old_one = connected()
        owner.execute_command("REPLICAOF", "127.0.0.1", "1")
        assert [await limiter.take("k1") for _ in range(2)] == [None, 1]
        owner.execute_command("REPLICAOF", "NO", "ONE")
        clock.advance(1)

        async def redis_is_asked() -> bool:
            return [await limiter.take("k1") for _ in range(2)] == [None, None]

        await eventually(redis_is_asked)
        assert len(connected() - to_the_old_one) == 1


async def test_no_redis_key_contains_the_secret_of_an_api_key(
    app: App, cache: EmulatedCache
) -> None:
    await app.process_state.limiter.take("00000000-0000-7000-8000-000000000001")
    assert list(cache.contents()) == ["limit:00000000-0000-7000-8000-000000000001"]


async def test_an_outage_is_alerted_once_each_way_by_two_monitors(
    app: App, cache: EmulatedCache, tmp_path: Path
) -> None:
    settings = redis_settings(cache)
    second = replace_parts(
        memory_app(tmp_path, settings=settings),
        health_states=app.database.health_states,
        clock=app.clock,
        new_id=app.new_id,
        alerts=app.delivery.alerts,
    )
    monitors = [Monitor(app), Monitor(second)]

    async def watch(times: int) -> None:
        for _ in range(times):
            await asyncio.gather(*(monitor.check() for monitor in monitors))
            clock_of(app).advance(60)

    await watch(2)
    assert published(app.delivery.alerts) == []
    cache.stop()
    await watch(4)
    cache.start()
    await watch(4)
    assert published(app.delivery.alerts) == [
        ("health.failing", f"cache: {DOWN.detail}"),
        ("health.recovered", "cache"),
    ]
    await second.close()


async def test_health_says_that_limits_are_per_process_while_redis_is_down(
    app: App, cache: EmulatedCache
) -> None:
    assert (await health(app)).checks["cache"] == Check(ok=True)
    cache.stop()
    seen = await health(app)
    assert (seen.status, seen.checks["cache"]) == ("healthy", DOWN)
    cache.start()
    assert (await health(app)).checks["cache"] == Check(ok=True)


async def test_a_service_without_a_cache_does_not_check_one(new_app: AppFactory) -> None:
    assert "cache" not in (await health(new_app())).checks
