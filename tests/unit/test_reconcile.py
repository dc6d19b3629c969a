"""Reconciliation: no discrepancy where all agree, and each one named where not."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from remit.delivery.work_messages import handle_batch
from remit.domain.change import Topic
from remit.domain.operation import Approved, OperationKind
from remit.domain.payment import Payment, State
from remit.oversight import reconcile as reconcile_module
from remit.oversight.audit.segments import digest_key, segment_key
from remit.oversight.reconcile import NEXT_STEPS, find_waiting, reconcile
from remit.payments.operations import apply_notice
from remit.payments.process import ProcessRequest, enqueue
from remit.payments.refund import refund
from remit.ports.app import App
from tests.builders import DECLINED_CARD, caller, clock_of, processor_of
from tests.contracts.changes import a_message
from tests.unit.steps import (
    a_processed_payment,
    a_refund,
    a_validated_payment,
    an_authorized_payment,
    an_undecided_operation,
    archive_all,
    current_refund,
    notice,
    objects_of,
    queue_of,
    store_of,
    tamper,
    the_operation,
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


@pytest.mark.parametrize(
    "fields",
    [
        {"currency": "EUR"},
        {"account": "test/processor/other"},
        {"account": "live/processor/scripted"},
        {"account": "test/merchant/other"},
    ],
)
async def test_postings_on_another_account_or_in_another_currency_are_named(
    in_memory: App, payment: Payment, fields: dict[str, str]
) -> None:
    """A whole ledger transaction is altered, so that it still balances."""
    store = store_of(in_memory)
    charge = store.postings[0].transaction_id
    store.postings = [
        replace(posting, **fields)
        if posting.transaction_id == charge and (posting.line == 0 or "currency" in fields)
        else posting
        for posting in store.postings
    ]
    problems = [found.problem async for found in reconcile(in_memory) if found.check == "ledger"]
    booked_on = fields.get("account", "test/processor/scripted")
    assert any(f"is booked on {booked_on}, which is not" in problem for problem in problems)


async def test_money_in_suspense_is_named(in_memory: App) -> None:
    """A refund was done after it had ended otherwise: the processor has paid twice."""
    captured = await a_processed_payment(in_memory)
    processor_of(in_memory).faults.append("down")
    await refund(in_memory, caller(), captured.id, amount_minor=3_000)
    [operation] = [o for o in store_of(in_memory).operations_by_id.values() if o.refund_id]
    await apply_notice(in_memory, notice(operation.id, Approved("late")))
    await archive_all(in_memory)
    found = [discrepancy async for discrepancy in reconcile(in_memory)]
    assert [(one.check, one.record) for one in found] == [
        ("suspense", captured.id),
        ("processor", captured.id),
    ]
    assert found[0].problem == "-3000 USD (minor units) is in suspense"


async def test_what_is_authorized_at_the_processor_alone_is_named(in_memory: App) -> None:
    authorized = await an_authorized_payment(in_memory)
    assert await discrepancies(in_memory) == []
    tamper(in_memory, authorized, state=State.CANCELED)
    [found] = [found async for found in reconcile(in_memory)]
    assert (found.check, found.record) == ("authorization", authorized.id)
    assert found.problem.startswith("10000 USD (minor units) is authorized at the processor")


async def test_money_that_moved_without_an_operation_is_named(in_memory: App) -> None:
    """As by a refund that someone made on the processor's own pages, for another payment."""
    await a_processed_payment(in_memory)
    processor = processor_of(in_memory)
    [(instruction, _)] = processor.results.values()
    for key, payment_id in (("by hand", "not ours"), (in_memory.new_id(), "not ours either")):
        other = replace(instruction, key=key, payment_id=payment_id, operation=OperationKind.REFUND)
        processor.results[key] = (other, Approved(f"re_{key}"))
    found = [found async for found in reconcile(in_memory)]
    assert [(one.check, one.record) for one in found] == [
        ("settlement", "re_by hand"),
        ("settlement", f"re_{list(processor.results)[2]}"),
    ]
    assert found[0].problem == (
        "the processor did a refund of 10000 USD (minor units), and no operation did so"
    )


@pytest.mark.parametrize(
    "fields", [{"amount_minor": 9_000}, {"currency": "EUR"}, {"operation": OperationKind.CAPTURE}]
)
async def test_another_movement_than_the_operation_says_is_named(
    in_memory: App, fields: dict[str, Any]
) -> None:
    await a_processed_payment(in_memory)
    processor = processor_of(in_memory)
    [(instruction, result)] = processor.results.values()
    processor.results[instruction.key] = (replace(instruction, **fields), result)
    assert ("settlement", result.reference) in await discrepancies(in_memory)  # type: ignore[union-attr]


async def test_what_an_operation_is_said_not_to_have_done_is_named(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory, card=DECLINED_CARD)
    processor = processor_of(in_memory)
    [(instruction, _)] = processor.results.values()
    processor.results[instruction.key] = (instruction, Approved("ref_1"))
    assert await discrepancies(in_memory) == [("processor", payment.id), ("settlement", "ref_1")]


async def test_every_check_says_what_to_do() -> None:
    checks = set(re.findall(r'check="(\w+)"', inspect.getsource(reconcile_module)))
    assert checks == set(NEXT_STEPS)


async def waiting(app: App) -> list[tuple[str, str]]:
    return [(one.kind, one.record) async for one in find_waiting(app)]


async def test_an_operation_that_waits_for_a_person_is_named(in_memory: App) -> None:
    operation = await an_undecided_operation(in_memory)
    assert ("decision", operation.id) in await waiting(in_memory)


async def test_work_that_no_worker_takes_up_is_named(in_memory: App) -> None:
    payment = await a_validated_payment(in_memory)
    await enqueue(in_memory, caller(), ProcessRequest(payment.id))
    assert await waiting(in_memory) == []
    clock_of(in_memory).advance(2 * 86_400)
    operation = the_operation(in_memory)
    assert await waiting(in_memory) == [("operation", operation.id), ("message", "the oldest one")]


async def test_dead_letters_are_counted(in_memory: App) -> None:
    queue = queue_of(in_memory)
    await queue.send([a_message(in_memory, Topic.WORK, kind="mystery")])
    for _ in range(20):
        clock_of(in_memory).advance(3_600)
        await handle_batch(in_memory)
    assert await waiting(in_memory) == [("dead letters", "1")]


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
