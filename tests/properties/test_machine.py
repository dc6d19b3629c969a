"""Takes random steps, repeats and faults over memory and over PostgreSQL at once.

After each step the books balance, no limit is exceeded, and both stores agree. At the end the
faults stop, all work is done, and service, processor, books and audit trail agree.

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

from remit.domain.caller import Caller
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
from tests.properties.harness import PORTS, Harness

SETTINGS = Settings(work_visibility_seconds=0.001, work_retry_seconds=0.001, archive_batch=5)

Step = Callable[[Harness, str], Awaitable[StepResult]]
"""A call of a use case in one harness, under a request id."""

cards = st.sampled_from([GOOD_CARD, GOOD_CARD, DECLINED_CARD])
keys = st.sampled_from([None, None, "k1", "k2", "k3"])
numbers = st.integers(0, 30)
parts = st.sampled_from([None, 1, 40, 60, 100, 101])


class SideBySide(RuleBasedStateMachine):
    """Each rule takes the same step in both harnesses."""

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
        self.harnesses = [
            Harness(memory_app(folders[0], settings=SETTINGS)),
            Harness(postgres_app(folders[1], url, settings=SETTINGS)),
        ]
        self.requests = count()
        self.steps: list[tuple[str, Step]] = []
        self.raced = False

    def teardown(self) -> None:
        try:
            self.runner.run(self.drain())
        finally:
            for harness in self.harnesses:
                self.runner.run(close(harness))
            self.runner.run(execute(self.server, f"DROP DATABASE {self.database}"))
            self.runner.close()
            self.folder.cleanup()

    async def drain(self) -> None:
        for harness in self.harnesses:
            await harness.drain()
        if not self.raced:
            assert await self.harnesses[0].states() == await self.harnesses[1].states()

    @initialize()
    def one_payment(self) -> None:
        self.take("validate", lambda harness, id_: validate(*of(harness, id_), order("1.00"), None))

    @rule(amount=st.sampled_from(["1.00", "0.60"]), card=cards, key=keys, reference=keys)
    def validate(self, amount: str, card: str, key: str | None, reference: str | None) -> None:
        request = order(amount, card=card, reference=reference)
        self.take(
            "validate",
            lambda harness, id_: validate(*of(harness, id_), request, key_of("validate", key)),
        )

    @rule(number=numbers, key=keys, card=st.none() | cards)
    def process(self, number: int, key: str | None, card: str | None) -> None:
        self.take("process", process_step(number, key, card))

    @rule(number=numbers, key=keys, card=st.none() | cards)
    def enqueue(self, number: int, key: str | None, card: str | None) -> None:
        def step(harness: Harness, id_: str) -> Awaitable[StepResult]:
            return enqueue(
                *of(harness, id_), request(harness, number, card), key_of("process", key)
            )

        self.take("process", step)

    @rule(number=numbers, key=keys)
    def authorize(self, number: int, key: str | None) -> None:
        self.take(
            "authorize",
            lambda harness, id_: authorize(
                *of(harness, id_), request(harness, number, None), key_of("authorize", key)
            ),
        )

    @rule(number=numbers, part=parts, final=st.booleans(), key=keys)
    def capture(self, number: int, part: int | None, final: bool, key: str | None) -> None:
        self.take("capture", capture_step(number, part, final, key))

    @rule(number=numbers, key=keys)
    def cancel(self, number: int, key: str | None) -> None:
        self.take("cancel", cancel_step(number, key))

    @rule(number=numbers, part=parts, key=keys)
    def refund(self, number: int, part: int | None, key: str | None) -> None:
        self.take("refund", refund_step(number, part, key))

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
        """Takes several steps on one payment at once. The winner may differ between the stores."""
        makers: dict[str, Callable[[], Step]] = {
            "process": lambda: process_step(number, key, None),
            "capture": lambda: capture_step(number, 60, False, key),
            "cancel": lambda: cancel_step(number, key),
            "refund": lambda: refund_step(number, 60, key),
        }
        calls = [(f"r{next(self.requests)}", action, makers[action]()) for action in together]

        async def race(harness: Harness) -> None:
            await asyncio.gather(
                *(
                    harness.attempt(id_, action, step(harness, id_), alone=False)
                    for id_, action, step in calls
                )
            )

        self.raced = True
        self.run_in_both(race)

    @rule(
        job=st.sampled_from(["relay", "work", "sweep", "archive", "expire"]),
        fault=st.none() | st.tuples(st.sampled_from(PORTS), st.sampled_from(["before", "after"])),
    )
    def run_job(self, job: str, fault: tuple[str, Any] | None) -> None:
        if fault is not None:
            self.fail_next(*fault)
        self.run_in_both(lambda harness: harness.run_job(job))

    @rule(seconds=st.sampled_from([1, 11, 16, 61, 700_000]))
    def wait(self, seconds: int) -> None:
        for harness in self.harnesses:
            clock_of(harness.app).advance(seconds)

    @rule(fault=st.tuples(st.sampled_from(PORTS), st.sampled_from(["before", "after"])))
    def fail(self, fault: tuple[str, Any]) -> None:
        self.fail_next(*fault)

    def fail_next(self, port: str, when: Any) -> None:
        for harness in self.harnesses:
            harness.faulty[port].fault = when

    @rule(fault=st.sampled_from(["timeout", "lost", "down"]))
    def fail_processor(self, fault: Any) -> None:
        for harness in self.harnesses:
            processor_of(harness.app).faults.append(fault)

    @invariant()
    def everything_agrees(self) -> None:
        self.run_in_both(lambda harness: harness.check())
        if not self.raced:
            memory, postgres = (self.runner.run(harness.states()) for harness in self.harnesses)
            assert memory == postgres

    def take(self, action: str, step: Step) -> None:
        """Takes one step in both harnesses. The results must be the same."""
        id_ = f"r{next(self.requests)}"
        results = [
            self.runner.run(harness.attempt(id_, action, step(harness, id_), alone=True))
            for harness in self.harnesses
        ]
        assert self.raced or results[0] == results[1]
        self.steps.append((action, step))

    def run_in_both(self, step: Callable[[Harness], Awaitable[None]]) -> None:
        async def take(harness: Harness) -> None:
            await step(harness)

        for harness in self.harnesses:
            self.runner.run(take(harness))


def of(harness: Harness, id_: str) -> tuple[App, Caller]:
    return harness.app, caller(request_id=id_)


def payment_of(harness: Harness, number: int) -> str:
    return harness.payment_ids[number % len(harness.payment_ids)] if harness.payment_ids else "none"


def request(harness: Harness, number: int, card: str | None) -> ProcessRequest:
    return ProcessRequest(payment_of(harness, number), card and CardInput(card, 12, 2030))


def process_step(number: int, key: str | None, card: str | None) -> Step:
    return lambda harness, id_: process(
        *of(harness, id_), request(harness, number, card), key_of("process", key)
    )


def capture_step(number: int, part: int | None, final: bool, key: str | None) -> Step:
    return lambda harness, id_: capture(
        *of(harness, id_),
        payment_of(harness, number),
        amount_minor=part,
        final=final,
        key=key_of("capture", key),
    )


def cancel_step(number: int, key: str | None) -> Step:
    return lambda harness, id_: cancel(
        *of(harness, id_), payment_of(harness, number), key=key_of("cancel", key)
    )


def refund_step(number: int, part: int | None, key: str | None) -> Step:
    return lambda harness, id_: refund(
        *of(harness, id_), payment_of(harness, number), amount_minor=part, key=key_of("refund", key)
    )


async def close(harness: Harness) -> None:
    await harness.app.close()


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_and_postgres_keep_the_same_guarantees(postgres_server: str) -> None:
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
