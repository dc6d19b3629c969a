"""Idle processes: they do not read their database, and the next commit wakes them."""

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from remit.adapters.aws.wake import WakeSignal
from remit.assembly.service import assemble
from remit.domain.change import Change, Message
from remit.domain.errors import Unavailable
from remit.domain.payment import Payment
from remit.idle import IdlePolicy
from remit.oversight.health import health
from remit.ports.app import App
from remit.ports.delivery import Queue
from remit.settings import Secret, Settings, SettingsError
from tests.builders import replace_parts
from tests.unit.steps import a_validated_payment, queue_of

CHANGE = Change(audit=())


def signal_of(app: App, queue: Queue, *, every_seconds: float) -> WakeSignal:
    return WakeSignal(queue, app.clock, app.new_id, every_seconds=every_seconds)


def wakes(app: App) -> list[str]:
    return [received.message.kind for received in queue_of(app).waiting.values()]


async def test_commits_in_a_row_wake_the_workers_once(in_memory: App) -> None:
    wake = signal_of(in_memory, in_memory.delivery.queue, every_seconds=3_600)
    for _ in range(3):
        await wake(CHANGE)
    await wake.close()
    assert wakes(in_memory) == ["wake"]


async def test_a_commit_after_a_pause_wakes_the_workers_again(in_memory: App) -> None:
    wake = signal_of(in_memory, in_memory.delivery.queue, every_seconds=0.0)
    for _ in range(3):
        await wake(CHANGE)
        await wake.close()
    assert wakes(in_memory) == ["wake"] * 3


async def test_a_wake_message_that_was_not_sent_is_sent_after_the_next_commit(
    in_memory: App,
) -> None:
    class DownOnce:
        def __init__(self, queue: Queue) -> None:
            self.queue = queue
            self.is_down = True

        async def send(self, messages: Sequence[Message]) -> None:
            if self.is_down:
                self.is_down = False
                raise Unavailable("The queue cannot be reached. Try again.")
            await self.queue.send(messages)

    queue = DownOnce(in_memory.delivery.queue)
    wake = signal_of(in_memory, queue, every_seconds=3_600)  # type: ignore[arg-type]
    await wake(CHANGE)
    await wake.close()
    assert wakes(in_memory) == []
    await wake(CHANGE)
    await wake.close()
    assert wakes(in_memory) == ["wake"]


async def test_every_store_calls_its_hooks_for_committed_changes_alone(app: App) -> None:
    committed: list[Payment | None] = []

    async def hook(change: Change) -> None:
        committed.append(change.payment)

    app.store._on_commit = (hook,)  # type: ignore[attr-defined]
    payment = await a_validated_payment(app)
    stale = replace(payment, version=payment.version + 2)
    assert await app.store.commit(Change(payment=stale, audit=())) is not None
    assert await app.store.payment(payment.id) == payment
    assert committed == [payment]


@pytest.fixture
async def idle(in_memory: App) -> App:
    """A service in an idle process. Its database must not be read."""

    async def ping() -> None:
        raise AssertionError("the database was read")

    policy = IdlePolicy(0.01)
    assert not policy.is_idle
    await asyncio.sleep(0.02)
    return replace_parts(in_memory, ping=ping, idle=policy)


async def test_health_does_not_check_the_database_of_an_idle_process(idle: App) -> None:
    report = await health(idle)
    assert report.status == "healthy"
    detail = "not checked: this process is idle, and the database may have paused"
    assert report.checks["database"].detail == detail
    assert report.checks["dead_letters"].detail == "0 dead letters"


async def test_a_health_check_does_not_count_as_work(idle: App) -> None:
    before = [idle.idle.is_idle]
    await health(idle)
    before.append(idle.idle.is_idle)
    idle.idle.record_work()
    assert [*before, idle.idle.is_idle] == [True, True, False]


async def test_a_process_without_a_limit_is_never_idle() -> None:
    policy = IdlePolicy()
    policy.record_work()
    assert (policy.is_idle, policy.seconds_left()) == (False, float("inf"))


async def test_work_or_a_stop_ends_the_wait() -> None:
    policy, stop = IdlePolicy(3_600.0), asyncio.Event()
    for end in (policy.record_work, stop.set):
        waiting = asyncio.create_task(policy.wait_for_work(stop))
        await asyncio.sleep(0)
        assert not waiting.done()
        end()
        async with asyncio.timeout(30):
            await waiting


def test_a_work_queue_in_the_database_allows_no_idle_process() -> None:
    settings = Settings(database_url=Secret("postgresql://"), idle_after_seconds=300)
    with pytest.raises(SettingsError, match="REMIT_IDLE_AFTER_SECONDS needs REMIT_WORK_QUEUE_URL"):
        assemble(settings)
