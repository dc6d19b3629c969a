"""The PostgreSQL that everything is measured on: the service's own server and settings.

One contender at a time uses it, in a database of its own with the service's schema.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from remit.adapters.postgres.embedded_server import EmbeddedPostgres
from remit.adapters.postgres.migrations import migrate


@contextmanager
def postgres(data: Path) -> Iterator[tuple[EmbeddedPostgres, str]]:
    """Runs the server of a data folder without the service; yields it with its URL."""
    server = EmbeddedPostgres(data / "postgres")
    try:
        yield server, server.start()
    finally:
        server.stop()


@contextmanager
def database(data: Path, name: str) -> Iterator[tuple[EmbeddedPostgres, str]]:
    """Runs the server, and yields it with the URL of a migrated database called `name`."""
    with postgres(data) as (server, url):
        own = url_of(url, name)
        asyncio.run(_create(url, own, name))
        yield server, own


def url_of(url: str, name: str) -> str:
    """The URL of another database of the server that `url` leads to."""
    return url.replace("/postgres?", f"/{name}?")


async def _create(url: str, own: str, name: str) -> None:
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
