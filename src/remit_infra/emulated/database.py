"""An emulated RDS: the embedded PostgreSQL with a password, behind a TLS proxy.

The embedded server has no TLS, so the proxy terminates it.
"""

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

import asyncpg

from remit.adapters.postgres.embedded_server import EmbeddedPostgres
from remit.clock_and_ids import new_secret
from remit_infra.components.data.postgres import ADMIN_USER, DATABASE
from remit_infra.emulated.tls_proxy import Streams, TlsProxy, server_context

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""A client's request for TLS (PostgreSQL, "Message Formats", SSLRequest)."""

TERMINATE_CONNECTIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1"


class EmulatedDatabase:
    """A database `payments` on a port of this machine. Its files stay in `folder`."""

    def __init__(self, folder: Path, *, certificate: Path, key: Path) -> None:
        self._server = EmbeddedPostgres(folder)
        self._folder = folder
        self.password = new_secret()
        self._tls = server_context(certificate, key)
        self._proxy = TlsProxy(self._handshake)
        self._socket = ""
        self.url = ""
        self.port = 0

    def __enter__(self) -> Self:
        self.url = self._server.start()
        [host] = parse_qs(urlsplit(self.url).query)["host"]
        self._socket = f"{host}/.s.PGSQL.5432"
        try:
            self._proxy.run(self._set_up())
            self.port = self._proxy.listen()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def change_password(self, password: str) -> None:
        """New connections need this password from now on."""
        self._proxy.run(self._run(f"ALTER ROLE {ADMIN_USER} PASSWORD '{password}'"))

    def terminate_connections(self) -> None:
        """Ends every connection, as a failover does, and returns once clients are disconnected."""
        self._proxy.await_disconnects(self._run(TERMINATE_CONNECTIONS, ADMIN_USER))

    def _stop(self) -> None:
        self._proxy.stop()
        self._server.stop()

    async def _set_up(self) -> None:
        rules = self._folder / "pg_hba.conf"
        existing = rules.read_text(encoding="utf-8")
        rules.write_text(f"local all {ADMIN_USER} scram-sha-256\n{existing}", encoding="utf-8")
        await self._run("SELECT pg_reload_conf()")
        await self._run(f"CREATE ROLE {ADMIN_USER} LOGIN PASSWORD '{self.password}'")
        await self._run(f"CREATE DATABASE {DATABASE} OWNER {ADMIN_USER}")

    async def _run(self, statement: str, *args: object) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement, *args)
        finally:
            await connection.close()

    async def _handshake(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Streams | None:
        """Rejects a client that does not request TLS. PostgreSQL itself checks the password."""
        if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
            return None
        writer.write(b"S")
        await writer.start_tls(self._tls)
        return await asyncio.open_unix_connection(self._socket)
