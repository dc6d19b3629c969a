"""Health checks, and the monitor's one alert for each change of a check."""

import asyncio

import pytest

from remit.adapters.memory.services import MemoryHealthStates
from remit.delivery.relay import relay
from remit.delivery.work_messages import handle_batch
from remit.domain.errors import Unavailable
from remit.domain.health_state import Check, HealthState
from remit.oversight.health import Monitor, health
from remit.payments.process import ProcessRequest, enqueue
from remit.ports.app import App
from remit.settings import Settings
from tests.builders import AppFactory, caller, clock_of, processor_of, replace_parts
from tests.unit.steps import (
    a_processed_payment,
    a_validated_payment,
    handle_all,
    published,
    queue_of,
)


class Database:
    """A ping of the database that succeeds, fails or hangs, as the test sets it."""

    def __init__(self) -> None:
        self.condition = "well"

    async def __call__(self) -> None:
        if self.condition == "down":
            raise Unavailable("The database cannot be reached. Try again.")
        if self.condition == "hanging":
            await asyncio.sleep(60)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def app(new_app: AppFactory, database: Database) -> App:
    return replace_parts(new_app(settings=Settings(work_max_receives=1)), ping=database)


async def failing(app: App) -> dict[str, str | None]:
    report = await health(app)
    return {name: check.detail for name, check in report.checks.items() if not check.ok}


async def test_a_service_without_a_failing_check_is_healthy(app: App) -> None:
    await a_processed_payment(app)
    report = await health(app)
    checks = {"database", "delivery", "dead_letters", "monitor"}
    assert (report.status, set(report.checks)) == ("healthy", checks)
    assert await failing(app) == {}


async def test_a_database_that_does_not_answer_is_unhealthy(app: App, database: Database) -> None:
    database.condition = "down"
    assert (await health(app)).status == "unhealthy"
    assert await failing(app) == {"database": "The database cannot be reached. Try again."}


async def test_a_check_that_hangs_times_out(
    app: App, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.oversight.health.CHECK_TIMEOUT_SECONDS", 0.01)
    database.condition = "hanging"
    assert await failing(app) == {"database": "no answer in time"}


async def test_a_message_that_waits_for_more_than_a_minute_is_unhealthy(app: App) -> None:
    await a_validated_payment(app)
    clock_of(app).advance(60)
    assert await failing(app) == {}
    clock_of(app).advance(1)
    assert await failing(app) == {"delivery": "oldest message waits 61 s"}
    assert (await health(app)).status == "unhealthy"
    await handle_all(app)
    assert await failing(app) == {}


async def test_dead_letters_fail_a_check_and_leave_the_service_healthy(app: App) -> None:
    await a_dead_letter(app)
    assert await failing(app) == {"dead_letters": "1 dead letters"}
    assert (await health(app)).status == "healthy"


async def a_dead_letter(app: App) -> None:
    payment = await a_validated_payment(app)
    await enqueue(app, caller(), ProcessRequest(payment.id))
    processor_of(app).down = True
    await relay(app)
    await handle_batch(app)
    assert len(queue_of(app).dead) == 1


async def test_each_change_of_a_check_is_alerted_once(app: App, database: Database) -> None:
    monitor = Monitor(app)
    await monitor.check()
    assert published(app.delivery.alerts) == []
    database.condition = "down"
    for _ in range(3):
        await monitor.check()
    await a_dead_letter(app)
    await monitor.check()
    database.condition = "well"
    for _ in range(3):
        await monitor.check()
    assert published(app.delivery.alerts) == [
        ("health.failing", "database: The database cannot be reached. Try again."),
        ("health.failing", "dead_letters: 1 dead letters"),
        ("health.recovered", "database"),
    ]


async def test_a_check_that_fails_at_the_first_run_is_alerted(app: App, database: Database) -> None:
    database.condition = "down"
    await Monitor(app).check()
    assert [kind for kind, _ in published(app.delivery.alerts)] == ["health.failing"]


async def test_an_alert_is_sent_once_however_often_the_monitor_starts(
    app: App, database: Database
) -> None:
    for condition in ("down", "down", "well", "well"):
        database.condition = condition
        await Monitor(app).check()
        clock_of(app).advance(60)
    kinds = [kind for kind, _ in published(app.delivery.alerts)]
    assert kinds == ["health.failing", "health.recovered"]


async def test_monitors_at_once_alert_once(app: App, database: Database) -> None:
    database.condition = "down"
    await asyncio.gather(*(Monitor(app).check() for _ in range(5)))
    assert len(published(app.delivery.alerts)) == 1


async def test_an_alert_that_was_not_sent_is_sent_by_the_next_monitor(
    app: App, database: Database
) -> None:
    class Down:
        async def publish(self, messages: object) -> None:
            raise Unavailable("The topic cannot be reached. Try again.")

    database.condition = "down"
    with pytest.raises(Unavailable):
        await Monitor(replace_parts(app, alerts=Down())).check()
    await Monitor(app).check()
    assert published(app.delivery.alerts) == []
    clock_of(app).advance(31)
    for _ in range(2):
        await Monitor(app).check()
    assert [kind for kind, _ in published(app.delivery.alerts)] == ["health.failing"]


async def test_a_store_that_goes_down_and_recovers_is_alerted_once_each(
    app: App, database: Database
) -> None:
    class UnreliableStates(MemoryHealthStates):
        async def latest(self) -> HealthState:
            await database()
            return await super().latest()

        async def record(self, state: HealthState) -> bool:
            await database()
            return await super().record(state)

    app = replace_parts(app, health_states=UnreliableStates())
    monitor = Monitor(app)
    for condition in ("well", "down", "down", "well", "well"):
        database.condition = condition
        await monitor.check()
        clock_of(app).advance(5)
    assert [kind for kind, _ in published(app.delivery.alerts)] == [
        "health.failing",
        "health.recovered",
    ]


async def test_health_reports_the_monitors_metrics_until_they_are_old(app: App) -> None:
    errors = Check(ok=False, detail="12, and 10 is the most")

    async def measures() -> dict[str, Check]:
        return {"api-errors": errors, "api-latency": Check(ok=True)}

    app = replace_parts(app, measures=measures)
    assert (await health(app)).checks["monitor"].detail == "has not run yet"
    assert (await Monitor(app).check()).status == "unhealthy"
    assert await failing(app) == {"monitor": "api-errors: 12, and 10 is the most"}
    assert (await health(app)).status == "unhealthy"
    clock_of(app).advance(301)
    assert (await health(app)).checks["monitor"].detail == "has not run for 301 s"
    errors = Check(ok=True)
    await Monitor(app).check()
    assert (await health(app)).checks["monitor"] == Check(ok=True, detail="ran 0 s ago")
    assert [kind for kind, _ in published(app.delivery.alerts)] == [
        "health.failing",
        "health.recovered",
    ]


async def test_metrics_that_cannot_be_read_are_a_failing_check(app: App) -> None:
    async def measures() -> dict[str, Check]:
        raise Unavailable("AWS cannot be reached. Try again.")

    report = await Monitor(replace_parts(app, measures=measures)).check()
    assert report.checks["metrics"] == Check(ok=False, detail="AWS cannot be reached. Try again.")
