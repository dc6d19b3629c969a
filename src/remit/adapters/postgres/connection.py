"""A PostgreSQL connection that reconnects, and raises Unavailable while it cannot.

Calls take turns on it. There is no pool, because the store batches its calls: one connection is
enough for reads and one for writes, and a second would only split the batches.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import asyncpg

from remit.domain.errors import ConnectionLost, Unavailable
from remit.idle import IdlePolicy

CALL_TIMEOUT_SECONDS = 15.0

CONNECT_TIMEOUT_SECONDS = 40.0
"""A paused database takes 15 to 30 seconds to resume (Aurora Serverless v2)."""

_BY_INDEX = {
    # A plan is made once for each connection, when the tables may still be small. A query of a few
    # rows by key must not keep a plan that reads whole tables after they have grown.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}


_NOT_RUN = (
    asyncpg.CannotConnectNowError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""Errors by which the server says that it has not run the query."""


class Login(Protocol):
    """The address of the database, with a user and a password."""

    async def connect_arguments(self) -> Mapping[str, Any]:
        """The arguments of `asyncpg.connect`."""
        ...

    async def refresh(self) -> bool:
        """Reads the password again after the database rejected it. False if it is the same."""
        ...


class UrlLogin:
    """Login by a URL with user and password."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def connect_arguments(self) -> Mapping[str, Any]:
        return {"dsn": self._url}

    async def refresh(self) -> bool:
        return False


async def connect(login: Login, **settings: str) -> asyncpg.Connection:
    """Opens a connection of asyncpg. Tries a second time if the password has changed."""
    try:
        return await _connect(login, settings)
    except asyncpg.InvalidAuthorizationSpecificationError:
        if not await login.refresh():
            raise
        return await _connect(login, settings)


async def _connect(login: Login, settings: dict[str, str]) -> asyncpg.Connection:
    return await asyncpg.connect(
        **await login.connect_arguments(),
        server_settings={"timezone": "UTC", "application_name": "remit"} | settings,
        timeout=CONNECT_TIMEOUT_SECONDS,
    )


Span = Callable[[str], AbstractContextManager[Any]]


class Connection:
    """Runs queries. Raises Unavailable if the database is not reached, and ConnectionLost if a
    query was sent and has no result: it may have been run.

    `span` traces each query. When the process is idle the connection closes, so that the database
    can pause. The next call opens it again.
    """

    def __init__(
        self,
        login: Login,
        *,
        by_index: bool = False,
        timeout_seconds: float = CALL_TIMEOUT_SECONDS,
        span: Span = nullcontext,
        idle: IdlePolicy | None = None,
    ) -> None:
        self._login = login
        self._span = span
        self._timeout_seconds = timeout_seconds
        self._settings = _BY_INDEX if by_index else {}
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()
        self._failures = 0
        self._is_sent = False
        self._idle = idle or IdlePolicy()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    async def value(self, query: str, *args: object) -> Any:
        """The first column of the first row."""
        rows = await self.rows(query, *args)
        return rows[0][0] if rows else None

    async def rows(self, query: str, *args: object) -> Sequence[Any]:
        failures = self._failures
        async with self._turn:
            if self._failures != failures:
                # This call waited for an attempt to connect that failed, and makes no second one.
                raise Unavailable("The database cannot be reached. Try again.")
            self._close_when_idle()
            try:
                with self._span(query):
                    return await self._fetch(query, args)
            except (
                OSError,
                TimeoutError,
                asyncpg.InterfaceError,
                asyncpg.PostgresConnectionError,
                asyncpg.CannotConnectNowError,
                asyncpg.InvalidAuthorizationSpecificationError,
                asyncpg.AdminShutdownError,
                asyncpg.CrashShutdownError,
                # The server became a reader. A new connection reaches the new writer.
                asyncpg.ReadOnlySQLTransactionError,
            ) as error:
                self._abandon()
                is_lost = self._is_sent and not isinstance(error, _NOT_RUN)
                lost_or_not_reached = ConnectionLost if is_lost else Unavailable
                raise lost_or_not_reached("The database cannot be reached. Try again.") from error
            except asyncpg.InsufficientResourcesError as error:
                # PostgreSQL has rolled the whole statement back.
                raise Unavailable(
                    "The database is out of disk space, memory or connections. Try again later."
                ) from error

    async def _fetch(self, query: str, args: Sequence[object]) -> Sequence[Any]:
        self._is_sent = False
        connection = await self._open()
        self._is_sent = True
        try:
            return await connection.fetch(query, *args, timeout=self._timeout_seconds)
        except asyncpg.InternalClientError:
            # The server has closed the connection, and the driver has not processed that yet. In
            # this state it sends nothing, so the query has not run.
            self._abandon()
            self._is_sent = False
            connection = await self._open()
            self._is_sent = True
            return await connection.fetch(query, *args, timeout=self._timeout_seconds)

    async def close(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if self._connection is not None:
            closing, self._connection = self._connection, None
            await closing.close(timeout=5)

    def _close_when_idle(self) -> None:
        if self._idle.after_seconds is not None and self._idle_timer is None:
            self._idle_timer = asyncio.get_running_loop().call_later(
                self._idle.seconds_left(), self._on_idle_timer
            )

    def _on_idle_timer(self) -> None:
        """Closes the connection, or waits again if there was work or a call is under way."""
        self._idle_timer = None
        left = self._idle.seconds_left()
        if self._turn.locked():
            left = left or self._idle.after_seconds or 0.0
        loop = asyncio.get_running_loop()
        if left > 0:
            self._idle_timer = loop.call_later(left, self._on_idle_timer)
        else:
            self._closing = loop.create_task(self._close_quietly())

    async def _close_quietly(self) -> None:
        async with self._turn:
            try:
                await self.close()
            except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError):
                return  # the connection is closed already

    async def _open(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = None
            try:
                self._connection = await connect(self._login, **self._settings)
            finally:
                self._failures += self._connection is None
        return self._connection

    def _abandon(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
