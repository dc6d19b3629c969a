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


async def test_a_pending_operation_must_end_before_operations_are_records(
    before_the_names: str,
) -> None:
    connection = await asyncpg.connect(before_the_names)
    with pytest.raises(asyncpg.RaiseError, match="let the version before finish them"):
        await migrate(connection)
    await connection.close()


async def test_the_data_of_an_earlier_version_is_read(before_the_names: str) -> None:
    connection = await asyncpg.connect(before_the_names)
    await connection.execute("UPDATE payments SET state = 'validated', pending = NULL")
    assert "0006_names.sql" in await migrate(connection)
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
