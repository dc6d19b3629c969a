"""`App`: the assembled service. `assembly/` makes it, and every use case takes it as an argument.

The ports that take a payment are fields of `App`: the store, the processor, the vault. The others
are grouped by subject, as the modules of this package are.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from remit.domain.health_state import Check
from remit.domain.ids import Clock, NewId
from remit.idle import IdlePolicy
from remit.ports.api_keys import ApiKeys
from remit.ports.audit import AuditLog, Bucket, Signer
from remit.ports.delivery import FailedQueue, Outbox, Publisher, Queue
from remit.ports.monitoring import HealthStates, Metrics
from remit.ports.process_state import Cache, Limiter, Sessions
from remit.ports.processor import Processor
from remit.ports.store import Books, Reader, Retention, Store
from remit.ports.vault import Vault
from remit.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Reads from the store, and the records that the database keeps beside the payments."""

    reader: Reader
    books: Books
    api_keys: ApiKeys
    retention: Retention
    health_states: HealthStates
    ping: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The way of a message: from the outbox to the work queue or to a topic."""

    outbox: Outbox
    queue: Queue
    failed: FailedQueue
    notifications: Publisher
    alerts: Publisher


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTrail:
    """The audit entries that are not archived yet, the bucket that they are archived in, and the
    key that signs it.
    """

    log: AuditLog
    bucket: Bucket
    signer: Signer


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """The service's own metrics, and the metrics that the deployment has of the service.

    `disk` checks the disk that holds the data. It returns None where the data is in AWS.
    """

    metrics: Metrics
    measures: Callable[[], Awaitable[Mapping[str, Check]]]
    disk: Callable[[], Awaitable[Check | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessState:
    """Rate limits, cached reads and sessions: of each process, or shared where there is Redis."""

    limiter: Limiter
    cache: Cache
    sessions: Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The service: its settings, clock and ids, and one implementation of each port."""

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
