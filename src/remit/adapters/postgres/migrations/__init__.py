"""The database schema, as numbered SQL files, and the function that applies them.

Files are applied in order, each in its own transaction, and are never edited once released. If two
processes migrate at once they take turns, and the second has nothing left to apply.
"""

from importlib.resources import files

import asyncpg

_LOCK = 0x52656D6974
"""The advisory lock of a migration: "Remit" in ASCII."""


class MigrationError(Exception):
    """A newer version of the service has migrated the database."""


def migration_files() -> list[tuple[int, str, str]]:
    """Number, name and SQL of every migration, in order."""
    migrations = [
        (int(entry.name.split("_", 1)[0]), entry.name, entry.read_text(encoding="utf-8"))
        for entry in files(__package__).iterdir()
        if entry.name.endswith(".sql")
    ]
    return sorted(migrations)


async def migrate(connection: asyncpg.Connection) -> list[str]:
    """Applies the missing files and returns their names. Raises MigrationError."""
    applied = []
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations "
            "(number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz DEFAULT now())"
        )
        done = {row["number"] for row in await connection.fetch("SELECT number FROM migrations")}
        known = migration_files()
        if newer := sorted(done - {number for number, _, _ in known}):
            raise MigrationError(
                f"The database holds migration {newer[0]}, which this version does not know. "
                "Run a newer version of Remit."
            )
        for number, name, sql in known:
            if number in done:
                continue
            async with connection.transaction():
                await connection.execute(sql)
                await connection.execute(
                    "INSERT INTO migrations (number, name) VALUES ($1, $2)", number, name
                )
            applied.append(name)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    return applied
