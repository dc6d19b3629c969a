"""Callers at once, over every store and from two processes: each effect happens exactly once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from remit.domain.errors import InvalidState, KeyInFlight
from remit.domain.payment import State
from remit.oversight.reconcile import reconcile
from remit.payments.process import ProcessRequest, authorize, cancel, capture, process
from remit.payments.refund import refund
from remit.payments.results import Accepted, Rejected, Replayed, StepResult
from remit.payments.validate import validate
from remit.ports.app import App
from remit.ports.store import PageQuery
from tests.builders import caller, key_of, order, postgres_app, processor_of
from tests.unit.steps import accepted, archive_all, handle_all


@pytest.fixture
async def two(on_postgres: App, database_url: str, tmp_path: Path) -> AsyncIterator[list[App]]:
    """Two assemblies over one database and one processor, as two processes have them."""
    other = postgres_app(tmp_path, database_url)
    shared = replace(other, processor=on_postgres.processor, new_id=on_postgres.new_id)
    yield [on_postgres, shared]
    await other.close()


async def captured(app: App, amount: str = "100.00") -> str:
    payment = accepted(await validate(app, caller(), order(amount), None))
    return accepted(await process(app, caller(), ProcessRequest(payment.id))).id


def count_kinds(results: list[StepResult]) -> Counter[str]:
    return Counter(type(result).__name__ for result in results)


async def check_books(app: App) -> None:
    await handle_all(app)
    await archive_all(app)
    assert [found async for found in reconcile(app)] == []


async def test_of_two_refunds_of_60_on_100_exactly_one_succeeds(app: App) -> None:
    for _ in range(30):
        payment_id = await captured(app)
        results = await asyncio.gather(
            *(refund(app, caller(), payment_id, amount_minor=6_000) for _ in range(2))
        )
        assert count_kinds(results) == {"Accepted": 1, "Rejected": 1}
        [error] = [result.error for result in results if isinstance(result, Rejected)]
        assert isinstance(error, InvalidState)
        assert error.message == "At most 40.00 USD of this payment is left to refund."
        payment = await app.store.payment(payment_id)
        assert payment is not None
        assert payment.refunded_minor == 6_000
    await check_books(app)


async def test_two_processes_refund_no_more_than_was_captured(two: list[App]) -> None:
    for _ in range(20):
        payment_id = await captured(two[0])
        results = await asyncio.gather(
            *(refund(app, caller(), payment_id, amount_minor=6_000) for app in two)
        )
        assert count_kinds(results) == {"Accepted": 1, "Rejected": 1}
    await check_books(two[0])


async def test_a_hundred_identical_requests_make_one_payment(app: App) -> None:
    request = order("5.00", reference="order-1")
    results = await asyncio.gather(
        *(
            validate(app, caller(request_id=f"r{n}"), request, key_of("validate", "k1"))
            for n in range(100)
        )
    )
    assert count_kinds(results) == {"Accepted": 1, "Replayed": 99}
    [payment] = await app.database.reader.page(PageQuery(merchant_id="acme", mode="test"))
    assert {o.payment.id for o in results if isinstance(o, Replayed)} == {payment.id}
    assert await app.database.books.count() == 1


async def test_a_hundred_identical_requests_charge_once(app: App) -> None:
    payment = accepted(await validate(app, caller(), order("5.00"), None))
    results = await asyncio.gather(
        *(
            process(app, caller(), ProcessRequest(payment.id), key_of("process", "k1"))
            for _ in range(100)
        )
    )
    kinds = count_kinds(results)
    assert kinds["Accepted"] == 1
    assert kinds["Replayed"] + kinds["Rejected"] == 99
    for result in results:
        assert not isinstance(result, Rejected) or isinstance(result.error, KeyInFlight)
    assert len(processor_of(app).results) == 1
    await check_books(app)


async def test_two_processes_charge_a_payment_once(two: list[App]) -> None:
    for _ in range(10):
        payment = accepted(await validate(two[0], caller(), order("5.00"), None))
        results_before = len(processor_of(two[0]).results)
        results = await asyncio.gather(
            *(process(app, caller(), ProcessRequest(payment.id)) for app in two for _ in range(20))
        )
        assert count_kinds(results)["Accepted"] == 1
        assert len(processor_of(two[0]).results) == results_before + 1
        stored = await two[1].store.payment(payment.id)
        assert stored is not None
        assert stored.state is State.CAPTURED
    await check_books(two[0])


async def test_captures_and_a_cancel_at_once_never_pass_the_authorization(app: App) -> None:
    for _ in range(10):
        payment = accepted(await validate(app, caller(), order("100.00"), None))
        await authorize(app, caller(), ProcessRequest(payment.id))
        results: list[StepResult] = list(
            await asyncio.gather(
                *(
                    capture(app, caller(), payment.id, amount_minor=4_000, final=False)
                    for _ in range(4)
                ),
                cancel(app, caller(), payment.id),
            )
        )
        stored = await app.store.payment(payment.id)
        assert stored is not None
        assert stored.captured_minor <= stored.authorized_minor == 10_000
        captures = sum(isinstance(o, Accepted) for o in results[:4])
        assert stored.captured_minor == 4_000 * captures
    await check_books(app)
