"""The adapters to PostgreSQL, on a laptop and in AWS."""

from typing import TYPE_CHECKING, NamedTuple

from remit.assembly.parts import DatabaseAdapters, Process
from remit.clock_and_ids import new_id
from remit.ports.store import OnCommit
from remit.settings import Settings

if TYPE_CHECKING:
    from remit.adapters.postgres.connection import Connection, Login, Span
    from remit.adapters.postgres.queue import PostgresQueue

RECONCILE_TIMEOUT_SECONDS = 3_600.0
"""The time limit of one query over all the books."""


class Connections(NamedTuple):
    """A connection for each kind of work. They may be the same one."""

    writing: "Connection"
    reading: "Connection"
    delivery: "Connection"
    reconciling: "Connection"


def database_login(settings: Settings) -> "Login":
    """The login to the database that the settings name. Raises SettingsError if they name none."""
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


def make_connections(
    process: Process, *, span: "Span | None" = None, shared: bool = False
) -> Connections:
    """Connections to the database that the settings name. Each opens at its first query.

    With `shared`, one serves for everything but reconciling. This is for a process that answers one
    request at a time.
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


def postgres_adapters(
    process: Process, connections: Connections, *on_commit: OnCommit
) -> DatabaseAdapters:
    """The database ports on PostgreSQL. `on_commit` is called after the process's own hooks."""
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
    """The work queue in PostgreSQL, for a topology without SQS."""
    from remit.adapters.postgres.queue import PostgresQueue

    settings = process.settings
    return PostgresQueue(
        connection,
        process.new_id,
        max_receives=settings.work_max_receives,
        visibility_seconds=settings.work_visibility_seconds,
        retry_seconds=settings.work_retry_seconds,
    )
