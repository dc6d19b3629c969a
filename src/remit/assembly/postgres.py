"""Everything that is committed in PostgreSQL, wherever it runs."""

from typing import TYPE_CHECKING, NamedTuple

from remit.assembly.parts import DatabaseAdapters, Process
from remit.clock_and_ids import new_id
from remit.ports.store import OnCommit
from remit.settings import Settings

if TYPE_CHECKING:
    from remit.adapters.postgres.connection import Connection, Login, Span
    from remit.adapters.postgres.queue import PostgresQueue

RECONCILE_TIMEOUT_SECONDS = 3_600.0
"""For one query over the whole of the books."""


class Connections(NamedTuple):
    """One for each kind of work. Where one request is answered at a time, one serves for all."""

    writing: "Connection"
    reading: "Connection"
    delivery: "Connection"
    reconciling: "Connection"


def database_login(settings: Settings) -> "Login":
    """How to reach the PostgreSQL that the settings name. Raises SettingsError if none is."""
    from remit.adapters.postgres.connection import UrlLogin

    if settings.database_secret_arn is not None:
        from remit.adapters.aws.client import LazyClient
        from remit.adapters.aws.rds import SecretLogin

        return SecretLogin(
            LazyClient("secretsmanager"),
            secret_arn=settings.database_secret_arn,
            endpoint=settings.require("database_endpoint"),
            database=settings.database_name,
            ca=settings.database_ca,
        )
    return UrlLogin(settings.require("database_url"))


def connections(
    process: Process, *, span: "Span | None" = None, shared: bool = False
) -> Connections:
    """Connections to the database that the settings name; `shared` is one for all but reconciling,
    for a process that does one thing at a time.
    """
    from contextlib import nullcontext

    from remit.adapters.postgres.connection import Connection

    login = database_login(process.settings)

    def make() -> Connection:
        return Connection(login, by_index=True, span=span or nullcontext, idle=process.idle)

    first = make()
    reconciling = Connection(login, timeout_seconds=RECONCILE_TIMEOUT_SECONDS, idle=process.idle)
    if shared:
        return Connections(first, first, first, reconciling)
    return Connections(first, make(), make(), reconciling)


def on_postgres(
    process: Process, connections: Connections, *on_commit: OnCommit
) -> DatabaseAdapters:
    """The ports that PostgreSQL fills. `on_commit` is called beside the process's own."""
    from remit.adapters.postgres.api_keys import PostgresApiKeys
    from remit.adapters.postgres.books import PostgresBooks
    from remit.adapters.postgres.health_states import PostgresHealthStates
    from remit.adapters.postgres.outbox import PostgresOutbox
    from remit.adapters.postgres.store import PostgresStore

    outbox = PostgresOutbox(
        connections.delivery, holder=new_id(), lease_seconds=process.settings.lease_seconds
    )

    async def close() -> None:
        await outbox.release()
        for connection in dict.fromkeys(connections):
            await connection.close()

    return DatabaseAdapters(
        store=PostgresStore(
            connections.writing, connections.reading, on_commit=(*process.on_commit, *on_commit)
        ),
        books=PostgresBooks(connections.reconciling),
        api_keys=PostgresApiKeys(connections.delivery),
        outbox=outbox,
        health_states=PostgresHealthStates(connections.delivery),
        close=close,
    )


def postgres_queue(process: Process, connection: "Connection") -> "PostgresQueue":
    """The work queue where there is no SQS."""
    from remit.adapters.postgres.queue import PostgresQueue

    settings = process.settings
    return PostgresQueue(
        connection,
        process.new_id,
        max_receives=settings.work_max_receives,
        visibility_seconds=settings.work_visibility_seconds,
        retry_seconds=settings.work_retry_seconds,
    )
