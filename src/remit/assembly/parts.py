"""The parts of an `App`: groups of adapters that a topology chooses. `build` joins them."""

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
from remit.ports.audit import AuditLog, Bucket, Signer
from remit.ports.delivery import FailedQueue, Outbox, Publisher, Queue
from remit.ports.monitoring import HealthStates, Metrics
from remit.ports.process_state import Cache
from remit.ports.processor import Processor
from remit.ports.store import Books, OnCommit, Reader, Retention, Store
from remit.ports.vault import Vault
from remit.settings import Settings

Close = Callable[[], Awaitable[None]]


class StoreAdapter(Store, Reader, Protocol):
    """The adapter to payments: commits, look-ups, lists."""

    async def ping(self) -> None: ...


class OutboxAdapter(Outbox, AuditLog, Retention, Protocol):
    """The adapter to the work that commits leave: messages to send, entries to archive."""


class WorkQueue(Queue, FailedQueue, Protocol):
    """The adapter to a queue and its dead letters."""


class DatabaseAdapters(NamedTuple):
    """The adapters to one database, and how to close them."""

    store: StoreAdapter
    books: Books
    api_keys: ApiKeys
    outbox: OutboxAdapter
    health_states: HealthStates
    close: Close


class CloudServices(NamedTuple):
    """The adapters to the services beside the database, in the cloud or in their place."""

    notifications: Publisher
    alerts: Publisher
    bucket: Bucket
    signer: Signer
    vault: Vault
    measures: Callable[[], Awaitable[Mapping[str, Check]]]
    metrics: Metrics
    disk: Callable[[], Awaitable[Check | None]]


class Process(NamedTuple):
    """The parts of an `App` that do not depend on its database."""

    settings: Settings
    clock: Clock
    new_id: NewId
    state: ProcessState
    idle: IdlePolicy
    close_state: Close

    @property
    def on_commit(self) -> Sequence[OnCommit]:
        return (write_through(self.state.cache),) if self.settings.cache_endpoint else ()


def this_process(settings: Settings, clock: Clock = now, new_id: NewId = new_id) -> Process:
    """The process with its state in memory, or in Redis where the settings name one."""
    if settings.cache_endpoint is None:
        state: ProcessState = _memory_state(settings, clock)
        close: Close = close_nothing
    else:
        # Only the container image has the package for Redis.
        from remit.assembly.redis import shared_state

        state, close = shared_state(settings, clock)
    return Process(settings, clock, new_id, state, IdlePolicy(settings.idle_after_seconds), close)


def _memory_state(settings: Settings, clock: Clock) -> ProcessState:
    return ProcessState(
        limiter=local_limiter(settings, clock),
        cache=NoCache(),
        sessions=MemorySessions(clock, new_secret),
    )


def local_limiter(settings: Settings, clock: Clock) -> LocalLimiter:
    """Rate limits of this process alone."""
    return LocalLimiter(clock, per_second=settings.rate_per_second, burst=settings.rate_burst)


def write_through(cache: Cache) -> OnCommit:
    """Caches each committed payment before its caller gets a response, so that the caller then
    reads its own change.
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
    """The service. Nothing is opened yet, and `App.close` closes what was opened later."""

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
        audit=AuditTrail(log=database.outbox, bucket=services.bucket, signer=services.signer),
        monitoring=Monitoring(
            metrics=services.metrics, measures=services.measures, disk=services.disk
        ),
        process_state=process.state,
        idle=process.idle,
        close=close,
    )


async def close_nothing() -> None:
    """For adapters without anything to close."""


async def no_disk() -> None:
    """For a topology whose data is not on this machine's disk."""


async def no_measures() -> dict[str, Check]:
    """For a topology without metrics, such as a laptop."""
    return {}
