"""Sessions keep their port's promises, in memory and in Redis."""

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


class Kept(NamedTuple):
    """Sessions, what is stored of them as text, and how a tenth of a second and more passes."""

    sessions: Sessions
    stored: Callable[[], str]
    pass_time: Callable[[], Awaitable[None]]


@pytest.fixture
def in_a_process() -> Kept:
    clock = StoppedClock()
    sessions = MemorySessions(clock, new_secret)

    async def pass_time() -> None:
        clock.advance(0.1)

    return Kept(sessions, lambda: str(vars(sessions)), pass_time)


@pytest.fixture
async def in_redis(cache: EmulatedCache) -> AsyncIterator[Kept]:
    connection = redis_connection(cache, StoppedClock())
    yield Kept(
        RedisSessions(connection, new_secret),
        lambda: str(cache.contents()),
        lambda: asyncio.sleep(0.15),
    )
    await connection.close()


@pytest.fixture(params=["in_a_process", "in_redis"])
def kept(request: pytest.FixtureRequest) -> Kept:
    made: Kept = request.getfixturevalue(request.param)
    return made


async def test_a_session_is_known_by_its_id_until_it_is_ended(kept: Kept) -> None:
    first = await kept.sessions.create("Ann", seconds=60)
    second = await kept.sessions.create("Zoë", seconds=60)
    assert (await kept.sessions.get(first), await kept.sessions.get(second)) == ("Ann", "Zoë")
    await kept.sessions.end(first)
    await kept.sessions.end(first)
    assert (await kept.sessions.get(first), await kept.sessions.get(second)) == (None, "Zoë")


async def test_a_session_ends_by_itself(kept: Kept) -> None:
    brief = await kept.sessions.create("Ann", seconds=0.1)
    long = await kept.sessions.create("Ann", seconds=60)
    await kept.pass_time()
    assert (await kept.sessions.get(brief), await kept.sessions.get(long)) == (None, "Ann")


async def test_nobody_made_up_an_id_that_is_known(kept: Kept) -> None:
    session = await kept.sessions.create("Ann", seconds=60)
    for guess in ("", session[:-1], session.lower(), new_secret(), "*"):
        assert await kept.sessions.get(guess) is None


async def test_every_id_is_another_and_only_its_hash_is_stored(kept: Kept) -> None:
    made = {await kept.sessions.create("Ann", seconds=60) for _ in range(20)}
    assert {len(session) for session in made} == {43}
    assert len(made) == 20
    assert [session for session in made if session in kept.stored()] == []


async def test_of_too_many_in_a_process_the_oldest_ends(in_a_process: Kept) -> None:
    sessions = in_a_process.sessions
    first, second = [await sessions.create("Ann", seconds=60) for _ in range(2)]
    for _ in range(MAX_SESSIONS - 1):
        await sessions.create("Bob", seconds=60)
    assert (await sessions.get(first), await sessions.get(second)) == (None, "Ann")


async def test_while_redis_is_down_nobody_is_let_in(in_redis: Kept, cache: EmulatedCache) -> None:
    session = await in_redis.sessions.create("Ann", seconds=60)
    cache.stop()
    with pytest.raises(Unavailable):
        await in_redis.sessions.get(session)
    with pytest.raises(Unavailable):
        await in_redis.sessions.create("Ann", seconds=60)
    with pytest.raises(Unavailable):
        await in_redis.sessions.end(session)
