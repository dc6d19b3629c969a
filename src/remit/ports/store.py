"""What is committed, and how it is read back. `Store` is the one place where money is decided.

An adapter of any port whose dependency is down raises `errors.Unavailable`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Protocol

import msgspec

from remit.domain.change import (
    AuditEntry,
    Change,
    Conflict,
    IdempotencyRecord,
    KeyScope,
)
from remit.domain.payment import Mode, Payment, Refund, State

OnCommit = Callable[[Change], Awaitable[None]]
"""Called by a store with every change that it has written, before the caller is answered."""


class Store(Protocol):
    """The one place where money is decided."""

    async def commit(self, change: Change) -> Conflict | None:
        """Writes all of `change` durably and calls each `OnCommit`, or writes nothing and says
        which conflict prevented it.
        """
        ...

    async def payment(self, payment_id: str) -> Payment | None: ...

    async def refund(self, refund_id: str) -> Refund | None: ...

    async def payment_by_reference(
        self, merchant_id: str, mode: Mode, reference: str
    ) -> Payment | None: ...

    async def record(self, scope: KeyScope) -> IdempotencyRecord | None: ...


class PageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which payments to list, newest first, after `cursor` (the id of the last one seen)."""

    merchant_id: str
    mode: Mode
    limit: int = 20
    cursor: str | None = None
    state: State | None = None
    customer_id: str | None = None
    reference: str | None = None


class Reader(Protocol):
    """The read side: nothing here decides anything."""

    async def page(self, query: PageQuery) -> list[Payment]: ...

    async def newest(self, mode: Mode, *, limit: int, state: State | None = None) -> list[Payment]:
        """The newest payments of every merchant: for operators, and for no merchant's request."""
        ...

    async def refunds(self, payment_id: str) -> list[Refund]: ...

    async def history(self, payment_id: str) -> list[AuditEntry]:
        """The payment's audit entries, oldest first."""
        ...

    async def due(self, now: datetime, limit: int) -> list[Payment]:
        """Payments whose `due_at` has passed."""
        ...

    async def due_refunds(self, now: datetime, limit: int) -> list[Refund]: ...


class BookedPayment(msgspec.Struct, frozen=True, kw_only=True):
    """One payment with what the books say of it, in minor units of its currency."""

    payment: Payment
    booked_minor: int
    refunds_minor: int


class Books(Protocol):
    """The store as an auditor reads it."""

    async def unbalanced(self) -> str | None:
        """The first ledger transaction that does not sum to zero."""
        ...

    async def orphaned(self) -> str | None:
        """The first posting without its payment, or payment without an audit entry."""
        ...

    def booked_payments(self) -> AsyncIterator[BookedPayment]:
        """Every payment, in no particular order."""
        ...

    async def count(self) -> int:
        """How many payments there are."""
        ...

    async def last_segment(self) -> int:
        """The number of the last segment that an audit entry was sealed in."""
        ...


class Retention(Protocol):
    """What is kept for a time only."""

    async def delete_records(self, before: datetime, limit: int) -> int:
        """Deletes idempotency records made before then, `limit` at most; says how many."""
        ...
