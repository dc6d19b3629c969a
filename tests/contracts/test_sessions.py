"""The sessions of the console, in memory and in Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import pytest

from remit.adapters.memory.sessions import MAX_SESSIONS, MemorySessions
from remit.adapters.redis.sessions import RedisSessions
from remit.clock_and_ids import new_secret
from remit.domain.errors import Unavailable
from remit.ports.process_state import Sessions
from remit_infra.emulated.cache import EmulatedCache
from tests.builders import StoppedClock, redis_connection


class SessionStore(NamedTuple):
    """Sessions, a read of what is stored of them, and a step that lets 0.1 s pass."""

    sessions: Sessions
    stored: Callable[[], str]
    pass_time: Callable[[], Awaitable[None]]


@pytest.fixture
def in_a_process() -> SessionStore:
    clock = StoppedClock()
    sessions = MemorySessions(clock, new_secret)

    async def pass_time() -> None:
        clock.advance(0.1)

    return SessionStore(sessions, lambda: str(vars(sessions)), pass_time)


@pytest.fixture
async def in_redis(cache: EmulatedCache) -> AsyncIterator[SessionStore]:
    connection = redis_connection(cache, StoppedClock())
    yield SessionStore(
        RedisSessions(connection, new_secret),
        lambda: str(cache.contents()),
        lambda: asyncio.sleep(0.15),
    )
    await connection.close()


@pytest.fixture(params=["in_a_process", "in_redis"])
def store(request: pytest.FixtureRequest) -> SessionStore:
    store: SessionStore = request.getfixturevalue(request.param)
    return store


async def test_a_session_is_known_by_its_id_until_it_is_ended(store: SessionStore) -> None:
    first = await store.sessions.create("Ann", seconds=60)
    second = await store.sessions.create("Zoë", seconds=60)
    assert (await store.sessions.get(first), await store.sessions.get(second)) == ("Ann", "Zoë")
    await store.sessions.end(first)
    await store.sessions.end(first)
    assert (await store.sessions.get(first), await store.sessions.get(second)) == (None, "Zoë")


async def test_a_session_ends_after_its_time(store: SessionStore) -> None:
    brief = await store.sessions.create("Ann", seconds=0.1)
    long = await store.sessions.create("Ann", seconds=60)
    await store.pass_time()
    assert (await store.sessions.get(brief), await store.sessions.get(long)) == (None, "Ann")


async def test_a_guessed_id_has_no_session(store: SessionStore) -> None:
    session = await store.sessions.create("Ann", seconds=60)
    for guess in ("", session[:-1], session.lower(), new_secret(), "*"):
        assert await store.sessions.get(guess) is None


async def test_every_id_is_unique_and_only_its_hash_is_stored(store: SessionStore) -> None:
    ids = {await store.sessions.create("Ann", seconds=60) for _ in range(20)}
    assert {len(session) for session in ids} == {43}
    assert len(ids) == 20
    assert [session for session in ids if session in store.stored()] == []


async def test_too_many_sessions_in_a_process_end_the_oldest(in_a_process: SessionStore) -> None:
    sessions = in_a_process.sessions
    first, second = [await sessions.create("Ann", seconds=60) for _ in range(2)]
    for _ in range(MAX_SESSIONS - 1):
        await sessions.create("Bob", seconds=60)
    assert (await sessions.get(first), await sessions.get(second)) == (None, "Ann")


async def test_no_session_is_accepted_while_redis_is_down(
    in_redis: SessionStore, cache: EmulatedCache
) -> None:
    session = await in_redis.sessions.create("Ann", seconds=60)
    cache.stop()
    with pytest.raises(Unavailable):
        await in_redis.sessions.get(session)
    with pytest.raises(Unavailable):
        await in_redis.sessions.create("Ann", seconds=60)
    with pytest.raises(Unavailable):
        await in_redis.sessions.end(session)
