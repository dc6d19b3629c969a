"""Migrations: this version reads the data of an earlier one."""

import asyncpg
import msgspec
import pytest

from remit.adapters.postgres.migrations import migrate, migration_files
from remit.domain.health_state import HealthState
from remit.domain.payment import Payment, State

OLD_PAYMENT = """
INSERT INTO payments VALUES (
    '0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e', 'acme', 'test', 10000, 'USD', now(), 'f', 'unknown', 2,
    0, NULL, NULL, NULL, NULL, 'ciphertext',
    '{"operation": "charge", "amount_minor": 10000, "key": "k-0", "resume": "validated",
      "until": "2026-11-20T12:00:15Z", "promised": true}',
    0, 0, 0, NULL, NULL, NULL, now()
)
"""

OLD_HEALTH = """
INSERT INTO health_verdicts VALUES (
    'health', 3,
    '{"version": 3, "at": "2026-11-20T12:00:00Z", "failing": {"database": "down"}, "owed": [
        {"id": "m1", "topic": "alerts", "kind": "health.failing",
         "created_at": "2026-11-20T12:00:00Z"}]}'
)
"""


@pytest.fixture
async def before_the_names(postgres_server: str, worker_id: str) -> str:
    """A database of the version before migration 0006, with a pending operation."""
    name = f"names_{worker_id}"
    url = postgres_server.replace("/postgres?", f"/{name}?")
    admin = await asyncpg.connect(postgres_server)
    await admin.execute(f"DROP DATABASE IF EXISTS {name}")
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    connection = await asyncpg.connect(url)
    await connection.execute(
        "CREATE TABLE migrations (number integer PRIMARY KEY, name text, "
        "applied_at timestamptz DEFAULT now())"
    )
    for number, file, sql in migration_files():
        if number < 6:
            await connection.execute(sql)
            await connection.execute("INSERT INTO migrations VALUES ($1, $2)", number, file)
    await connection.execute(OLD_PAYMENT)
    await connection.execute(OLD_HEALTH)
    await connection.execute(
        "INSERT INTO leases VALUES ('seal', gen_random_uuid(), now() + interval '1 minute')"
    )
    await connection.close()
    return url


OLD_REFUND = """
INSERT INTO refunds (
    id, payment_id, merchant_id, mode, amount_minor, currency, created_at, state, version, due_at
) SELECT '0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0f', id, 'acme', 'test', 5, 'USD', now(), 'pending', 1,
         now()
FROM payments
"""

PROMISED = '{"id": "0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d10", "topic": "work", "kind": "process"}'

IN_THE_OUTBOX = f"""
INSERT INTO outbox VALUES ('0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d10', now(), '{PROMISED}')
"""

IN_THE_QUEUE = f"""
INSERT INTO queue_messages (id, message)
VALUES ('0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d10', '{PROMISED}')
"""

END_THE_OPERATION = "UPDATE payments SET state = 'validated', pending = NULL"

BEFORE_OPERATIONS = "0006_names.sql"


async def test_a_pending_operation_must_end_before_operations_are_records(
    before_the_names: str,
) -> None:
    connection = await asyncpg.connect(before_the_names)
    for _ in range(2):
        with pytest.raises(asyncpg.RaiseError, match="operations are pending: let the version"):
            await migrate(connection)
    newest = await connection.fetchval("SELECT name FROM migrations ORDER BY number DESC LIMIT 1")
    assert newest == BEFORE_OPERATIONS
    assert await connection.fetchval("SELECT to_regclass('operations')") is None
    # The version before can finish it, under the names that it reads.
    pending = await connection.fetchval("SELECT pending::text FROM payments")
    assert msgspec.json.decode(pending) == {
        "operation": "charge",
        "amount_minor": 10_000,
        "key": "k-0",
        "previous_state": "validated",
        "until": "2026-11-20T12:00:15Z",
        "queued": True,
    }
    await connection.execute(END_THE_OPERATION)
    assert "0007_operations.sql" in await migrate(connection)
    await connection.close()


@pytest.mark.parametrize("waiting", [OLD_REFUND, IN_THE_OUTBOX, IN_THE_QUEUE])
async def test_a_refund_or_a_promised_step_must_end_before_operations_are_records(
    before_the_names: str, waiting: str
) -> None:
    connection = await asyncpg.connect(before_the_names)
    await connection.execute(END_THE_OPERATION)
    await connection.execute(waiting)
    with pytest.raises(asyncpg.RaiseError, match="operations are pending: let the version"):
        await migrate(connection)
    await connection.execute("UPDATE refunds SET state = 'succeeded', due_at = NULL")
    await connection.execute("DELETE FROM outbox")
    # No version takes a dead letter by itself, so it does not stand in the way.
    await connection.execute("UPDATE queue_messages SET dead_at = now()")
    assert "0007_operations.sql" in await migrate(connection)
    await connection.close()


async def test_the_data_of_an_earlier_version_is_read(before_the_names: str) -> None:
    connection = await asyncpg.connect(before_the_names)
    await connection.execute(END_THE_OPERATION)
    assert (await migrate(connection))[:2] == [BEFORE_OPERATIONS, "0007_operations.sql"]
    row = await connection.fetchval("SELECT json_agg(p)::text FROM payments p")
    [payment] = msgspec.json.decode(row, type=list[Payment])
    assert payment.encrypted_card == "ciphertext"
    assert (payment.state, payment.pending) == (State.VALIDATED, None)
    assert await connection.fetchval("SELECT name FROM leases") == "archive"
    row = await connection.fetchval("SELECT state::text FROM health_states")
    state = msgspec.json.decode(row, type=HealthState)
    assert (state.version, [alert.kind for alert in state.unsent_alerts]) == (3, ["health.failing"])
    assert await migrate(connection) == []
    await connection.close()
