"""What is well and what is not, and one alert for each change of state."""

import asyncio
from dataclasses import replace

import pytest

from remit.deliver import relay, work_once
from remit.errors import Unavailable
from remit.health import Monitor, health
from remit.ports import App
from remit.process import ProcessRequest, enqueue
from remit.settings import Settings
from tests.builders import AppFactory, caller, clock_of, processor_of
from tests.unit.arranged import a_processed, a_validated, deliver_all, queue_of, told


class Database:
    """Whether the database answers, as the test says."""

    def __init__(self) -> None:
        self.mood = "well"

    async def __call__(self) -> None:
        if self.mood == "down":
            raise Unavailable("The database cannot be reached. Try again.")
        if self.mood == "stuck":
            await asyncio.sleep(60)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def app(new_app: AppFactory, database: Database) -> App:
    return replace(new_app(settings=Settings(work_max_receives=1)), ping=database)


async def failing(app: App) -> dict[str, str | None]:
    seen = await health(app)
    return {name: check.detail for name, check in seen.checks.items() if not check.ok}


async def test_all_is_well(app: App) -> None:
    await a_processed(app)
    seen = await health(app)
    assert (seen.status, set(seen.checks)) == ("healthy", {"database", "delivery", "dead_letters"})
    assert await failing(app) == {}


async def test_a_database_that_does_not_answer_is_unhealthy(app: App, database: Database) -> None:
    database.mood = "down"
    assert (await health(app)).status == "unhealthy"
    assert await failing(app) == {"database": "The database cannot be reached. Try again."}


async def test_a_dependency_that_is_stuck_is_given_up(
    app: App, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.health.CHECK_TIMEOUT_SECONDS", 0.01)
    database.mood = "stuck"
    assert await failing(app) == {"database": "no answer in time"}


async def test_a_message_that_waits_for_more_than_a_minute_is_unhealthy(app: App) -> None:
    await a_validated(app)
    clock_of(app).advance(60)
    assert await failing(app) == {}
    clock_of(app).advance(1)
    assert await failing(app) == {"delivery": "oldest message waits 61 s"}
    assert (await health(app)).status == "unhealthy"
    await deliver_all(app)
    assert await failing(app) == {}


async def test_dead_letters_are_told_and_stop_no_payment(app: App) -> None:
    await a_dead_letter(app)
    assert await failing(app) == {"dead_letters": "1 dead letters"}
    assert (await health(app)).status == "healthy"


async def a_dead_letter(app: App) -> None:
    payment = await a_validated(app)
    await enqueue(app, caller(), ProcessRequest(payment.id))
    processor_of(app).down = True
    await relay(app)
    await work_once(app)
    assert len(queue_of(app).dead) == 1


async def test_each_change_is_alerted_once(app: App, database: Database) -> None:
    monitor = Monitor(app)
    await monitor.watch()
    assert told(app.alerts) == []
    database.mood = "down"
    for _ in range(3):
        await monitor.watch()
    await a_dead_letter(app)
    await monitor.watch()
    database.mood = "well"
    for _ in range(3):
        await monitor.watch()
    assert told(app.alerts) == [
        ("health.failing", "database: The database cannot be reached. Try again."),
        ("health.failing", "dead_letters: 1 dead letters"),
        ("health.recovered", "database"),
    ]


async def test_what_is_wrong_at_the_start_is_alerted(app: App, database: Database) -> None:
    database.mood = "down"
    await Monitor(app).watch()
    assert [kind for kind, _ in told(app.alerts)] == ["health.failing"]
