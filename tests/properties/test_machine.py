"""Memory and PostgreSQL are driven side by side through whatever can be asked, repeated or fail.

After each step the books balance, no limit is passed, and both sides agree. At the end, with the
faults over, everything comes to rest and service, processor, books and audit trail agree.

For a longer run: REMIT_EXAMPLES=2000 pytest tests/properties/test_machine.py
"""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from remit.domain.change import Caller
from remit.payments.process import (
    ProcessRequest,
    authorize,
    cancel,
    capture,
    enqueue,
    process,
)
from remit.payments.refund import refund
from remit.payments.results import StepResult
from remit.payments.validate import CardInput, validate
from remit.ports.app import App
from remit.settings import Settings
from tests.builders import (
    DECLINED_CARD,
    GOOD_CARD,
    caller,
    clock_of,
    key_of,
    memory_app,
    order,
    postgres_app,
    processor_of,
)
from tests.conftest import TEMPLATE
from tests.properties.side import PORTS, Side

SETTINGS = Settings(work_visibility_seconds=0.001, work_retry_seconds=0.001, archive_batch=5)

Step = Callable[[Side, str], Awaitable[StepResult]]
"""A call of a use case, made on one side under a request id."""

cards = st.sampled_from([GOOD_CARD, GOOD_CARD, DECLINED_CARD])
keys = st.sampled_from([None, None, "k1", "k2", "k3"])
numbers = st.integers(0, 30)
parts = st.sampled_from([None, 1, 40, 60, 100, 101])


class SideBySide(RuleBasedStateMachine):
    """Each rule takes the same step on both sides."""

    server: str
    databases = count()

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.database = f"machine_{os.getpid()}_{next(self.databases)}"
        self.runner.run(
            execute(self.server, f"CREATE DATABASE {self.database} TEMPLATE {TEMPLATE}")
        )
        url = self.server.replace("/postgres?", f"/{self.database}?")
        folders = [Path(self.folder.name, name) for name in ("memory", "postgres")]
        for folder in folders:
            folder.mkdir()
        self.sides = [
            Side(memory_app(folders[0], settings=SETTINGS)),
            Side(postgres_app(folders[1], url, settings=SETTINGS)),
        ]
        self.requests = count()
        self.steps: list[tuple[str, Step]] = []
        self.raced = False

    def teardown(self) -> None:
        try:
            self.runner.run(self.come_to_rest())
        finally:
            for side in self.sides:
                self.runner.run(closed(side))
            self.runner.run(execute(self.server, f"DROP DATABASE {self.database}"))
            self.runner.close()
            self.folder.cleanup()

    async def come_to_rest(self) -> None:
        for side in self.sides:
            await side.come_to_rest()
        if not self.raced:
            assert await self.sides[0].states() == await self.sides[1].states()

    @initialize()
    def one_payment(self) -> None:
        self.take("validate", lambda side, id_: validate(*of(side, id_), order("1.00"), None))

    @rule(amount=st.sampled_from(["1.00", "0.60"]), card=cards, key=keys, reference=keys)
    def validate(self, amount: str, card: str, key: str | None, reference: str | None) -> None:
        wanted = order(amount, card=card, reference=reference)
        self.take(
            "validate", lambda side, id_: validate(*of(side, id_), wanted, key_of("validate", key))
        )

    @rule(number=numbers, key=keys, card=st.none() | cards)
    def process(self, number: int, key: str | None, card: str | None) -> None:
        self.take("process", processing(number, key, card))

    @rule(number=numbers, key=keys, card=st.none() | cards)
    def enqueue(self, number: int, key: str | None, card: str | None) -> None:
        def step(side: Side, id_: str) -> Awaitable[StepResult]:
            return enqueue(*of(side, id_), request(side, number, card), key_of("process", key))

        self.take("process", step)

    @rule(number=numbers, key=keys)
    def authorize(self, number: int, key: str | None) -> None:
        self.take(
            "authorize",
            lambda side, id_: authorize(
                *of(side, id_), request(side, number, None), key_of("authorize", key)
            ),
        )

    @rule(number=numbers, part=parts, final=st.booleans(), key=keys)
    def capture(self, number: int, part: int | None, final: bool, key: str | None) -> None:
        self.take("capture", capturing(number, part, final, key))

    @rule(number=numbers, key=keys)
    def cancel(self, number: int, key: str | None) -> None:
        self.take("cancel", canceling(number, key))

    @rule(number=numbers, part=parts, key=keys)
    def refund(self, number: int, part: int | None, key: str | None) -> None:
        self.take("refund", refunding(number, part, key))

    @precondition(lambda self: self.steps)
    @rule(back=st.integers(1, 5))
    def repeat(self, back: int) -> None:
        self.take(*self.steps[-min(back, len(self.steps))])

    @rule(
        number=numbers,
        key=keys,
        together=st.lists(
            st.sampled_from(["process", "capture", "cancel", "refund"]), min_size=2, max_size=4
        ),
    )
    def at_once(self, number: int, key: str | None, together: list[str]) -> None:
        """Several steps on one payment at the same moment: who wins may differ between sides."""
        makers: dict[str, Callable[[], Step]] = {
            "process": lambda: processing(number, key, None),
            "capture": lambda: capturing(number, 60, False, key),
            "cancel": lambda: canceling(number, key),
            "refund": lambda: refunding(number, 60, key),
        }
        calls = [(f"r{next(self.requests)}", action, makers[action]()) for action in together]

        async def race(side: Side) -> None:
            await asyncio.gather(
                *(
                    side.attempt(id_, action, step(side, id_), alone=False)
                    for id_, action, step in calls
                )
            )

        self.raced = True
        self.on_both(race)

    @rule(
        job=st.sampled_from(["relay", "work", "sweep", "archive", "expire"]),
        fault=st.none() | st.tuples(st.sampled_from(PORTS), st.sampled_from(["before", "after"])),
    )
    def deliver(self, job: str, fault: tuple[str, Any] | None) -> None:
        if fault is not None:
            self.fail_next(*fault)
        self.on_both(lambda side: side.deliver(job))

    @rule(seconds=st.sampled_from([1, 11, 16, 61, 700_000]))
    def wait(self, seconds: int) -> None:
        for side in self.sides:
            clock_of(side.app).advance(seconds)

    @rule(fault=st.tuples(st.sampled_from(PORTS), st.sampled_from(["before", "after"])))
    def fail(self, fault: tuple[str, Any]) -> None:
        self.fail_next(*fault)

    def fail_next(self, port: str, when: Any) -> None:
        for side in self.sides:
            side.faulty[port].fault = when

    @rule(fault=st.sampled_from(["timeout", "lost", "down"]))
    def fail_processor(self, fault: Any) -> None:
        for side in self.sides:
            processor_of(side.app).faults.append(fault)

    @invariant()
    def all_is_right(self) -> None:
        self.on_both(lambda side: side.check())
        if not self.raced:
            memory, postgres = (self.runner.run(side.states()) for side in self.sides)
            assert memory == postgres

    def take(self, action: str, step: Step) -> None:
        """One step on both sides, which must end in the same way."""
        id_ = f"r{next(self.requests)}"
        ends = [
            self.runner.run(side.attempt(id_, action, step(side, id_), alone=True))
            for side in self.sides
        ]
        assert self.raced or ends[0] == ends[1]
        self.steps.append((action, step))

    def on_both(self, step: Callable[[Side], Awaitable[None]]) -> None:
        async def take(side: Side) -> None:
            await step(side)

        for side in self.sides:
            self.runner.run(take(side))


def of(side: Side, id_: str) -> tuple[App, Caller]:
    return side.app, caller(request_id=id_)


def chosen(side: Side, number: int) -> str:
    return side.made[number % len(side.made)] if side.made else "none"


def request(side: Side, number: int, card: str | None) -> ProcessRequest:
    return ProcessRequest(chosen(side, number), card and CardInput(card, 12, 2030))


def processing(number: int, key: str | None, card: str | None) -> Step:
    return lambda side, id_: process(
        *of(side, id_), request(side, number, card), key_of("process", key)
    )


def capturing(number: int, part: int | None, final: bool, key: str | None) -> Step:
    return lambda side, id_: capture(
        *of(side, id_),
        chosen(side, number),
        amount_minor=part,
        final=final,
        key=key_of("capture", key),
    )


def canceling(number: int, key: str | None) -> Step:
    return lambda side, id_: cancel(*of(side, id_), chosen(side, number), key=key_of("cancel", key))


def refunding(number: int, part: int | None, key: str | None) -> Step:
    return lambda side, id_: refund(
        *of(side, id_), chosen(side, number), amount_minor=part, key=key_of("refund", key)
    )


async def closed(side: Side) -> None:
    await side.app.close()


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_and_postgres_hold_the_same_promises(postgres_server: str) -> None:
    SideBySide.server = postgres_server
    run_state_machine_as_test(
        SideBySide,
        settings=settings(
            max_examples=int(os.environ.get("REMIT_EXAMPLES", "60")),
            stateful_step_count=30,
            derandomize="REMIT_EXAMPLES" not in os.environ,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
