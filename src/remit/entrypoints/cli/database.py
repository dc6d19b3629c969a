"""`remit migrate` and `remit migrate-data`: a database is brought up to date, or copied."""

import asyncio
from pathlib import Path

from remit.entrypoints.cli.data_folder import command_settings
from remit.entrypoints.cli.target import print_target
from remit.entrypoints.cli.terminal import (
    Json,
    fail,
    print_json,
    print_table,
    prose,
    state,
    value,
)


def migrate_database() -> None:
    """Bring the database that the settings name up to date.

    Safe to run twice, or several times at once.

    Example: `REMIT_DATABASE_URL=postgresql://… remit migrate`
    """
    import asyncpg

    from remit.adapters.postgres.connection import connect
    from remit.adapters.postgres.migrations import MigrationError, migrate
    from remit.assembly.postgres import database_login

    settings = command_settings()
    login = database_login(settings)
    print_target(settings)

    async def run() -> list[str]:
        connection = await connect(login)
        try:
            return await migrate(connection)
        finally:
            await connection.close()

    try:
        applied = asyncio.run(run())
    except (MigrationError, OSError, asyncpg.PostgresError) as error:
        fail(f"The database was not migrated: {error}")
    print("\n".join(f"applied {name}" for name in applied) or "already up to date")


def migrate_data(
    *, source: str | None = None, trail: Path | None = None, json: Json = False
) -> None:
    """Copy a development database into a new one, without cards and customers, and compare.

    The new one is what the settings name. A copy that was ended goes on where it was.

    Example: `REMIT_DATABASE_URL=postgresql://… remit migrate-data`

    Parameters
    ----------
    source
        The URL of the database to copy. Without it, this laptop's own.
    trail
        The folder of its audit trail. Without it, the one in this laptop's data.
    json
        Print JSON, for pipes.
    """
    import asyncpg

    from remit.adapters.postgres.masked_copy import CopyError
    from remit.adapters.postgres.migrations import MigrationError
    from remit.domain.errors import Unavailable
    from remit.entrypoints.cli import local
    from remit.entrypoints.cli.migrate_data import copy_and_compare

    try:
        compared = asyncio.run(copy_and_compare(source, trail))
    except (CopyError, local.LocalError, MigrationError, Unavailable) as error:
        fail(str(error))
    except (OSError, asyncpg.PostgresError) as error:
        fail(f"A database did not answer, and the copy can go on from here: {error}")
    if json:
        print_json(compared)
    else:
        print_table(
            (value("what"), prose("source"), prose("target"), state("")),
            [
                (one.what, one.source, one.target, "" if one.agrees else "differs")
                for one in compared
            ],
            empty="There was nothing to compare.",
        )
    if not all(one.agrees for one in compared):
        raise SystemExit(1)
