"""A database that may pause: what is asked of it, and who is told when it is used again."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from remit.adapters.aws.wake import WakingStore
from remit.assembly.service import assemble
from remit.domain.change import Change, Message
from remit.domain.errors import Unavailable
from remit.idle import is_look
from remit.oversight.health import health
from remit.ports.app import App
from remit.settings import Secret, Settings, SettingsError
from tests.unit.arranged import a_validated, queue_of


def waking(app: App, *, every_seconds: float) -> tuple[App, WakingStore]:
    store = WakingStore(app.store, app.queue, app.clock, app.new_id, every_seconds=every_seconds)
    return replace(app, store=store), store


def wakes(app: App) -> list[str]:
    return [delivery.message.kind for delivery in queue_of(app).waiting.values()]


async def test_a_write_after_a_silence_wakes_the_workers_once(in_memory: App) -> None:
    app, store = waking(in_memory, every_seconds=3_600)
    for _ in range(3):
        await a_validated(app)
    await store.close()
    assert wakes(app) == ["wake"]


async def test_each_silence_ends_with_a_wake(in_memory: App) -> None:
    app, store = waking(in_memory, every_seconds=0.0)
    for _ in range(3):
        await a_validated(app)
        await store.close()
    assert wakes(app) == ["wake"] * 3


async def test_a_read_or_a_write_that_failed_wakes_nobody(in_memory: App) -> None:
    payment = await a_validated(in_memory)
    app, store = waking(in_memory, every_seconds=0.0)
    assert await store.payment(payment.id) == payment
    assert await store.refund(payment.id) is None
    assert await store.payment_by_reference("acme", "test", "r") is None
    assert await store.commit(Change(payment=payment, audit=())) is not None
    await store.close()
    assert wakes(app) == []


async def test_a_wake_that_was_not_sent_fails_no_write_and_is_sent_after_the_next(
    in_memory: App,
) -> None:
    class Down:
        async def send(self, messages: Sequence[Message]) -> None:
            raise Unavailable("The queue cannot be reached. Try again.")

    app, store = waking(replace(in_memory, queue=Down()), every_seconds=3_600)  # type: ignore[arg-type]
    await a_validated(app)
    await store.close()
    store._queue = in_memory.queue
    await a_validated(app)
    await store.close()
    assert wakes(in_memory) == ["wake"]


async def test_health_does_not_wake_a_database_that_rests(in_memory: App) -> None:
    async def ping() -> None:
        raise AssertionError("asked")

    seen = await health(replace(in_memory, ping=ping, is_idle=lambda: True))
    assert seen.status == "healthy"
    assert seen.checks["database"].detail == "not asked: the database rests"
    assert seen.checks["dead_letters"].detail == "0 dead letters"


async def test_health_is_a_look_and_no_use(in_memory: App) -> None:
    looks = []

    async def ping() -> None:
        looks.append(is_look())

    app = replace(in_memory, ping=ping)
    await health(app)
    await asyncio.create_task(app.ping())  # type: ignore[arg-type]
    assert looks == [True, False]


def test_a_queue_in_the_database_knows_no_rest() -> None:
    settings = Settings(database_url=Secret("postgresql://"), idle_after_seconds=300)
    with pytest.raises(SettingsError, match="REMIT_IDLE_AFTER_SECONDS"):
        assemble(settings)
