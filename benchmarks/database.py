"""The PostgreSQL that everything is measured on: the service's own server and settings.

The contenders take turns on it, each alone and in a database of its own with the service's schema.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from remit.adapters.postgres.embedded import EmbeddedPostgres
from remit.adapters.postgres.migrations import migrate


@contextmanager
def postgres(data: Path) -> Iterator[EmbeddedPostgres]:
    """Runs the server of a data folder without the service."""
    server = EmbeddedPostgres(data / "postgres")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def database(data: Path, name: str) -> Iterator[tuple[EmbeddedPostgres, str]]:
    """Runs the server, and yields it with the URL of a migrated database called `name`."""
    server = EmbeddedPostgres(data / "postgres")
    try:
        url = server.start()
        own = url.replace("/postgres?", f"/{name}?")
        asyncio.run(_make(url, own, name))
        yield server, own
    finally:
        server.stop()


async def _make(url: str, own: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        known = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name)
        if known is None:
            await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    connection = await asyncpg.connect(own)
    try:
        await migrate(connection)
    finally:
        await connection.close()
