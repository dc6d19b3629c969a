"""One PostgreSQL connection that comes back by itself, and says `Unavailable` while it cannot.

Calls take turns. No pool: the store batches its calls, so one connection for each direction is
kept busy and a second would only split the batches.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg

from remit.errors import Unavailable

CALL_TIMEOUT_SECONDS = 15.0

_BY_INDEX = {
    # Plans are made once for each connection, when the tables may still be small. What reads or
    # writes a few rows by key must not be left with a plan that reads whole tables as they grow.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}


class Connection:
    """Raises Unavailable when the database cannot be reached or does not answer in time."""

    def __init__(
        self, url: str, *, by_index: bool = False, timeout_seconds: float = CALL_TIMEOUT_SECONDS
    ) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._settings = {"timezone": "UTC", "application_name": "remit"}
        if by_index:
            self._settings |= _BY_INDEX
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def value(self, query: str, *args: object) -> Any:
        """The first column of the first row."""
        rows = await self.rows(query, *args)
        return rows[0][0] if rows else None

    async def rows(self, query: str, *args: object) -> Sequence[Any]:
        async with self._turn:
            try:
                connection = await self._open()
                return await connection.fetch(query, *args, timeout=self._timeout_seconds)
            except (
                OSError,
                TimeoutError,
                asyncpg.InterfaceError,
                asyncpg.PostgresConnectionError,
                asyncpg.CannotConnectNowError,
                asyncpg.AdminShutdownError,
                asyncpg.CrashShutdownError,
            ) as error:
                self._abandon()
                raise Unavailable("The database cannot be reached. Try again.") from error

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close(timeout=5)
            self._connection = None

    async def _open(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._url,
                server_settings=self._settings,
                timeout=CALL_TIMEOUT_SECONDS,
            )
        return self._connection

    def _abandon(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
