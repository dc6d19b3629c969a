"""The `local` topology: one command, one process tree, everything in the data folder.

    remit up        the API
    ├── remit work  the worker
    └── postgres

Every part survives the others' sudden death: the next start takes over what it finds.
"""

import asyncio
import fcntl
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg
from msgspec.structs import replace

from remit.adapters.postgres.embedded import EmbeddedPostgres
from remit.adapters.postgres.migrations import migrate
from remit.assembly.service import assemble
from remit.clock_and_ids import new_secret
from remit.entrypoints.cli.example import EXAMPLE_KEY
from remit.entrypoints.serve import require_free_port, run, serve, stopped
from remit.oversight.api_keys import create_key
from remit.ports.app import App
from remit.settings import Settings

RESTART_PAUSE_SECONDS = 1.0


class LocalError(Exception):
    """The local topology cannot start, and what to do about it."""


def up(settings: Settings, started: Callable[[Settings, str], None]) -> None:
    """Starts everything and serves until SIGINT or SIGTERM.

    Calls `started` with the settings and the test key, in a thread, once the parts run.
    """
    with _owned(settings.data_dir):
        require_free_port(settings.host, settings.port)
        postgres = EmbeddedPostgres(settings.data_dir / "postgres")
        settings = replace(settings, database_url=settings.database_url or postgres.start())
        try:
            run(_serve(settings, started))
        finally:
            postgres.stop()


async def _serve(settings: Settings, started: Callable[[Settings, str], None]) -> None:
    stop = stopped()
    key = await _prepare(settings)
    app = assemble(settings)
    worker = asyncio.create_task(_keep_working(settings, stop))
    asyncio.get_running_loop().run_in_executor(None, started, settings, key)
    try:
        await serve(app, stop)
    finally:
        stop.set()
        await worker
        await app.close()


async def _keep_working(settings: Settings, stop: asyncio.Event) -> None:
    """Keeps `remit work` running beside the server, and lets it finish at the end."""
    environ = os.environ | {
        "REMIT_DATABASE_URL": settings.database_url or "",
        "REMIT_DATA_DIR": str(settings.data_dir),
    }
    ending = asyncio.create_task(stop.wait())
    while not stop.is_set():
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "remit", "work", "--with-parent"),
            env=environ,
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the parent, which ends things in order
        )
        gone = asyncio.create_task(worker.wait())
        await asyncio.wait({gone, ending}, return_when=asyncio.FIRST_COMPLETED)
        if ending.done() and not gone.done():
            worker.terminate()
            await gone
        elif not stop.is_set():
            await asyncio.sleep(RESTART_PAUSE_SECONDS)


async def _prepare(settings: Settings) -> str:
    """Brings the database up to date and returns the laptop's own test key, made on first use."""
    connection = await asyncpg.connect(settings.database_url)
    try:
        await migrate(connection)
    finally:
        await connection.close()
    path = settings.data_dir / EXAMPLE_KEY
    with suppress(FileNotFoundError):
        return path.read_text().strip()
    app = assemble(settings)
    try:
        made = await create_key(
            app,
            merchant_id="example",
            mode="test",
            label="made by `remit up`",
            random=new_secret(),
        )
    finally:
        await app.close()
    path.touch(mode=0o600)
    path.write_text(made.secret + "\n")
    return made.secret


@contextmanager
def _owned(data_dir: Path) -> Iterator[None]:
    """Makes the data folder ours alone. The lock goes with the process, however it ends."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "lock").open("a")
    except OSError as error:
        raise LocalError(
            f"Cannot write to {data_dir.absolute()}: {error.strerror}. "
            "Choose another folder with REMIT_DATA_DIR."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LocalError(
                f"Another `remit up` is using {data_dir.absolute()}. Stop it, or choose another "
                "folder with REMIT_DATA_DIR."
            ) from error
        yield


def _is_owned(data_dir: Path) -> bool:
    """Whether a `remit up` is running on the folder."""
    with (data_dir / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[App]:
    """The service for one command: on the running database, or on one started for the while."""
    postgres = None
    if not settings.names_a_store:
        folder = settings.data_dir / "postgres"
        if not folder.exists():
            raise LocalError(
                f"There is no data in {settings.data_dir.absolute()} yet. Start with `remit up`."
            )
        postgres = EmbeddedPostgres(folder)
        settings = replace(settings, database_url=postgres.start())
        if _is_owned(settings.data_dir):
            postgres = None
    try:
        app = assemble(settings)
        try:
            yield app
        finally:
            await app.close()
    finally:
        if postgres is not None:
            postgres.stop()
