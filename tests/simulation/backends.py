"""What the simulated world stands on: a store and a queue in memory, in PostgreSQL or in DynamoDB.

The world looks at all records at once, which no port of the service can.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from os import getpid
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

import asyncpg
import boto3
import msgspec
import structlog
from moto import mock_aws
from msgspec.structs import replace

from remit.adapters.dynamodb.table import Table
from remit.adapters.files.vault import FileVault
from remit.adapters.memory.queue import MemoryQueue
from remit.adapters.memory.store import MemoryStore
from remit.adapters.postgres.embedded_server import EmbeddedPostgres
from remit.adapters.postgres.migrations import migrate
from remit.assembly.dynamodb import dynamodb_adapters
from remit.assembly.memory import assemble_in_memory
from remit.assembly.parts import Process, this_process
from remit.assembly.postgres import make_connections, postgres_adapters, postgres_queue
from remit.domain.ids import Clock
from remit.domain.ledger import Posting
from remit.domain.operation import Operation
from remit.domain.payment import Payment
from remit.ports.app import App
from remit.ports.delivery import ReceivedMessage
from remit.settings import Secret, Settings
from tests.builders import SerialClient, app_over, make_table, replace_parts, sequential_ids
from tests.simulation.loop import SimulatedLoop

CARD_SECONDS = 1_200
"""Cards are erased soon, so that one that is still needed would be missed."""

QUEUE_SECONDS = 1_800
"""Queued work expires while the processor can still be silent."""

SETTINGS = Settings(
    relay_interval_seconds=8.0,
    work_max_receives=5,
    card_retention_seconds=CARD_SECONDS,
    queue_retention_seconds=QUEUE_SECONDS,
)
REAL_SECONDS = 0.05
"""Leases and hidden messages end by the database's own clock, on which little time passes."""

TEMPLATE = "simulation_template"

T = TypeVar("T")
_numbers = count()


class Records(msgspec.Struct, frozen=True):
    """All records that the world looks at."""

    operations: list[Operation]
    payments: list[Payment]
    postings: list[Posting]
    queued: list[str]


class Backend(Protocol):
    """The service on one kind of store, shared by all processes of the world."""

    app: App

    async def records(self) -> Records: ...

    async def close(self) -> None: ...


MakeBackend = Callable[[Clock], Awaitable[Backend]]


def _process(clock: Clock, settings: Settings = SETTINGS) -> Process:
    return this_process(settings, clock, sequential_ids())


class MemoryBackend:
    """Everything in memory. The queue is a service of AWS's: its clock is right."""

    def __init__(self, clock: Clock) -> None:
        self.app = assemble_in_memory(_process(clock), None, VAULT)  # type: ignore[arg-type]

    async def records(self) -> Records:
        store, queue = self.app.store, self.app.delivery.queue
        assert isinstance(store, MemoryStore)
        assert isinstance(queue, MemoryQueue)
        return Records(
            operations=list(store.operations_by_id.values()),
            payments=list(store.payments.values()),
            postings=store.postings,
            queued=[str(received.message) for received in queue.waiting.values()],
        )

    async def close(self) -> None:
        """Nothing is open."""


async def memory_backend(clock: Clock) -> Backend:
    return MemoryBackend(clock)


ALL = {
    "operations": "SELECT coalesce(json_agg(operation), '[]')::text FROM operations",
    "payments": "SELECT coalesce(json_agg(p), '[]')::text FROM payments p",
    "postings": "SELECT coalesce(json_agg(p), '[]')::text FROM postings p",
    "queued": "SELECT coalesce(json_agg(message::text), '[]')::text FROM queue_messages "
    "WHERE dead_at IS NULL",
}


class _BriefQueue:
    """A queue whose messages are hidden only briefly, whoever hides them for longer."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def extend(self, received: ReceivedMessage, seconds: float) -> None:
        await self._queue.extend(received, min(seconds, REAL_SECONDS))


class PostgresBackend:
    """The store, the outbox and the queue in a PostgreSQL database."""

    def __init__(self, clock: Clock, url: str, drop: Callable[[], Awaitable[None]]) -> None:
        settings = replace(SETTINGS, database_url=Secret(url), lease_seconds=REAL_SECONDS)
        process = _process(clock, settings)
        connections = make_connections(process)
        database = postgres_adapters(process, connections)
        self._connection = connections.delivery
        quick = replace(
            settings, work_visibility_seconds=REAL_SECONDS, work_retry_seconds=REAL_SECONDS
        )
        queue: Any = _BriefQueue(postgres_queue(_process(clock, quick), connections.delivery))
        self.app = _outside(app_over(process, FOLDER, database, queue))
        self._drop = drop

    async def records(self) -> Records:
        read = {
            name: msgspec.json.decode(await wait_outside(self._connection.value(query)))
            for name, query in ALL.items()
        }
        return msgspec.convert(read, Records)

    async def close(self) -> None:
        await wait_outside(self.app.close())
        await wait_outside(self._drop())


def postgres_backend(server: str, template: str) -> MakeBackend:
    """On a new database of the server for each seed, made from the template."""

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(server)
        await connection.execute(statement)
        await connection.close()

    async def make(clock: Clock) -> Backend:
        name = f"simulation_{getpid()}_{next(_numbers)}"
        await wait_outside(run(f"CREATE DATABASE {name} TEMPLATE {template}"))
        return PostgresBackend(
            clock,
            server.replace("/postgres?", f"/{name}?"),
            lambda: run(f"DROP DATABASE {name} WITH (FORCE)"),
        )

    return make


class DynamoBackend:
    """The store and the outbox in a DynamoDB table of its own, and the queue in memory."""

    def __init__(self, clock: Clock, client: Any) -> None:
        process = _process(clock)
        self._table = Table(client, f"simulation-{next(_numbers)}")
        self._client = client
        make_table(client, self._table.name)
        database = dynamodb_adapters(process, self._table)
        self.app = _outside(app_over(process, FOLDER, database))

    async def records(self) -> Records:
        items: list[Any] = []
        start: dict[str, Any] = {}
        while True:
            page = self._client.scan(TableName=self._table.name, **start)
            items += page["Items"]
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        kinds: dict[str, list[Any]] = {"operation": [], "payment": [], "ledger": []}
        for item in items:
            kind = item["kind"]["S"]
            if kind in kinds:
                kinds[kind].append(msgspec.json.decode(item["data"]["S"]))
        queue = self.app.delivery.queue
        assert isinstance(queue, MemoryQueue)
        queued = [str(received.message) for received in queue.waiting.values()]
        read = {
            "operations": kinds["operation"],
            "payments": kinds["payment"],
            "postings": [posting for lines in kinds["ledger"] for posting in lines],
            "queued": queued,
        }
        return msgspec.convert(read, Records)

    async def close(self) -> None:
        """Nothing is open."""


@contextmanager
def on_postgres() -> Iterator[MakeBackend]:
    """On a PostgreSQL server of its own, which ends with the block."""

    async def make_template(url: str) -> None:
        for statements in (lambda c: c.execute(f"CREATE DATABASE {TEMPLATE}"), migrate):
            connection = await asyncpg.connect(url)
            await statements(connection)
            await connection.close()
            url = url.replace("/postgres?", f"/{TEMPLATE}?")

    server = EmbeddedPostgres(FOLDER / "postgres")
    url = server.start()
    try:
        asyncio.run(make_template(url))
        yield postgres_backend(url, TEMPLATE)
    finally:
        server.stop()


@contextmanager
def on_dynamodb() -> Iterator[MakeBackend]:
    """On a simulated DynamoDB in this process."""
    with mock_aws():
        session = boto3.Session("testing", "testing", region_name="us-east-1")
        client = SerialClient(session.client("dynamodb"))

        async def make(clock: Clock) -> Backend:
            return DynamoBackend(clock, client)

        yield make


async def wait_outside(call: Awaitable[T]) -> T:
    """Waits for a call that is not simulated. Until it returns, the world's time stands still."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    loop.calls_outside += 1
    try:
        return await call
    finally:
        loop.calls_outside -= 1


class _Outside:
    """A port whose calls leave the simulation."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not asyncio.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **named: Any) -> Any:
            return await wait_outside(method(*args, **named))

        setattr(self, name, call)
        return call


def _outside(app: App) -> App:
    ports = {
        "store": app.store,
        "reader": app.database.reader,
        "outbox": app.delivery.outbox,
        "queue": app.delivery.queue,
        "failed": app.delivery.failed,
    }
    in_memory = {name for name, port in ports.items() if isinstance(port, MemoryQueue)}
    return replace_parts(
        app, **{name: _Outside(port) for name, port in ports.items() if name not in in_memory}
    )


structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
_folder = TemporaryDirectory(prefix="remit-simulation-")
FOLDER = Path(_folder.name)
VAULT = FileVault(FOLDER / "vault.key")
