"""The `local` topology: one command, one process tree, everything in the data folder.

    remit up        the API
    ├── remit work  the worker
    └── postgres

Every part survives the others' sudden death: the next start takes over what it finds.
"""

import asyncio
import fcntl
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from threading import Thread

import asyncpg
from msgspec.structs import replace

from remit.adapters.postgres.embedded_server import EmbeddedPostgres
from remit.adapters.postgres.migrations import migrate
from remit.assembly.service import assemble
from remit.clock_and_ids import new_secret
from remit.entrypoints.cli.data_folder import KEY_FILE, forget_address, own_key, remember_address
from remit.entrypoints.logs import log_request
from remit.entrypoints.serve import require_free_port, run, serve, stop_event
from remit.oversight.api_keys import create_key
from remit.ports.app import App
from remit.settings import Settings

RESTART_PAUSE_SECONDS = 1.0
ROOM_BYTES = 100_000_000
"""A new database has 40 MB, and each further segment of its log 16 MB."""


class LocalError(Exception):
    """The local topology cannot start, and what to do about it."""


OnStart = Callable[[Settings, str, Callable[[], bool]], None]
"""Takes the settings, the test key, and a function that tells whether the service is stopping."""


def up(settings: Settings, on_start: OnStart) -> None:
    """Starts everything and serves until SIGINT or SIGTERM.

    Calls `on_start` in a thread once the parts run. The end does not wait for that thread.
    """
    with _owned(settings.data_dir):
        require_free_port(settings.host, settings.port)
        _require_room(settings.data_dir)
        postgres = EmbeddedPostgres(settings.data_dir / "postgres")
        settings = replace(settings, database_url=settings.database_url or postgres.start())
        remember_address(settings)
        try:
            run(_serve(settings, on_start))
        finally:
            forget_address(settings)
            postgres.stop()


def _require_room(data_dir: Path) -> None:
    """Raises LocalError where the disk has no room for a database: its server would be started
    again and again, and say why in its log alone.
    """
    free_bytes = shutil.disk_usage(data_dir).free
    if free_bytes < ROOM_BYTES:
        raise LocalError(
            f"The disk of {data_dir.absolute()} is full: {free_bytes / 1e6:.0f} MB are free, and "
            f"Remit needs {ROOM_BYTES / 1e6:.0f} MB to start. Make room, or choose another folder "
            "with REMIT_DATA_DIR."
        )


async def _serve(settings: Settings, on_start: OnStart) -> None:
    stop = stop_event()
    key = await _prepare(settings)
    app = assemble(settings)
    worker = asyncio.create_task(_keep_working(settings, stop))
    Thread(target=on_start, args=(settings, key, stop.is_set), daemon=True).start()
    in_terminal = sys.stderr.isatty()
    try:
        await serve(app, stop, on_response=log_request if in_terminal else None)
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
    if (known := own_key(settings)) is not None:
        return known
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
    path = settings.data_dir / KEY_FILE
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
        if not _is_owned(settings.data_dir):
            _require_room(settings.data_dir)
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
