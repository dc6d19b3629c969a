"""One PostgreSQL server for the whole run, and an empty, migrated database for each test."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import asyncpg
import boto3
import pytest
from moto import mock_aws

from remit.adapters.postgres.embedded_server import EmbeddedPostgres
from remit.adapters.postgres.migrations import migrate
from remit.ports.app import App
from remit_infra.emulated.cache import EmulatedCache
from remit_infra.emulated.certificate import make_certificate
from tests.builders import AppFactory, SerialClient, dynamodb_app, memory_app, postgres_app

TEMPLATE = "remit_template"
SIGNER = "testing"

_numbers = count()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[str]:
    """The URL of a server that all xdist workers share. The first worker starts it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    server = EmbeddedPostgres(shared / "postgres")
    users = shared / "postgres.users"
    with _locked(shared):
        url = server.start()
        running = int(users.read_text()) if users.exists() else 0
        if running == 0:
            asyncio.run(_make_template(url))
        users.write_text(str(running + 1))
    yield url
    with _locked(shared):
        running = int(users.read_text()) - 1
        users.write_text(str(running))
        if running == 0:
            server.stop()


@pytest.fixture(autouse=True)
def credentials() -> Iterator[None]:
    """Resets boto3's default session, which would keep the credentials of an earlier test."""
    yield
    boto3.DEFAULT_SESSION = None


@pytest.fixture
async def database_url(postgres_server: str, worker_id: str) -> AsyncIterator[str]:
    """A database of its own: empty, migrated, dropped afterwards."""
    name = f"test_{worker_id}_{next(_numbers)}"
    await _run(postgres_server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield postgres_server.replace("/postgres?", f"/{name}?")
    await _run(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def cache_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedCache]:
    """A Redis for the tests of one module."""
    folder = tmp_path_factory.mktemp("cache")
    certificate, key = folder / "cache.pem", folder / "cache.key"
    make_certificate(certificate, key)
    with EmulatedCache(certificate=certificate, key=key, access_keys={SIGNER: SIGNER}) as running:
        yield running


@pytest.fixture
def cache(cache_server: EmulatedCache, monkeypatch: pytest.MonkeyPatch) -> EmulatedCache:
    """That Redis, empty, with the credentials to sign for it.

    Its time limits are long, so that a busy machine fails no test.
    """
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, SIGNER)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for limit in ("CONNECT_SECONDS", "RESPONSE_SECONDS"):
        monkeypatch.setattr(f"remit.adapters.redis.connection.{limit}", 20.0)
    cache_server.restart()
    return cache_server


@pytest.fixture
def in_memory(tmp_path: Path) -> App:
    return memory_app(tmp_path)


@pytest.fixture
async def on_postgres(database_url: str, tmp_path: Path) -> AsyncIterator[App]:
    app = postgres_app(tmp_path, database_url)
    yield app
    await app.close()


@pytest.fixture
def on_dynamodb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield dynamodb_app(
            tmp_path, SerialClient(boto3.client("dynamodb", region_name="us-east-1"))
        )


@pytest.fixture(params=["in_memory", "on_postgres", "on_dynamodb"])
def app(request: pytest.FixtureRequest) -> App:
    """The service, once over each store."""
    app: App = request.getfixturevalue(request.param)
    return app


@pytest.fixture
def new_app(tmp_path: Path) -> AppFactory:
    """Makes a service over memory with settings of the test's own."""
    return lambda **settings: memory_app(tmp_path, **settings)


async def _make_template(url: str) -> None:
    # The tests check commits and no power cuts, so the server does not flush. One test turns it on.
    await _run(url, "ALTER SYSTEM SET fsync = off")
    await _run(url, "SELECT pg_reload_conf()")
    await _run(url, f"DROP DATABASE IF EXISTS {TEMPLATE}")
    await _run(url, f"CREATE DATABASE {TEMPLATE}")
    connection = await asyncpg.connect(url.replace("/postgres?", f"/{TEMPLATE}?"))
    try:
        await migrate(connection)
    finally:
        await connection.close()


async def _run(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


class _locked:  # noqa: N801 - reads as the verb it is
    """Holds a lock that the xdist workers of one run share."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "postgres.lock"

    def __enter__(self) -> None:
        self._file = self._path.open("a")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *exc: object) -> None:
        self._file.close()
