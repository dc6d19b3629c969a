"""`remit migrate-data`: a development database into a new environment, masked and compared."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from remit.adapters.files.storage import FolderBucket
from remit.adapters.postgres.connection import UrlLogin, connect
from remit.adapters.postgres.masked_copy import PIECE_ROWS, Compared, Copy, CopyRefused, Told
from remit.adapters.postgres.migrations import migrate
from remit.adapters.processors.simulated.sqlite_store import SqliteSimulatorStore
from remit.assembly.postgres import database_login
from remit.assembly.service import assemble
from remit.clock_and_ids import new_secret
from remit.entrypoints.cli import local
from remit.oversight.audit import Verified, copy_trail, verify
from remit.oversight.reconcile import reconcile
from remit.ports.audit import Bucket
from remit.settings import Settings, read_settings

MAX_NAMED = 10
READ_ONLY = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


async def move(source_url: str | None, trail: Path | None) -> list[Compared]:
    """Copies, compares, and answers with what was compared; the last line is the audit trail's.

    The target is what the settings name. Raises CopyRefused, LocalError, OSError or PostgresError.
    """
    settings = read_settings(os.environ)
    if settings.database_url is None and settings.database_secret_arn is None:
        raise CopyRefused(
            "Say where to: set REMIT_DATABASE_URL, or take the settings of a deployment from "
            "`remit outputs --shell`."
        )
    target = await connect(database_login(settings))
    try:
        await migrate(target)
        async with _source(source_url, trail) as (source, bucket, answers):
            copy = Copy(source, target, new_secret)
            with _bar() as told:
                await copy.run(told)
            await copy.record(answers)
            compared = await copy.compare()
            if all(one.agrees for one in compared):
                await copy.finish()
            return [*compared, *await _trail(bucket, settings)]
    finally:
        await target.close()


class Source(NamedTuple):
    """The source's database as it is at this moment, its audit trail, and what its simulated
    processor remembers in a file.
    """

    connection: asyncpg.Connection
    trail: Bucket
    answers: Iterable[list[tuple[str, str, str]]] = ()


@asynccontextmanager
async def _source(url: str | None, trail: Path | None) -> AsyncIterator[Source]:
    if url is None:
        laptop = {name: value for name, value in os.environ.items() if name == "REMIT_DATA_DIR"}
        async with local.opened(read_settings(laptop)) as app:
            data = app.settings.data_dir
            memory = SqliteSimulatorStore(data / "processor.sqlite")
            try:
                async with _source(app.settings.database_url, trail or data / "bucket") as found:
                    yield found._replace(answers=memory.all(PIECE_ROWS))
            finally:
                memory.close()
        return
    connection = await connect(UrlLogin(url))
    try:
        await connection.execute(READ_ONLY)
        yield Source(connection, FolderBucket(trail or Settings().data_dir / "bucket"))
    finally:
        await connection.close()


async def _trail(bucket: Bucket, settings: Settings) -> list[Compared]:
    """The trail on both sides, once it is copied; and whether the new books agree in themselves."""
    app = assemble(settings)
    try:
        await copy_trail(bucket, app.audit.bucket)
        source, target = await verify(bucket), await verify(app.audit.bucket)
        wrong: list[str] = []
        async for one in reconcile(app):
            wrong.append(f"{one.check} {one.record}")
            if len(wrong) == MAX_NAMED:
                break
    finally:
        await app.close()
    return [
        Compared("audit chain", _chain(source), _chain(target)),
        Compared("discrepancies of the target", "", "; ".join(wrong)),
    ]


def _chain(found: object) -> str:
    if isinstance(found, Verified):
        return f"{found.segments} segments, {found.entries} entries, head {found.head[:16]}"
    return str(found)


class _bar:  # noqa: N801 - reads as what it is
    """A bar for each table. Lines where there is no terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, console=self._console)

    def __enter__(self) -> Told:
        self._bars.start()
        tasks: dict[str, TaskID] = {}

        def told(table: str, done: int, total: int) -> None:
            if table not in tasks:
                tasks[table] = self._bars.add_task(table, total=total)
            self._bars.update(tasks[table], completed=done)
            if not self._console.is_terminal:
                self._console.print(f"{table}: {done:,} of {total:,}", highlight=False)

        return told

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


def run(source_url: str | None, trail: Path | None) -> list[Compared]:
    return asyncio.run(move(source_url, trail))
