"""Assembles what is common: everything on PostgreSQL, and what each process has for itself."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from remit.adapters.memory.cache import NoCache
from remit.adapters.memory.limiter import LocalLimiter
from remit.adapters.memory.sessions import MemorySessions
from remit.adapters.processors.simulated.processor import SimulatedProcessor, SimulatorStore
from remit.clock_and_ids import new_id, new_secret, now
from remit.domain.health_state import Check
from remit.ports.app import App
from remit.ports.audit import Bucket
from remit.ports.delivery import Publisher
from remit.ports.monitoring import Metrics
from remit.ports.process_state import Cache, Limiter, Sessions
from remit.ports.vault import Vault
from remit.settings import Settings

if TYPE_CHECKING:
    from remit.adapters.postgres.connection import Connection, Login

AUDIT_TIMEOUT_SECONDS = 3_600.0
"""For one question about the whole of the books."""


class CloudServices(NamedTuple):
    """What a topology has around its database."""

    notifications: Publisher
    alerts: Publisher
    bucket: Bucket
    vault: Vault
    measures: Callable[[], Awaitable[Mapping[str, Check]]]
    metrics: Metrics


class ProcessState(NamedTuple):
    """What the processes of a service share where there is Redis, and else have each their own."""

    limiter: Limiter
    cache: Cache
    sessions: Sessions


def in_process(settings: Settings) -> ProcessState:
    return ProcessState(
        limiter=LocalLimiter(now, per_second=settings.rate_per_second, burst=settings.rate_burst),
        cache=NoCache(),
        sessions=MemorySessions(now, new_secret),
    )


def database_login(settings: Settings) -> "Login":
    """How to reach the PostgreSQL that the settings name. Raises SettingsError if none is."""
    from remit.adapters.postgres.connection import UrlLogin

    if settings.database_secret_arn is not None:
        from remit.adapters.aws.client import LazyClient
        from remit.adapters.aws.rds import SecretLogin

        return SecretLogin(
            LazyClient("secretsmanager"),
            secret_arn=settings.database_secret_arn,
            endpoint=settings.needed("database_endpoint"),
            database=settings.database_name,
            ca=settings.database_ca,
        )
    return UrlLogin(settings.needed("database_url"))


def on_postgres(
    settings: Settings,
    around: CloudServices,
    memory: SimulatorStore,
    login: "Login",
    writing: "Connection",
    reading: "Connection",
    delivery: "Connection",
) -> App:
    """Everything that is committed in PostgreSQL, the queue of work too."""
    from remit.adapters.postgres.books import PostgresBooks
    from remit.adapters.postgres.connection import Connection
    from remit.adapters.postgres.delivery import (
        PostgresApiKeys,
        PostgresHealthStates,
        PostgresOutbox,
        PostgresQueue,
    )
    from remit.adapters.postgres.store import PostgresStore

    store = PostgresStore(writing, reading)
    quiet = settings.idle_after_seconds
    auditing = Connection(login, timeout_seconds=AUDIT_TIMEOUT_SECONDS, idle_after_seconds=quiet)
    connections = (writing, reading, delivery, auditing)
    outbox = PostgresOutbox(delivery, holder=new_id(), lease_seconds=settings.lease_seconds)
    queue = PostgresQueue(
        delivery,
        new_id,
        max_receives=settings.work_max_receives,
        visibility_seconds=settings.work_visibility_seconds,
        retry_seconds=settings.work_retry_seconds,
    )

    async def close() -> None:
        await outbox.release()
        for connection in connections:
            await connection.close()

    def is_idle() -> bool:
        return quiet is not None and not any(connection.is_open for connection in connections)

    return App(
        settings=settings,
        clock=now,
        new_id=new_id,
        store=store,
        reader=store,
        books=PostgresBooks(auditing),
        keys=PostgresApiKeys(delivery),
        outbox=outbox,
        audit_log=outbox,
        retention=outbox,
        verdicts=PostgresHealthStates(delivery),
        queue=queue,
        failed=queue,
        processor=SimulatedProcessor(memory, settings),
        ping=store.ping,
        close=close,
        is_idle=is_idle,
        **around._asdict(),
        **in_process(settings)._asdict(),
    )
