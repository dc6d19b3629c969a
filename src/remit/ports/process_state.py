"""Ports of the state that each process has, or that all share where there is Redis.

Nothing here decides about money.
"""

from typing import Protocol

from remit.domain.payment import Payment
from remit.domain.payment_summary import PaymentSummary


class Limiter(Protocol):
    async def take(self, key: str) -> int | None:
        """Counts one request under `key`. Returns the seconds to wait if it is over the rate."""
        ...


class Cache(Protocol):
    """Summaries of payments, to show them. A cache may lose any of them at any time."""

    async def payment(self, payment_id: str) -> PaymentSummary | None:
        """The cached summary. None where there is none, or where the cache is down."""
        ...

    async def put(self, payment: Payment) -> None:
        """Caches the payment's summary, unless a later version is cached. Never fails."""
        ...

    async def ping(self) -> bool:
        """False where the topology has no cache. Raises Unavailable while the cache is down."""
        ...


class Sessions(Protocol):
    """Sessions of the console. Only the hash of a session's id is stored, never the id."""

    async def create(self, subject: str, *, seconds: float) -> str:
        """Starts a session of `subject` that ends after `seconds`.

        Returns its id, of 256 random bits.
        """
        ...

    async def get(self, session_id: str) -> str | None:
        """The subject of the session, or None once it has ended."""
        ...

    async def end(self, session_id: str) -> None: ...
