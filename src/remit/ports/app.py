"""`App`: the service, assembled. Packages below it take one, and `assembly/` makes it.

What takes a payment is at hand: the store, the processor, the vault. The rest is grouped by what it
is for, as the modules of this package are.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from remit.domain.health_state import Check
from remit.domain.ids import Clock, NewId
from remit.idle import IdlePolicy
from remit.ports.api_keys import ApiKeys
from remit.ports.audit import AuditLog, Bucket
from remit.ports.delivery import FailedQueue, Outbox, Publisher, Queue
from remit.ports.monitoring import HealthStates, Metrics
from remit.ports.process_state import Cache, Limiter, Sessions
from remit.ports.processor import Processor
from remit.ports.store import Books, Reader, Retention, Store
from remit.ports.vault import Vault
from remit.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """What is read of the store, and what lives beside the payments."""

    reader: Reader
    books: Books
    api_keys: ApiKeys
    retention: Retention
    health_states: HealthStates
    ping: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The way of a message: out of the store, to the work queue or to a topic."""

    outbox: Outbox
    queue: Queue
    failed: FailedQueue
    notifications: Publisher
    alerts: Publisher


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTrail:
    """The entries that are still to be archived, and the bucket that archives them."""

    log: AuditLog
    bucket: Bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """What the service counts, and what the deployment measures of it.

    `disk` checks the disk that holds the data, and finds None where that is AWS's affair.
    """

    metrics: Metrics
    measures: Callable[[], Awaitable[Mapping[str, Check]]]
    disk: Callable[[], Awaitable[Check | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessState:
    """What each process keeps for itself, or all share where there is Redis."""

    limiter: Limiter
    cache: Cache
    sessions: Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The service: settings, time and identifiers, and one of each port."""

    settings: Settings
    clock: Clock
    new_id: NewId
    store: Store
    processor: Processor
    vault: Vault
    database: Database
    delivery: Delivery
    audit: AuditTrail
    monitoring: Monitoring
    process_state: ProcessState
    idle: IdlePolicy
    close: Callable[[], Awaitable[None]]
