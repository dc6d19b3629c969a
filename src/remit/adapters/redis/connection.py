"""The connection of a process to Redis, which bounds the time that an outage costs.

Commands that arrive while others are under way go together in the next round trip. The commands are
in `limiter.py`, `cache.py` and `sessions.py` of this package. Address and login are in
`adapters/aws/elasticache.py`.
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
"""The time limit of DNS, TLS, and the token with its credentials."""

RESPONSE_SECONDS = 0.25
PAUSE = timedelta(seconds=1)
"""How long no command is sent after a failure."""

MAX_BATCH = 256

Part = str | bytes | int
"""One part of a command, in a type that redis-py encodes."""

log = structlog.get_logger("redis")


class LuaScript:
    """A Lua script. Redis runs it as one atomic step."""

    def __init__(self, source: str) -> None:
        self.source = source
        # Redis names a script by its SHA-1 (EVALSHA). It protects no secret.
        self.name = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class RedisConnection:
    """Sends commands. Raises Unavailable while Redis fails: after a time limit the first time, and
    at once from then on.

    After a failure a probe in the background finds out whether Redis is back, at most once in
    `PAUSE`. A connection that was lost while idle, in a failover or after the 12 hours of an IAM
    token, is opened again within the call that finds it lost. The commands of that call may run
    twice.
    """

    def __init__(self, make: Callable[[], AbstractConnection], clock: Clock) -> None:
        self._make = make
        self._clock = clock
        # It is made once, because reading certificates is slow, and opened again when needed.
        self._connection: AbstractConnection | None = None
        self._paused_until: datetime | None = None
        self._probe: asyncio.Task[None] | None = None
        self._calls: GroupCommit[Sequence[Part], Any] = GroupCommit(self._exchange, limit=MAX_BATCH)

    async def execute(self, *command: Part) -> Any:
        """The response to one command."""
        try:
            return await self._submit(command)
        except ResponseError as error:
            raise Unavailable("Redis rejected the command.") from error

    async def run_script(self, script: LuaScript, keys: Sequence[str], *args: Part) -> Any:
        """The result of a script. Its source is sent only if Redis does not have it yet."""
        try:
            try:
                return await self._submit(("EVALSHA", script.name, len(keys), *keys, *args))
            except NoScriptError:
                return await self._submit(("EVAL", script.source, len(keys), *keys, *args))
        except ResponseError as error:
            raise Unavailable("Redis rejected the command.") from error

    async def ping(self) -> None:
        """Sends a command even during the pause after a failure."""
        if self._paused_until is not None:
            # The probe is not canceled with this call, because other callers rely on it.
            await asyncio.wait([self._start_probe()])
        await self.execute("PING")

    async def close(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.wait([self._probe])
        if self._connection is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._connection.disconnect()
        await asyncio.sleep(0)

    async def _submit(self, command: Sequence[Part]) -> Any:
        if self._paused_until is not None:
            if self._paused_until <= self._clock():
                self._start_probe()
            raise Unavailable("Redis cannot be reached.")
        return await self._calls.submit(command)

    def _start_probe(self) -> asyncio.Task[None]:
        """The probe that is under way, or a new one."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._run_probe())
        return self._probe

    async def _run_probe(self) -> None:
        try:
            await self._round_trip([("PING",)])
        except _FAILURES:
            self._paused_until = self._clock() + PAUSE
            return
        self._paused_until = None
        log.info("redis_recovered")

    async def _exchange(self, commands: Sequence[Sequence[Part]]) -> Sequence[Any]:
        """The responses, with an exception for each error reply. Without a response all fail."""
        if self._paused_until is not None:
            raise Unavailable("Redis cannot be reached.")
        was_open = self._connection is not None and self._connection.is_connected
        try:
            try:
                return await self._round_trip(commands)
            except (ConnectionLost, ReadOnlyError):
                if not was_open:
                    raise
                return await self._round_trip(commands)
        except _FAILURES as error:
            self._paused_until = self._clock() + PAUSE
            log.warning("redis_lost", error=f"{type(error).__name__}: {error}")
            raise Unavailable("Redis cannot be reached.") from error

    async def _round_trip(self, commands: Sequence[Sequence[Part]]) -> Sequence[Any]:
        try:
            connection = await self._open()
            async with asyncio.timeout(RESPONSE_SECONDS):
                await connection.send_packed_command(connection.pack_commands(commands))
                return [await _read_response(connection) for _ in commands]
        except BaseException:
            # A response that arrives later would be read as the response to another command.
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
        """Aborts the connection. A regular end of TLS waits half a minute for a peer that hangs."""
        if self._connection is not None:
            if (writer := self._connection._writer) is not None:
                writer.transport.abort()
            await self._connection.disconnect(nowait=True)


async def _read_response(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        # Redis 6 reports a read-only replica inside the error message of a script.
        if isinstance(error, ReadOnlyError) or "-READONLY" in str(error):
            # The node was the primary and became a replica: its name now leads to the new primary.
            raise ReadOnlyError(str(error)) from error
        return error


_FAILURES = (RedisError, OSError, TimeoutError, Unavailable)
