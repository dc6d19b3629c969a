"""Several workers over one database: the leases of the relay and of the archive."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from remit.delivery.relay import relay
from remit.delivery.sweep import sweep
from remit.delivery.work_messages import handle_batch
from remit.domain.change import Message
from remit.domain.payment import State
from remit.oversight.audit.archiver import AuditArchiver
from remit.oversight.audit.verification import VerifiedTrail, verify
from remit.payments.process import ProcessRequest, enqueue
from remit.ports.app import App
from remit.settings import Settings
from tests.builders import caller, postgres_app, replace_parts
from tests.unit.steps import a_validated_payment, current

BY_TWO = Settings(relay_batch=2)


class Topic:
    """A slow topic, which several workers share."""

    def __init__(self) -> None:
        self.published: Counter[str] = Counter()

    async def publish(self, messages: Sequence[Message]) -> None:
        for message in messages:
            await asyncio.sleep(0)
            self.published[message.id] += 1


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.fixture
async def two(database_url: str, tmp_path: Path, topic: Topic) -> AsyncIterator[tuple[App, App]]:
    apps = [
        replace_parts(postgres_app(tmp_path, database_url, settings=BY_TWO), notifications=topic)
        for _ in range(2)
    ]
    yield apps[0], apps[1]
    for app in apps:
        await app.close()


async def lapse(connection: asyncpg.Connection) -> None:
    await connection.execute("UPDATE leases SET held_until = now()")


async def test_two_workers_at_once_send_each_message_once(
    two: tuple[App, App], topic: Topic
) -> None:
    for _ in range(20):
        await a_validated_payment(two[0])

    async def relay_all(app: App) -> None:
        while await app.delivery.outbox.oldest_created_at() is not None:
            await relay(app)

    await asyncio.gather(*(relay_all(app) for app in two))
    assert len(topic.published) == 20
    assert set(topic.published.values()) == {1}


async def test_another_worker_relays_once_the_lease_has_lapsed(
    two: tuple[App, App], connection: asyncpg.Connection
) -> None:
    first, second = two
    await a_validated_payment(first)
    leased = await first.delivery.outbox.pending(10)
    assert len(leased) == 1
    assert await second.delivery.outbox.pending(10) == []
    assert await first.delivery.outbox.pending(10) == leased  # the holder may read again at once
    await lapse(connection)
    assert await second.delivery.outbox.pending(10) == leased
    assert await first.delivery.outbox.pending(10) == []


async def test_a_lease_lapses_by_itself(
    database_url: str, tmp_path: Path, two: tuple[App, App]
) -> None:
    short = postgres_app(tmp_path, database_url, settings=Settings(lease_seconds=0.01))
    await a_validated_payment(short)
    assert len(await short.delivery.outbox.pending(10)) == 1
    async with asyncio.timeout(30):
        while not (leased := await two[0].delivery.outbox.pending(10)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert len(leased) == 1
    await short.close()


async def test_a_worker_that_ends_releases_its_lease(
    two: tuple[App, App],
) -> None:
    await a_validated_payment(two[0])
    assert len(await two[0].delivery.outbox.pending(10)) == 1
    await two[0].close()
    assert len(await two[1].delivery.outbox.pending(10)) == 1


async def test_a_read_without_rows_or_without_the_lease_writes_nothing(
    two: tuple[App, App], connection: asyncpg.Connection
) -> None:
    async def rows() -> list[asyncpg.Record]:
        return await connection.fetch("SELECT xmin::text, xmax::text, * FROM leases ORDER BY name")

    for app in two:
        assert await app.delivery.outbox.pending(10) == []
        assert await app.audit.log.unarchived(10) == []
    assert await rows() == []
    await a_validated_payment(two[0])
    await two[0].delivery.outbox.pending(10)
    await two[0].audit.log.unarchived(10)
    leases = await rows()
    assert [row["name"] for row in leases] == ["archive", "relay"]
    await two[1].delivery.outbox.pending(10)
    await two[1].audit.log.unarchived(10)
    assert await rows() == leases


async def test_a_lease_is_renewed_while_its_holder_sends(
    database_url: str, tmp_path: Path, connection: asyncpg.Connection
) -> None:
    class Slow(Topic):
        async def publish(self, messages: Sequence[Message]) -> None:
            seen: set[object] = set()
            async with asyncio.timeout(30):
                while len(seen) < 3:
                    seen.add(await connection.fetchval("SELECT held_until FROM leases"))
                    await asyncio.sleep(0.001)
            await super().publish(messages)

    slow = Slow()
    app = postgres_app(tmp_path, database_url, settings=Settings(lease_seconds=0.03))
    await a_validated_payment(app)
    assert len(await relay(replace_parts(app, notifications=slow))) == 1
    await app.close()


async def test_two_workers_that_archive_make_one_trail(
    two: tuple[App, App], connection: asyncpg.Connection
) -> None:
    first, second = (AuditArchiver(app) for app in two)
    await a_validated_payment(two[0])
    assert (await first.archive(), await second.archive()) == (1, 0)
    await a_validated_payment(two[0])
    assert await second.archive() == 0
    await lapse(connection)
    assert await second.archive() == 1
    await lapse(connection)
    await a_validated_payment(two[0])
    assert await first.archive() == 0  # its segment number is taken, so it catches up
    assert await first.archive() == 1
    verified = await verify(two[0].audit.bucket)
    assert isinstance(verified, VerifiedTrail)
    assert (verified.segments, verified.entries) == (3, 3)


async def test_two_workers_that_sweep_process_each_payment_once(two: tuple[App, App]) -> None:
    payments = [await a_validated_payment(two[0]) for _ in range(8)]
    for payment in payments:
        await enqueue(two[0], caller(), ProcessRequest(payment.id))
    shared = [replace(app, processor=two[0].processor) for app in two]
    while await relay(shared[0]):
        pass
    await asyncio.gather(*(sweep(app) for app in shared))
    while sum(await asyncio.gather(*(handle_batch(app) for app in shared))):
        pass
    for payment in payments:
        assert (await current(two[0], payment)).state is State.CAPTURED
        steps = [
            e.action
            for e in await two[0].database.reader.history(payment.id)
            if e.outcome == "done"
        ]
        assert steps == ["resolve"]
