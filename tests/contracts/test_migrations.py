"""Migrations: what an earlier version left is read by this one."""

import asyncpg
import msgspec
import pytest

from remit.adapters.postgres.migrations import migrate, migration_files
from remit.domain.payment import Operation, Payment, State

OLD_PAYMENT = """
INSERT INTO payments VALUES (
    '0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e', 'acme', 'test', 10000, 'USD', now(), 'f', 'unknown', 2,
    0, NULL, NULL, NULL, NULL, 'ciphertext',
    '{"operation": "charge", "amount_minor": 10000, "key": "k-0", "resume": "validated",
      "until": "2026-11-20T12:00:15Z", "promised": true}',
    0, 0, 0, NULL, NULL, NULL, now()
)
"""


@pytest.fixture
async def before_the_names(postgres_server: str, worker_id: str) -> str:
    """A database as the version before migration 0006 left it, with an open operation."""
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
    await connection.execute(
        "INSERT INTO leases VALUES ('seal', gen_random_uuid(), now() + interval '1 minute')"
    )
    await connection.close()
    return url


async def test_an_open_operation_survives_the_new_names(before_the_names: str) -> None:
    connection = await asyncpg.connect(before_the_names)
    assert "0006_names.sql" in await migrate(connection)
    row = await connection.fetchval("SELECT json_agg(p)::text FROM payments p")
    [payment] = msgspec.json.decode(row, type=list[Payment])
    assert payment.encrypted_card == "ciphertext"
    pending = payment.pending
    assert pending is not None
    assert (pending.operation, pending.previous_state, pending.queued) == (
        Operation.CHARGE,
        State.VALIDATED,
        True,
    )
    assert await connection.fetchval("SELECT name FROM leases") == "archive"
    assert await migrate(connection) == []
    await connection.close()
