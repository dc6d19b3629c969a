"""Reconciliation: no discrepancy where all agree, and each one named where not."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from remit.domain.payment import Payment
from remit.oversight.audit import digest_key, segment_key
from remit.oversight.reconcile import reconcile
from remit.ports.app import App
from tests.builders import processor_of
from tests.unit.steps import (
    a_processed_payment,
    a_refund,
    a_validated_payment,
    an_authorized_payment,
    archive_all,
    current_refund,
    objects_of,
    store_of,
    tamper,
)


async def discrepancies(app: App) -> list[tuple[str, str]]:
    """The discrepancies, as (check, record)."""
    return [(found.check, found.record) async for found in reconcile(app)]


@pytest.fixture
async def payment(in_memory: App) -> Payment:
    """A payment of 100.00 with 30.00 refunded, beside payments in other states, all archived."""
    await a_validated_payment(in_memory)
    await an_authorized_payment(in_memory)
    captured = await a_processed_payment(in_memory)
    await a_refund(in_memory, captured, 3_000)
    await archive_all(in_memory)
    return captured


async def test_books_that_agree_have_no_discrepancy(in_memory: App, payment: Payment) -> None:
    assert await discrepancies(in_memory) == []


async def test_a_pending_operation_is_no_discrepancy(in_memory: App) -> None:
    processor_of(in_memory).faults.append("lost")
    payment = await a_processed_payment(in_memory)
    assert payment.pending is not None
    assert await discrepancies(in_memory) == []


@pytest.mark.parametrize("fields", [{"captured_minor": 9_999}, {"captured_minor": 0}])
async def test_a_payment_that_differs_from_the_books_is_named(
    in_memory: App, payment: Payment, fields: dict[str, int]
) -> None:
    tamper(in_memory, payment, **fields)
    assert ("ledger", payment.id) in await discrepancies(in_memory)


async def test_a_missing_posting_is_named(in_memory: App, payment: Payment) -> None:
    missing = store_of(in_memory).postings.pop()
    assert ("ledger", missing.transaction_id) in await discrepancies(in_memory)


async def test_a_posting_without_its_payment_is_named(in_memory: App, payment: Payment) -> None:
    del store_of(in_memory).payments[payment.id]
    assert (await discrepancies(in_memory))[0][0] == "links"


async def test_a_payment_without_an_audit_entry_is_named(in_memory: App, payment: Payment) -> None:
    store = store_of(in_memory)
    store.audit = [entry for entry in store.audit if entry.payment_id != payment.id]
    assert ("links", f"payment {payment.id}") in await discrepancies(in_memory)


async def test_refunds_that_the_payment_does_not_count_are_named(
    in_memory: App, payment: Payment
) -> None:
    tamper(in_memory, payment, refunded_minor=2_000)
    assert await discrepancies(in_memory) == [("refunds", payment.id)]


async def test_a_refund_with_an_altered_amount_is_named(in_memory: App, payment: Payment) -> None:
    store = store_of(in_memory)
    [refund] = store.refunds_by_id.values()
    altered = replace(await current_refund(in_memory, refund), amount_minor=1)
    store.refunds_by_id[refund.id] = altered
    assert ("refunds", payment.id) in await discrepancies(in_memory)


@pytest.mark.parametrize("forget", ["charge", "refund"])
async def test_a_processor_that_disagrees_is_named(
    in_memory: App, payment: Payment, forget: str
) -> None:
    results = processor_of(in_memory).results
    for key, (instruction, _) in list(results.items()):
        if instruction.payment_id == payment.id and instruction.operation == forget:
            del results[key]
    assert await discrepancies(in_memory) == [("processor", payment.id)]


def cut_the_end(objects: dict[str, bytes]) -> None:
    for make in (segment_key, digest_key):
        del objects[make(1)]


def alter(objects: dict[str, bytes]) -> None:
    objects[segment_key(1)] = objects[segment_key(1)].replace(b"test", b"live", 1)


@pytest.mark.parametrize(
    ("damage", "record"), [(cut_the_end, segment_key(1)), (alter, segment_key(1))]
)
async def test_a_trail_that_was_cut_or_altered_is_named(
    in_memory: App, payment: Payment, damage: Callable[[dict[str, bytes]], None], record: str
) -> None:
    damage(objects_of(in_memory.audit.bucket))
    assert await discrepancies(in_memory) == [("audit", record)]
