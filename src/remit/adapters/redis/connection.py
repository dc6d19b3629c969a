"""One connection to Redis for all that a process asks of it, and what an outage costs: little.

Calls that arrive while others are under way go together in the next round trip. What is asked is
elsewhere (`redis_limiter.py`, `redis_cache.py`, `redis_sessions.py`), and so is where Redis is and
as whom it is asked (`elasticache.py`).
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    ConnectionError as ConnectionLost,
)
from redis.exceptions import (
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from remit.adapters.postgres.group_commit import GroupCommit
from remit.domain.errors import Unavailable
from remit.domain.ids import Clock

CONNECT_SECONDS = 1.0
"""For the name, TLS, the token and whoever issues it."""

ANSWER_SECONDS = 0.25
PAUSE = timedelta(seconds=1)
"""How long Redis is left alone after a failure."""

MAX_BATCH = 256

Part = str | bytes | int
"""Of a command, as redis-py encodes it."""

log = structlog.get_logger("redis")


class Script:
    """A Lua script, which Redis runs as one step that nothing comes between."""

    def __init__(self, source: str) -> None:
        self.source = source
        # Redis's own name for it ("EVALSHA"); it keeps nothing secret.
        self.name = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class RedisConnection:
    """Raises Unavailable while Redis fails: in time at first, and then at once.

    After a failure only the connection itself looks whether Redis is back, in the background, and
    at most once in `PAUSE`. A connection that was lost while idle, as in a failover or after the 12
    hours of an IAM token, is opened anew within the call that finds it so: such a call may be done
    twice.
    """

    def __init__(self, make: Callable[[], AbstractConnection], clock: Clock) -> None:
        self._make = make
        self._clock = clock
        # Made once, because reading certificates takes long, and opened as often as need be.
        self._connection: AbstractConnection | None = None
        self._left_alone_until: datetime | None = None
        self._looking: asyncio.Task[None] | None = None
        self._calls: GroupCommit[Sequence[Part], Any] = GroupCommit(self._exchange, limit=MAX_BATCH)

    async def ask(self, *command: Part) -> Any:
        """The answer to one command."""
        try:
            return await self._ask(command)
        except ResponseError as error:
            raise Unavailable("Redis refused what it was asked.") from error

    async def run(self, script: Script, keys: Sequence[str], *args: Part) -> Any:
        """What a script answers. It is sent whole only where Redis does not know it yet."""
        try:
            try:
                return await self._ask(("EVALSHA", script.name, len(keys), *keys, *args))
            except NoScriptError:
                return await self._ask(("EVAL", script.source, len(keys), *keys, *args))
        except ResponseError as error:
            raise Unavailable("Redis refused what it was asked.") from error

    async def ping(self) -> None:
        """Asks Redis even if it failed a moment ago: whoever pings wants to know."""
        if self._left_alone_until is not None:
            await asyncio.wait([self._look()])  # which goes on if whoever pings gives up
        await self.ask("PING")

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        if self._connection is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._connection.disconnect()
        await asyncio.sleep(0)

    async def _ask(self, command: Sequence[Part]) -> Any:
        if self._left_alone_until is not None:
            if self._left_alone_until <= self._clock():
                self._look()
            raise Unavailable("Redis cannot be reached.")
        return await self._calls.submit(command)

    def _look(self) -> asyncio.Task[None]:
        """Looks whether Redis is back, unless that is being looked at already."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._come_back())
        return self._looking

    async def _come_back(self) -> None:
        try:
            await self._once([("PING",)])
        except _FAILURES:
            self._left_alone_until = self._clock() + PAUSE
            return
        self._left_alone_until = None
        log.info("redis_back")

    async def _exchange(self, commands: Sequence[Sequence[Part]]) -> Sequence[Any]:
        """The answers; an error reply is an exception among them. All fail, or none."""
        if self._left_alone_until is not None:
            raise Unavailable("Redis cannot be reached.")
        was_open = self._connection is not None and self._connection.is_connected
        try:
            try:
                return await self._once(commands)
            except (ConnectionLost, ReadOnlyError):
                if not was_open:
                    raise
                return await self._once(commands)
        except _FAILURES as error:
            self._left_alone_until = self._clock() + PAUSE
            log.warning("redis_lost", error=f"{type(error).__name__}: {error}")
            raise Unavailable("Redis cannot be reached.") from error

    async def _once(self, commands: Sequence[Sequence[Part]]) -> Sequence[Any]:
        try:
            connection = await self._open()
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.send_packed_command(connection.pack_commands(commands))
                return [await _answer(connection) for _ in commands]
        except BaseException:
            # Whatever is still to be read would be taken for the answer to something else.
            await self._abandon()
            raise

    async def _open(self) -> AbstractConnection:
        if self._connection is None:
            self._connection = self._make()
        if not self._connection.is_connected:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._connection.connect()  # type: ignore[no-untyped-call]
        return self._connection

    async def _abandon(self) -> None:
        """Ends it at once. A polite end of TLS waits half a minute for a peer that hangs."""
        if self._connection is not None:
            if (writer := self._connection._writer) is not None:
                writer.transport.abort()
            await self._connection.disconnect(nowait=True)


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        # Redis 6 says so of a script within its own words.
        if isinstance(error, ReadOnlyError) or "-READONLY" in str(error):
            # This was the primary until a moment ago: the same name now leads to another.
            raise ReadOnlyError(str(error)) from error
        return error


_FAILURES = (RedisError, OSError, TimeoutError, Unavailable)
