"""`App`: the service, assembled."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from remit.domain.health_state import Check
from remit.domain.ids import Clock, NewId
from remit.ports.api_keys import ApiKeys
from remit.ports.audit import AuditLog, Bucket
from remit.ports.delivery import FailedQueue, Outbox, Publisher, Queue
from remit.ports.monitoring import HealthStates, Metrics
from remit.ports.process_state import Cache, Limiter, Sessions
from remit.ports.processor import Processor
from remit.ports.store import Books, Reader, Retention, Store
from remit.ports.vault import Vault
from remit.settings import Settings


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
    keys: ApiKeys
    outbox: Outbox
    audit_log: AuditLog
    retention: Retention
    verdicts: HealthStates
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
    is_idle: Callable[[], bool] = never
    """Whether the database is left alone now, so that it can pause."""
