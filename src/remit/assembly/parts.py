"""What an `App` is built of: groups that a topology chooses, and the one place that joins them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from remit.adapters.memory.cache import NoCache
from remit.adapters.memory.limiter import LocalLimiter
from remit.adapters.memory.sessions import MemorySessions
from remit.clock_and_ids import new_id, new_secret, now
from remit.domain.change import Change
from remit.domain.health_state import Check
from remit.domain.ids import Clock, NewId
from remit.idle import IdlePolicy
from remit.ports.api_keys import ApiKeys
from remit.ports.app import App, AuditTrail, Database, Delivery, Monitoring, ProcessState
from remit.ports.audit import AuditLog, Bucket
from remit.ports.delivery import FailedQueue, Outbox, Publisher, Queue
from remit.ports.monitoring import HealthStates, Metrics
from remit.ports.process_state import Cache
from remit.ports.processor import Processor
from remit.ports.store import Books, OnCommit, Reader, Retention, Store
from remit.ports.vault import Vault
from remit.settings import Settings

Close = Callable[[], Awaitable[None]]


class StoreAdapter(Store, Reader, Protocol):
    """What decides about payments, and reads them back."""

    async def ping(self) -> None: ...


class OutboxAdapter(Outbox, AuditLog, Retention, Protocol):
    """What a commit leaves to be done later."""


class WorkQueue(Queue, FailedQueue, Protocol):
    """A queue with its dead letters."""


class DatabaseAdapters(NamedTuple):
    """The ports that one database fills, and how to leave it."""

    store: StoreAdapter
    books: Books
    api_keys: ApiKeys
    outbox: OutboxAdapter
    health_states: HealthStates
    close: Close


class CloudServices(NamedTuple):
    """What a topology has beside its database."""

    notifications: Publisher
    alerts: Publisher
    bucket: Bucket
    vault: Vault
    measures: Callable[[], Awaitable[Mapping[str, Check]]]
    metrics: Metrics
    disk: Callable[[], Awaitable[Check | None]]


class Process(NamedTuple):
    """What each process has for itself: its settings, its clock, its limits and cached reads."""

    settings: Settings
    clock: Clock
    new_id: NewId
    state: ProcessState
    idle: IdlePolicy
    close_state: Close

    @property
    def on_commit(self) -> Sequence[OnCommit]:
        return (cached_by(self.state.cache),) if self.settings.cache_endpoint else ()


def this_process(settings: Settings, clock: Clock = now, new_id: NewId = new_id) -> Process:
    """The state of this process: its own, or Redis' where the settings name one."""
    if settings.cache_endpoint is None:
        state: ProcessState = _own_state(settings, clock)
        close: Close = nothing
    else:
        # Only tasks have the package for Redis.
        from remit.assembly.redis import shared_state

        state, close = shared_state(settings, clock)
    return Process(settings, clock, new_id, state, IdlePolicy(settings.idle_after_seconds), close)


def _own_state(settings: Settings, clock: Clock) -> ProcessState:
    return ProcessState(
        limiter=own_limiter(settings, clock),
        cache=NoCache(),
        sessions=MemorySessions(clock, new_secret),
    )


def own_limiter(settings: Settings, clock: Clock) -> LocalLimiter:
    return LocalLimiter(clock, per_second=settings.rate_per_second, burst=settings.rate_burst)


def cached_by(cache: Cache) -> OnCommit:
    """Writes a payment through to the cache before its caller is answered, so that who changed a
    payment reads the change.
    """

    async def put(change: Change) -> None:
        if change.payment is not None:
            await cache.put(change.payment)

    return put


def build(
    process: Process,
    database: DatabaseAdapters,
    services: CloudServices,
    queue: WorkQueue,
    processor: Processor,
) -> App:
    """The service. Nothing is opened yet; `App.close` closes what was opened since."""

    async def close() -> None:
        await process.close_state()
        await database.close()

    return App(
        settings=process.settings,
        clock=process.clock,
        new_id=process.new_id,
        store=database.store,
        processor=processor,
        vault=services.vault,
        database=Database(
            reader=database.store,
            books=database.books,
            api_keys=database.api_keys,
            retention=database.outbox,
            health_states=database.health_states,
            ping=database.store.ping,
        ),
        delivery=Delivery(
            outbox=database.outbox,
            queue=queue,
            failed=queue,
            notifications=services.notifications,
            alerts=services.alerts,
        ),
        audit=AuditTrail(log=database.outbox, bucket=services.bucket),
        monitoring=Monitoring(
            metrics=services.metrics, measures=services.measures, disk=services.disk
        ),
        process_state=process.state,
        idle=process.idle,
        close=close,
    )


async def nothing() -> None:
    """Closes what needs no closing."""


async def no_disk() -> None:
    """Where the data is on no disk of this machine."""


async def no_measures() -> dict[str, Check]:
    """Where only dependencies are watched, as on a laptop."""
    return {}
