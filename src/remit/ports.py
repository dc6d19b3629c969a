"""What the service needs of the world, as narrow protocols, and `App`, which holds one of each.

An adapter that fails because its dependency is down raises `errors.Unavailable`.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from remit.card import Card
from remit.change import AuditEntry, Change, Conflict, IdempotencyRecord, KeyScope, Message
from remit.payment import Answer, Mode, Operation, Payment, Refund, State
from remit.settings import Settings
from remit.shown import Shown
from remit.verdict import Check, Verdict

Clock = Callable[[], datetime]
"""Now, in UTC."""

NewId = Callable[[], str]
"""A new identifier: a UUID of version 7 (RFC 9562), so that later ones sort after earlier ones."""

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def is_id(text: str) -> bool:
    """Whether `text` could be an identifier of ours."""
    return _ID.fullmatch(text) is not None


class Store(Protocol):
    """The one place where money is decided."""

    async def commit(self, change: Change) -> Conflict | None:
        """Writes all of `change` durably, or nothing and says who was first."""
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

    async def refunds(self, payment_id: str) -> list[Refund]: ...

    async def history(self, payment_id: str) -> list[AuditEntry]:
        """The payment's audit entries, oldest first."""
        ...

    async def due(self, now: datetime, limit: int) -> list[Payment]:
        """Payments whose `due_at` has passed."""
        ...

    async def due_refunds(self, now: datetime, limit: int) -> list[Refund]: ...


class Examined(msgspec.Struct, frozen=True, kw_only=True):
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

    def examine(self) -> AsyncIterator[Examined]:
        """Every payment, in no particular order."""
        ...

    async def count(self) -> int:
        """How many payments there are."""
        ...

    async def last_segment(self) -> int:
        """The number of the last segment that an audit entry was sealed in."""
        ...


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An API key as it is stored: its SHA-256, never itself. 256 random bits need no slow hash."""

    id: str
    hash: str
    merchant_id: str
    mode: Mode
    label: str
    last4: str
    created_at: datetime
    revoked_at: datetime | None = None


class Keys(Protocol):
    async def add(self, key: ApiKey, secret: str) -> None:
        """Stores the key. The secret is for whoever stands before the service and must know it."""
        ...

    async def find(self, key_hash: str) -> ApiKey | None: ...

    async def all(self) -> list[ApiKey]: ...

    async def revoke(self, key_id: str, at: datetime) -> bool:
        """True if there was such a key. Revoking twice keeps the first time."""
        ...


class Outbox(Protocol):
    """Messages that were committed and are still to be sent."""

    async def pending(self, limit: int) -> list[Message]:
        """The oldest messages not yet marked sent. None while another process sends them."""
        ...

    async def renew(self) -> None:
        """Says that this process still sends what `pending` told it."""
        ...

    async def release(self) -> None:
        """Lets others go on at once, with the audit entries too: this process ends, or pauses for
        it does not know how long. Raises nothing.
        """
        ...

    async def sent(self, message_ids: Sequence[str]) -> None: ...

    async def oldest(self) -> datetime | None:
        """When the oldest message still waiting was written."""
        ...


class AuditLog(Protocol):
    """Audit entries that were committed and are still to be archived."""

    async def unsealed(self, limit: int) -> list[AuditEntry]:
        """The oldest entries to be archived. None while another process archives them."""
        ...

    async def sealed(self, entry_ids: Sequence[str], segment: int) -> None: ...


class Retention(Protocol):
    """What is kept for a time only."""

    async def forget_records(self, before: datetime, limit: int) -> int:
        """Deletes idempotency records made before then, `limit` at most; says how many."""
        ...


class Verdicts(Protocol):
    """The monitor's memory, so that an alert is sent once however often the monitor starts."""

    async def latest(self) -> Verdict: ...

    async def record(self, verdict: Verdict) -> bool:
        """False, and nothing is written, unless the latest has the version before this one."""
        ...


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message received from a queue. `receives` counts this time too."""

    message: Message
    receipt: str
    receives: int
    last_error: str | None = None


class Queue(Protocol):
    """A work queue with SQS's rules: received messages come back unless deleted in time."""

    async def send(self, messages: Sequence[Message]) -> None: ...

    async def receive(self, limit: int) -> list[Delivery]: ...

    async def delete(self, delivery: Delivery) -> None: ...

    async def retry(self, delivery: Delivery, error: str, after_seconds: float = 0.0) -> None:
        """Gives it back for later, but not before then. After the last allowed receive it becomes
        a dead letter.
        """
        ...

    async def extend(self, delivery: Delivery, seconds: float) -> None:
        """Hides it for so long from now on. 0 hands it back at once, as not begun."""
        ...


class FailedQueue(Protocol):
    """What an operator sees of failed work: what will be tried again, and dead letters."""

    async def failed(self, limit: int) -> list[Delivery]: ...

    async def dead_letters(self, limit: int) -> list[Delivery]: ...

    async def dead(self) -> int:
        """How many dead letters there are, about."""
        ...

    async def redrive(self, message_id: str | None) -> int:
        """Moves one dead letter, or all, back to work with a fresh count; says how many."""
        ...


class Publisher(Protocol):
    async def publish(self, messages: Sequence[Message]) -> None:
        """Hands the messages to their topic. May be called again with the same ones."""
        ...


class Bucket(Protocol):
    """An object store. Keys are paths with forward slashes."""

    async def put_new(self, key: str, body: bytes) -> bool:
        """Stores durably, unless the key is taken: then False, and what was there stays."""
        ...

    async def get(self, key: str) -> bytes | None: ...

    async def list(self, prefix: str, after: str, limit: int) -> list[str]:
        """Keys under `prefix` that sort after `after`, in order."""
        ...


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """What the processor is asked to do. `key` makes asking twice safe."""

    key: str
    operation: Operation
    payment_id: str
    amount_minor: int
    currency: str
    card: Card | None = None
    reference: str | None = None


class Processor(Protocol):
    """The outside party that moves money."""

    @property
    def name(self) -> str: ...

    async def execute(self, instruction: Instruction) -> Answer:
        """Does the work once per key, or declines it.

        Raises ProcessorUnavailable when nothing was done, ProcessorTimeout when it may have been.
        """
        ...

    async def find(self, key: str) -> Answer | None:
        """What became of the question asked under `key`; None if it never arrived."""
        ...

    async def balance(self, payment_id: str) -> int | None:
        """Captured less refunded, in minor units, as the processor sees it; None if unknown."""
        ...


class Vault(Protocol):
    """Keeps card numbers unreadable to whoever has the database alone."""

    async def seal(self, card: Card, context: str) -> str:
        """Ciphertext bound to `context`: it opens under no other."""
        ...

    async def open(self, sealed: str, context: str) -> Card:
        """Raises CardUnreadable where it was not sealed under this key for this context."""
        ...

    def fingerprint(self, data: bytes) -> str:
        """A keyed digest: equal for equal data, and useless to guess card numbers with."""
        ...


class Metrics(Protocol):
    """Where the service counts what happens. Counting neither waits nor fails."""

    def count(self, name: str, value: float = 1.0) -> None: ...

    def seconds(self, name: str, value: float) -> None: ...

    async def write(self) -> None:
        """Hands on what was counted since the last time; what cannot be is kept for the next."""
        ...


class Limiter(Protocol):
    async def take(self, key: str) -> int | None:
        """Counts one request under `key`; the seconds to wait if it is one too many."""
        ...


class Cache(Protocol):
    """Payments as they were a moment ago, to be shown. It may forget anything at any time."""

    async def payment(self, payment_id: str) -> Shown | None:
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


def never() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The service, assembled: one of each port. `app.py` makes it; use cases take it."""

    settings: Settings
    clock: Clock
    new_id: NewId
    store: Store
    reader: Reader
    books: Books
    keys: Keys
    outbox: Outbox
    audit_log: AuditLog
    retention: Retention
    verdicts: Verdicts
    queue: Queue
    failed: FailedQueue
    notifications: Publisher
    alerts: Publisher
    bucket: Bucket
    processor: Processor
    vault: Vault
    limiter: Limiter
    cache: Cache
    sessions: Sessions
    ping: Callable[[], Awaitable[None]]
    measures: Callable[[], Awaitable[Mapping[str, Check]]]
    metrics: Metrics
    close: Callable[[], Awaitable[None]]
    rests: Callable[[], bool] = never
    """Whether the database is left alone now, so that it can pause."""
