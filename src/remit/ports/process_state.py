"""What each process keeps for itself, or all share where there is Redis. It never decides."""

from typing import Protocol

from remit.domain.payment import Payment
from remit.domain.payment_summary import PaymentSummary


class Limiter(Protocol):
    async def take(self, key: str) -> int | None:
        """Counts one request under `key`; the seconds to wait if it is one too many."""
        ...


class Cache(Protocol):
    """Payments as they were a moment ago, to be shown. It may forget anything at any time."""

    async def payment(self, payment_id: str) -> PaymentSummary | None:
        """None where it is not known, or cannot be asked for."""
        ...

    async def put(self, payment: Payment) -> None:
        """Keeps what is shown of it, unless a later version is known. Never fails."""
        ...

    async def ping(self) -> bool:
        """False where there is no cache at all. Raises Unavailable."""
        ...


class Sessions(Protocol):
    """Who is signed in to the console. Only a session's hash is stored, never its id."""

    async def create(self, subject: str, *, seconds: float) -> str:
        """The id, of 256 random bits, of a new session that ends by itself after so long."""
        ...

    async def get(self, session_id: str) -> str | None:
        """Whose session it is, while it lasts."""
        ...

    async def end(self, session_id: str) -> None: ...
