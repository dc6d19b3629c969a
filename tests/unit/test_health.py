"""What is well and what is not, and one alert for each change of state."""

import asyncio

import pytest

from remit.adapters.memory.services import MemoryHealthStates
from remit.delivery.relay import consume_batch, relay
from remit.domain.errors import Unavailable
from remit.domain.health_state import Check, HealthState
from remit.oversight.health import Monitor, health
from remit.payments.process import ProcessRequest, enqueue
from remit.ports.app import App
from remit.settings import Settings
from tests.builders import AppFactory, caller, clock_of, processor_of, rewired
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
    return rewired(new_app(settings=Settings(work_max_receives=1)), ping=database)


async def failing(app: App) -> dict[str, str | None]:
    seen = await health(app)
    return {name: check.detail for name, check in seen.checks.items() if not check.ok}


async def test_all_is_well(app: App) -> None:
    await a_processed(app)
    seen = await health(app)
    checks = {"database", "delivery", "dead_letters", "monitor"}
    assert (seen.status, set(seen.checks)) == ("healthy", checks)
    assert await failing(app) == {}


async def test_a_database_that_does_not_answer_is_unhealthy(app: App, database: Database) -> None:
    database.mood = "down"
    assert (await health(app)).status == "unhealthy"
    assert await failing(app) == {"database": "The database cannot be reached. Try again."}


async def test_a_dependency_that_is_stuck_is_given_up(
    app: App, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.oversight.health.CHECK_TIMEOUT_SECONDS", 0.01)
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
    await consume_batch(app)
    assert len(queue_of(app).buried) == 1


async def test_each_change_is_alerted_once(app: App, database: Database) -> None:
    monitor = Monitor(app)
    await monitor.watch()
    assert told(app.delivery.alerts) == []
    database.mood = "down"
    for _ in range(3):
        await monitor.watch()
    await a_dead_letter(app)
    await monitor.watch()
    database.mood = "well"
    for _ in range(3):
        await monitor.watch()
    assert told(app.delivery.alerts) == [
        ("health.failing", "database: The database cannot be reached. Try again."),
        ("health.failing", "dead_letters: 1 dead letters"),
        ("health.recovered", "database"),
    ]


async def test_what_is_wrong_at_the_start_is_alerted(app: App, database: Database) -> None:
    database.mood = "down"
    await Monitor(app).watch()
    assert [kind for kind, _ in told(app.delivery.alerts)] == ["health.failing"]


async def test_an_alert_is_sent_once_however_often_the_monitor_starts(
    app: App, database: Database
) -> None:
    for mood in ("down", "down", "well", "well"):
        database.mood = mood
        await Monitor(app).watch()
        clock_of(app).advance(60)
    kinds = [kind for kind, _ in told(app.delivery.alerts)]
    assert kinds == ["health.failing", "health.recovered"]


async def test_two_monitors_at_once_alert_once(app: App, database: Database) -> None:
    database.mood = "down"
    await asyncio.gather(*(Monitor(app).watch() for _ in range(5)))
    assert len(told(app.delivery.alerts)) == 1


async def test_an_alert_that_was_not_sent_is_sent_by_the_next_monitor(
    app: App, database: Database
) -> None:
    class Down:
        async def publish(self, messages: object) -> None:
            raise Unavailable("The topic cannot be reached. Try again.")

    database.mood = "down"
    with pytest.raises(Unavailable):
        await Monitor(rewired(app, alerts=Down())).watch()
    await Monitor(app).watch()
    assert told(app.delivery.alerts) == []
    clock_of(app).advance(31)
    for _ in range(2):
        await Monitor(app).watch()
    assert [kind for kind, _ in told(app.delivery.alerts)] == ["health.failing"]


async def test_a_store_that_is_down_is_alerted_once_and_its_return_too(
    app: App, database: Database
) -> None:
    class Forgetful(MemoryHealthStates):
        async def latest(self) -> HealthState:
            await database()
            return await super().latest()

        async def record(self, verdict: HealthState) -> bool:
            await database()
            return await super().record(verdict)

    app = rewired(app, health_states=Forgetful())
    monitor = Monitor(app)
    for mood in ("well", "down", "down", "well", "well"):
        database.mood = mood
        await monitor.watch()
        clock_of(app).advance(5)
    assert [kind for kind, _ in told(app.delivery.alerts)] == ["health.failing", "health.recovered"]


async def test_what_the_monitor_measures_is_in_the_answer_until_it_is_old(app: App) -> None:
    errors = Check(ok=False, detail="12, and 10 is the most")

    async def measures() -> dict[str, Check]:
        return {"api-errors": errors, "api-latency": Check(ok=True)}

    app = rewired(app, measures=measures)
    assert (await health(app)).checks["monitor"].detail == "has not looked yet"
    assert (await Monitor(app).watch()).status == "unhealthy"
    assert await failing(app) == {"monitor": "api-errors: 12, and 10 is the most"}
    assert (await health(app)).status == "unhealthy"
    clock_of(app).advance(301)
    assert (await health(app)).checks["monitor"].detail == "has not looked for 301 s"
    errors = Check(ok=True)
    await Monitor(app).watch()
    assert (await health(app)).checks["monitor"] == Check(ok=True, detail="looked 0 s ago")
    assert [kind for kind, _ in told(app.delivery.alerts)] == ["health.failing", "health.recovered"]


async def test_metrics_that_cannot_be_read_are_a_failure_of_their_own(app: App) -> None:
    async def measures() -> dict[str, Check]:
        raise Unavailable("AWS cannot be reached. Try again.")

    seen = await Monitor(rewired(app, measures=measures)).watch()
    assert seen.checks["metrics"] == Check(ok=False, detail="AWS cannot be reached. Try again.")
