"""What Amazon RDS is, on this machine: the embedded PostgreSQL behind TLS, with a password.

The embedded server has no TLS of its own, so a front ends it here and passes the rest on.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import asyncpg

from remit.adapters.postgres.embedded import EmbeddedPostgres
from remit.clock_and_ids import new_secret
from remit_infra.emulated.tls_proxy import Streams, TlsProxy, server_context

ADMIN = "payments_admin"
DATABASE = "payments"
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""What a client sends to ask for TLS (PostgreSQL, "Message Formats", SSLRequest)."""

END_CONNECTIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1"


class EmulatedDatabase:
    """An empty database `payments` on a port of this machine. Its files stay in `folder`."""

    def __init__(self, folder: Path, *, certificate: Path, key: Path) -> None:
        self._server = EmbeddedPostgres(folder)
        self._folder = folder
        self.password = new_secret()
        self._trust = server_context(certificate, key)
        self._front = TlsProxy(self._let_in)
        self._socket = ""
        self.url = ""
        self.port = 0

    def __enter__(self) -> Self:
        self.url = self._server.start()
        [host] = parse_qs(urlsplit(self.url).query)["host"]
        self._socket = f"{host}/.s.PGSQL.5432"
        try:
            self._await(self._set_up())
            self.port = self._front.listen()
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
        """From now on only this one is right, for whoever connects anew."""
        self._await(self._run(f"ALTER ROLE {ADMIN} PASSWORD '{password}'"))

    def end_connections(self) -> None:
        """As a failover does. When this returns, every client has been sent the end."""
        self._front.end_clients(self._run(END_CONNECTIONS, ADMIN))

    def _await(self, asked: Coroutine[Any, Any, Any]) -> Any:
        return self._front.run(asked)

    def _stop(self) -> None:
        self._front.stop()
        self._server.stop()

    async def _set_up(self) -> None:
        rules = self._folder / "pg_hba.conf"
        kept = rules.read_text(encoding="utf-8")
        rules.write_text(f"local all {ADMIN} scram-sha-256\n{kept}", encoding="utf-8")
        await self._run("SELECT pg_reload_conf()")
        await self._run(f"CREATE ROLE {ADMIN} LOGIN PASSWORD '{self.password}'")
        await self._run(f"CREATE DATABASE {DATABASE} OWNER {ADMIN}")

    async def _run(self, statement: str, *args: object) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement, *args)
        finally:
            await connection.close()

    async def _let_in(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Streams | None:
        """A client that asks for TLS. The server itself asks for the password."""
        if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
            return None
        writer.write(b"S")
        await writer.start_tls(self._trust)
        return await asyncio.open_unix_connection(self._socket)
