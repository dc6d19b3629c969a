"""What Amazon RDS is, on this machine: the embedded PostgreSQL behind TLS, with a password.

The embedded server has no TLS of its own, so a front ends it here and passes the rest on.
"""

import asyncio
import ssl
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import asyncpg

from remit.adapters.embedded import EmbeddedPostgres
from remit.app import new_secret

ADMIN = "payments_admin"
DATABASE = "payments"
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""What a client sends to ask for TLS (PostgreSQL, "Message Formats", SSLRequest)."""

PIECE_BYTES = 65_536

END_CONNECTIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1"


class EmulatedDatabase:
    """An empty database `payments` on a port of this machine. Its files stay in `folder`."""

    def __init__(self, folder: Path, *, certificate: Path, key: Path) -> None:
        self._server = EmbeddedPostgres(folder)
        self._folder = folder
        self.password = new_secret()
        self._trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._trust.load_cert_chain(certificate, key)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._front: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._socket = ""
        self.url = ""
        self.port = 0

    def __enter__(self) -> Self:
        self.url = self._server.start()
        [host] = parse_qs(urlsplit(self.url).query)["host"]
        self._socket = f"{host}/.s.PGSQL.5432"
        self._thread.start()
        try:
            self._await(self._set_up())
            self._front = self._await(asyncio.start_server(self._serve, "127.0.0.1"))
        except BaseException:
            self._stop()
            raise
        self.port = self._front.sockets[0].getsockname()[1]
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
        self._await(self._end_connections())

    async def _end_connections(self) -> None:
        clients = asyncio.all_tasks() - {asyncio.current_task()}
        await self._run(END_CONNECTIONS, ADMIN)
        if clients:
            await asyncio.wait(clients)

    def _await(self, asked: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result(60)

    def _stop(self) -> None:
        self._await(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._server.stop()

    async def _end(self) -> None:
        """Ends every connection at once. Closing one politely would wait for its client."""
        if self._front is not None:
            self._front.close()
        clients = asyncio.all_tasks() - {asyncio.current_task()}
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*clients, return_exceptions=True)
        await asyncio.sleep(0)

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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client: refused without TLS, and then a pipe each way."""
        self._writers.add(writer)
        try:
            if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
                return
            writer.write(b"S")
            await writer.start_tls(self._trust)
            inner_reader, inner_writer = await asyncio.open_unix_connection(self._socket)
            self._writers.add(inner_writer)
            try:
                await _both_ways(_pipe(reader, inner_writer), _pipe(inner_reader, writer))
            finally:
                self._writers.discard(inner_writer)
        except (OSError, asyncio.IncompleteReadError):
            return  # the client went
        finally:
            writer.close()
            self._writers.discard(writer)


async def _both_ways(*pipes: Coroutine[Any, Any, None]) -> None:
    """Until either side ends: then the other has nobody to speak to."""
    running = [asyncio.ensure_future(pipe) for pipe in pipes]
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for one in running:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    finally:
        writer.close()
