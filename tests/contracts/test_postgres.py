"""PostgreSQL: what it guarantees to several processes, and against writes past the service."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator

import asyncpg
import pytest

from remit.adapters.postgres.connection import Connection, UrlLogin
from remit.adapters.postgres.migrations import MigrationError, migrate, migration_files
from remit.adapters.postgres.store import PostgresStore
from remit.domain.change import Change, Conflict, Topic
from remit.domain.errors import Unavailable
from remit.ports.app import App
from tests.contracts.changes import (
    a_message,
    a_payment,
    a_pending_payment,
    a_record,
    a_refund,
    an_entry,
    new,
    next_version,
    postings_of,
)


@pytest.fixture
async def second(database_url: str) -> AsyncIterator[PostgresStore]:
    """The store of another process on the same database."""
    connection = Connection(UrlLogin(database_url), by_index=True)
    yield PostgresStore(connection, connection)
    await connection.close()


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection past the service, with all rights."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_of_two_processes_that_write_one_version_one_wins(
    on_postgres: App, second: PostgresStore
) -> None:
    payments = [a_payment(on_postgres) for _ in range(40)]
    for payment in payments:
        await on_postgres.store.commit(new(on_postgres, payment=payment))
    ours = [Change(payment=next_version(p, authorized_minor=1), audit=()) for p in payments]
    theirs = [
        Change(payment=next_version(p, authorized_minor=2), audit=()) for p in reversed(payments)
    ]
    ends = await asyncio.gather(
        *(on_postgres.store.commit(change) for change in ours),
        *(second.commit(change) for change in theirs),
    )
    for n, payment in enumerate(payments):
        mine, other = ends[n], ends[-1 - n]
        assert {mine, other} == {None, Conflict.STALE}
        stored = await on_postgres.store.payment(payment.id)
        assert stored is not None
        assert (stored.version, stored.authorized_minor) == (2, 1 if mine is None else 2)


async def test_of_two_processes_that_claim_one_key_or_reference_one_wins(
    on_postgres: App, second: PostgresStore
) -> None:
    for n in range(20):
        ends = await asyncio.gather(
            *(
                store.commit(Change(audit=(an_entry(on_postgres),), record=a_record(f"k{n}")))
                for store in (on_postgres.store, second)
            )
        )
        assert set(ends) == {None, Conflict.KEY_TAKEN}
        ends = await asyncio.gather(
            *(
                store.commit(new(on_postgres, payment=a_payment(on_postgres, reference=f"r{n}")))
                for store in (on_postgres.store, second)
            )
        )
        assert set(ends) == {None, Conflict.REFERENCE_TAKEN}


@pytest.mark.parametrize(
    "fields", [{"captured_minor": 101}, {"refunded_minor": 61}, {"state": "paid"}]
)
async def test_a_change_that_the_database_rejects_fails_alone(
    on_postgres: App, fields: dict[str, object]
) -> None:
    bad = a_pending_payment(on_postgres, **fields)
    good = [a_payment(on_postgres) for _ in range(3)]
    ends = await asyncio.gather(
        *(on_postgres.store.commit(new(on_postgres, payment=p)) for p in (*good[:2], bad, good[2])),
        return_exceptions=True,
    )
    assert isinstance(ends.pop(2), asyncpg.PostgresError)
    assert ends == [None, None, None]
    assert await on_postgres.store.payment(bad.id) is None
    for payment in good:
        assert await on_postgres.store.payment(payment.id) == payment


async def test_a_posting_cannot_be_changed_or_removed(
    on_postgres: App, connection: asyncpg.Connection
) -> None:
    payment = a_pending_payment(on_postgres)
    change = new(on_postgres, payment=payment, postings=postings_of(on_postgres, payment, 5))
    await on_postgres.store.commit(change)
    for statement in (
        "UPDATE postings SET amount_minor = 6",
        "DELETE FROM postings",
        "TRUNCATE postings",
    ):
        with pytest.raises(asyncpg.RaiseError, match="never changed or removed"):
            await connection.execute(statement)


async def test_postings_that_do_not_balance_cannot_be_written(
    on_postgres: App, connection: asyncpg.Connection
) -> None:
    insert = (
        "INSERT INTO postings VALUES "
        "($1, 0, $1, 'a', 'USD', 5, now()), ($1, 1, $1, 'b', '{}', {}, now())"
    )
    for currency, amount in (("USD", -4), ("EUR", -5)):
        with pytest.raises(asyncpg.RaiseError, match="do not sum to zero"):
            await connection.execute(insert.format(currency, amount), on_postgres.new_id())
    await connection.execute(insert.format("USD", -5), on_postgres.new_id())


async def test_a_refund_needs_its_payment(on_postgres: App) -> None:
    refund = a_refund(on_postgres, a_payment(on_postgres))
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await on_postgres.store.commit(Change(refund=refund, audit=()))


async def test_a_connection_that_was_cut_reconnects(
    on_postgres: App, connection: asyncpg.Connection
) -> None:
    payment = a_payment(on_postgres)
    await on_postgres.store.commit(new(on_postgres, payment=payment))
    blocked = asyncio.create_task(_commit_behind_a_lock(on_postgres, connection))
    with pytest.raises(Unavailable):
        await asyncio.wait_for(blocked, 20)
    assert await on_postgres.store.payment(payment.id) == payment
    assert await on_postgres.store.commit(new(on_postgres)) is None


async def _commit_behind_a_lock(app: App, connection: asyncpg.Connection) -> None:
    """A commit that waits for a lock, and whose connection is then cut by the server."""
    async with connection.transaction():
        await connection.execute("LOCK TABLE payments IN ACCESS EXCLUSIVE MODE")
        waiting = asyncio.create_task(app.store.commit(new(app)))
        while not await connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ):
            await connection.execute("SELECT pg_sleep(0.01)")
    await waiting


async def test_migrating_twice_changes_nothing(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        assert await migrate(connection) == []
        await connection.execute("INSERT INTO migrations (number, name) VALUES (9999, 'later')")
        with pytest.raises(MigrationError, match="holds migration 9999"):
            await migrate(connection)
    finally:
        await connection.close()


async def test_processes_that_migrate_at_once_take_turns(postgres_server: str) -> None:
    connection = await asyncpg.connect(postgres_server)
    name = "migrated_at_once"
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name}")
        await connection.execute(f"CREATE DATABASE {name}")
        url = postgres_server.replace("/postgres?", f"/{name}?")
        with multiprocessing.get_context("spawn").Pool(3) as pool:
            applied = await asyncio.to_thread(pool.map, apply_migrations, [url] * 3)
        names = [name for _, name, _ in migration_files()]
        assert sorted(applied) == [[], [], names]
        await connection.execute(f"DROP DATABASE {name}")
    finally:
        await connection.close()


def apply_migrations(url: str) -> list[str]:
    """Migrates as a process does when it starts."""

    async def run() -> list[str]:
        connection = await asyncpg.connect(url)
        try:
            return await migrate(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


async def test_a_received_message_stays_hidden_for_its_visibility_time(
    on_postgres: App, connection: asyncpg.Connection
) -> None:
    message = a_message(on_postgres, Topic.WORK)
    await on_postgres.delivery.queue.send([message])
    [first] = await on_postgres.delivery.queue.receive(10)
    assert await on_postgres.delivery.queue.receive(10) == []
    await connection.execute("UPDATE queue_messages SET visible_at = now()")
    [second] = await on_postgres.delivery.queue.receive(10)
    assert (second.message, second.receives) == (message, 2)
    await on_postgres.delivery.queue.delete(first)
    await on_postgres.delivery.queue.retry(first, "late")
    [left] = await connection.fetch("SELECT last_error FROM queue_messages")
    assert left["last_error"] is None
    await on_postgres.delivery.queue.delete(second)
    assert await connection.fetchval("SELECT count(*) FROM queue_messages") == 0
