"""Ports of the database: commits, reads, the books, retention.

An adapter of any port raises `Unavailable` while its dependency is down.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from remit.domain.caller import KeyScope, Mode
from remit.domain.change import AuditEntry, Change, Conflict, IdempotencyRecord
from remit.domain.ledger import Posting, merchant_account
from remit.domain.operation import Operation
from remit.domain.payment import Payment, State
from remit.domain.refund import Refund
from remit.ports.audit import ArchivedSegment

OnCommit = Callable[[Change], Awaitable[None]]
"""A store calls it with every change that it has written, before the caller gets a response."""


class Store(Protocol):
    """Commits changes, and reads what decides about money. Its reads are consistent."""

    async def commit(self, change: Change) -> Conflict | None:
        """Writes all of `change` durably and calls each `OnCommit`, or writes nothing and returns
        the conflict.
        """
        ...

    async def payment(self, payment_id: str) -> Payment | None: ...

    async def refund(self, refund_id: str) -> Refund | None: ...

    async def operation(self, operation_id: str) -> Operation | None: ...

    async def payment_by_reference(
        self, merchant_id: str, mode: Mode, reference: str
    ) -> Payment | None: ...

    async def record(self, scope: KeyScope) -> IdempotencyRecord | None: ...


class PageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which payments to list, newest first. `cursor` is the id of the last payment listed."""

    merchant_id: str
    mode: Mode
    limit: int = 20
    cursor: str | None = None
    state: State | None = None
    customer_id: str | None = None
    reference: str | None = None


class Reader(Protocol):
    """Reads for lists, histories and the sweep. Nothing here decides about money."""

    async def page(self, query: PageQuery) -> list[Payment]: ...

    async def newest(self, mode: Mode, *, limit: int, state: State | None = None) -> list[Payment]:
        """The newest payments of every merchant. For operators only."""
        ...

    async def refunds(self, payment_id: str) -> list[Refund]: ...

    async def history(self, payment_id: str) -> list[AuditEntry]:
        """The payment's audit entries, oldest first."""
        ...

    async def due(self, now: datetime, limit: int) -> list[Payment]:
        """Payments whose card is due to be erased."""
        ...

    async def due_operations(self, now: datetime, limit: int) -> list[Operation]:
        """Operations whose `due_at` has passed."""
        ...

    async def open_operations(self, limit: int, *, needs_decision: bool = False) -> list[Operation]:
        """Operations without a result, or those among them that a person has to decide. Those that
        are due first come first, as far as the database keeps them in one order.
        """
        ...

    async def operations(self, payment_id: str) -> list[Operation]:
        """The payment's operations, oldest first."""
        ...


class AccountBalance(msgspec.Struct, frozen=True, array_like=True):
    """What one payment's postings come to on one account, in minor units. A debit is positive."""

    account: str
    currency: str
    amount_minor: int


def balances_of(postings: Iterable[Posting]) -> tuple[AccountBalance, ...]:
    """The balance of each account and currency that has postings."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for posting in postings:
        sums[posting.account, posting.currency] += posting.amount_minor
    return tuple(AccountBalance(*key, total) for key, total in sums.items())


class BookedPayment(msgspec.Struct, frozen=True, kw_only=True):
    """One payment with its balances in the ledger, the sum of its refunds that were done, and the
    processors of its operations. An operation is open while it has no result.
    """

    payment: Payment
    balances: tuple[AccountBalance, ...]
    refunds_minor: int
    processors: frozenset[str]
    has_open_operation: bool

    def booked_minor(self, account: str) -> int:
        """What is booked on the account, in the payment's currency."""
        return sum(
            balance.amount_minor
            for balance in self.balances
            if (balance.account, balance.currency) == (account, self.payment.currency)
        )

    @property
    def owed_minor(self) -> int:
        """What the books owe to the merchant."""
        return -self.booked_minor(merchant_account(self.payment.merchant_id, self.payment.mode))


class Books(Protocol):
    """Reads of all the books, to reconcile them."""

    async def find_unbalanced(self) -> str | None:
        """The first ledger transaction that does not sum to zero."""
        ...

    async def find_orphan(self) -> str | None:
        """The first posting without its payment, or payment without an audit entry."""
        ...

    def booked_payments(self) -> AsyncIterator[BookedPayment]:
        """Every payment, in no particular order."""
        ...

    async def count(self) -> int:
        """The number of payments."""
        ...

    async def last_segment(self) -> ArchivedSegment | None:
        """The last segment that holds an archived audit entry."""
        ...

    async def audit_entries(self, entry_ids: Sequence[str]) -> list[AuditEntry]:
        """The audit entries with these ids, as far as there are any, in no particular order."""
        ...


class Retention(Protocol):
    """Deletes records whose time is over."""

    async def delete_records(self, before: datetime, limit: int) -> int:
        """Deletes idempotency records from before `before`, `limit` at most. Returns how many."""
        ...
