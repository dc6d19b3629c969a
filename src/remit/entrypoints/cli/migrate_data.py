"""`remit migrate-data`: a development database into a new environment, masked and compared."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
from msgspec.structs import replace

from remit.adapters.files.storage import FolderBucket
from remit.adapters.postgres.connection import UrlLogin, connect
from remit.adapters.postgres.masked_copy import PIECE_ROWS, CopyError, DataComparison, MaskedCopy
from remit.adapters.postgres.migrations import migrate
from remit.adapters.processors.simulated.sqlite_store import SqliteSimulatorStore
from remit.assembly.postgres import database_login
from remit.assembly.service import assemble
from remit.clock_and_ids import new_secret
from remit.entrypoints.cli import local
from remit.entrypoints.cli.data_folder import command_settings
from remit.entrypoints.cli.target import database_at, print_target, target
from remit.entrypoints.cli.terminal import Steps, print_note
from remit.oversight.audit.archiver import AuditArchiver, copy_trail
from remit.oversight.audit.verification import VerifiedTrail, verify
from remit.oversight.reconcile import reconcile
from remit.ports.audit import Bucket
from remit.settings import Settings

MAX_NAMED = 10
READ_ONLY = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


async def copy_and_compare(source_url: str | None, trail: Path | None) -> list[DataComparison]:
    """Copies, compares, and answers with what was compared; the last line is the audit trail's.

    The target is what the settings name. Raises CopyError, LocalError, OSError or PostgresError.
    """
    settings = command_settings()
    if settings.database_url is None and settings.database_secret_arn is None:
        raise CopyError(
            "Say where to: set REMIT_DATABASE_URL, or take the settings of a deployment from "
            "`remit outputs --shell`."
        )
    laptop = replace(Settings(), data_dir=settings.data_dir)
    copied = target(laptop) if source_url is None else f"the database at {database_at(source_url)}"
    print_note(f"copying {copied}")
    print_target(settings)
    steps = Steps()
    new = await connect(database_login(settings))
    try:
        await migrate(new)
        async with _source(source_url, trail, laptop) as (source, bucket, instructions):
            copy = MaskedCopy(source, new, new_secret)
            with steps.step("copying") as report:
                await copy.run(report)
            await copy.copy_instructions(instructions)
            with steps.step("comparing"):
                compared = await copy.compare()
            if all(one.agrees for one in compared):
                await copy.finish()
            return [*compared, *await _trail(bucket, settings)]
    finally:
        await new.close()


class Source(NamedTuple):
    """A snapshot of the source's database, its audit trail, and the past instructions of a
    simulated processor that has them in a file.
    """

    connection: asyncpg.Connection
    trail: Bucket
    instructions: Iterable[list[tuple[str, str, str]]] = ()


@asynccontextmanager
async def _source(url: str | None, trail: Path | None, laptop: Settings) -> AsyncIterator[Source]:
    """Of the URL, or of the laptop."""
    if url is None:
        async with local.opened(laptop) as app:
            simulator = SqliteSimulatorStore(laptop.data_dir / "processor.sqlite")
            try:
                async with _source(app.settings.database_url, trail, laptop) as found:
                    yield found._replace(instructions=simulator.pages(PIECE_ROWS))
            finally:
                simulator.close()
        return
    connection = await connect(UrlLogin(url))
    try:
        await connection.execute(READ_ONLY)
        yield Source(connection, FolderBucket(trail or laptop.data_dir / "bucket"))
    finally:
        await connection.close()


async def _trail(bucket: Bucket, settings: Settings) -> list[DataComparison]:
    """The trail on both sides, once it is copied; and whether the new books agree in themselves."""
    app = assemble(settings)
    try:
        await copy_trail(bucket, app.audit.bucket)
        await AuditArchiver(app).sign()
        source, target = await verify(bucket), await verify(app.audit.bucket)
        wrong: list[str] = []
        async for one in reconcile(app):
            wrong.append(f"{one.check} {one.record}")
            if len(wrong) == MAX_NAMED:
                break
    finally:
        await app.close()
    return [
        DataComparison("audit chain", _chain(source), _chain(target)),
        DataComparison("discrepancies of the target", "", "; ".join(wrong)),
    ]


def _chain(found: object) -> str:
    if isinstance(found, VerifiedTrail):
        return f"{found.segments} segments, {found.entries} entries, head {found.head[:16]}"
    return str(found)
