"""What `remit reconcile` finds: nothing when all agree, and the first record that does not."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from remit.domain.payment import Payment
from remit.oversight.audit import digest_key, segment_key
from remit.oversight.reconcile import reconcile
from remit.ports.app import App
from tests.builders import processor_of
from tests.unit.arranged import (
    a_processed,
    a_refund,
    a_validated,
    an_authorized,
    current_refund,
    objects_of,
    seal_all,
    store_of,
    tamper,
)


async def found(app: App) -> list[tuple[str, str]]:
    """What does not agree, as (check, record)."""
    return [(wrong.check, wrong.record) async for wrong in reconcile(app)]


@pytest.fixture
async def payment(in_memory: App) -> Payment:
    """A payment of 100.00 with 30.00 refunded, beside others at every stage, all sealed."""
    await a_validated(in_memory)
    await an_authorized(in_memory)
    captured = await a_processed(in_memory)
    await a_refund(in_memory, captured, 3_000)
    await seal_all(in_memory)
    return captured


async def test_when_all_agree_nothing_is_found(in_memory: App, payment: Payment) -> None:
    assert await found(in_memory) == []


async def test_a_question_that_is_open_is_no_discrepancy(in_memory: App) -> None:
    processor_of(in_memory).faults.append("lost")
    payment = await a_processed(in_memory)
    assert payment.pending is not None
    assert await found(in_memory) == []


@pytest.mark.parametrize("fields", [{"captured_minor": 9_999}, {"captured_minor": 0}])
async def test_a_payment_that_differs_from_the_books_is_named(
    in_memory: App, payment: Payment, fields: dict[str, int]
) -> None:
    tamper(in_memory, payment, **fields)
    assert ("ledger", payment.id) in await found(in_memory)


async def test_a_posting_that_went_missing_is_named(in_memory: App, payment: Payment) -> None:
    gone = store_of(in_memory).postings.pop()
    assert ("ledger", gone.transaction_id) in await found(in_memory)


async def test_a_posting_without_its_payment_is_named(in_memory: App, payment: Payment) -> None:
    del store_of(in_memory).payments[payment.id]
    assert (await found(in_memory))[0][0] == "links"


async def test_a_payment_without_an_audit_entry_is_named(in_memory: App, payment: Payment) -> None:
    store = store_of(in_memory)
    store.audit = [entry for entry in store.audit if entry.payment_id != payment.id]
    assert ("links", f"payment {payment.id}") in await found(in_memory)


async def test_refunds_that_the_payment_does_not_know_of_are_named(
    in_memory: App, payment: Payment
) -> None:
    tamper(in_memory, payment, refunded_minor=2_000)
    assert await found(in_memory) == [("refunds", payment.id)]


async def test_a_refund_that_was_enlarged_is_named(in_memory: App, payment: Payment) -> None:
    store = store_of(in_memory)
    [asked] = store.refunds_by_id.values()
    store.refunds_by_id[asked.id] = replace(await current_refund(in_memory, asked), amount_minor=1)
    assert ("refunds", payment.id) in await found(in_memory)


@pytest.mark.parametrize("forget", ["charge", "refund"])
async def test_a_processor_that_disagrees_is_named(
    in_memory: App, payment: Payment, forget: str
) -> None:
    answers = processor_of(in_memory).answers
    for key, (asked, _) in list(answers.items()):
        if asked.payment_id == payment.id and asked.operation == forget:
            del answers[key]
    assert await found(in_memory) == [("processor", payment.id)]


def cut_the_end(objects: dict[str, bytes]) -> None:
    for make in (segment_key, digest_key):
        del objects[make(1)]


def alter(objects: dict[str, bytes]) -> None:
    objects[segment_key(1)] = objects[segment_key(1)].replace(b"test", b"live", 1)


@pytest.mark.parametrize(
    ("damage", "record"), [(cut_the_end, "segment 1"), (alter, segment_key(1))]
)
async def test_a_trail_that_was_cut_or_altered_is_named(
    in_memory: App, payment: Payment, damage: Callable[[dict[str, bytes]], None], record: str
) -> None:
    damage(objects_of(in_memory.audit.bucket))
    assert await found(in_memory) == [("audit", record)]
