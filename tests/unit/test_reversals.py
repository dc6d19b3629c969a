"""What an operation posts, and what becomes of a payment whose capture or charge fails later."""

import pytest
from msgspec.structs import replace

from remit.domain.errors import InvalidState
from remit.domain.ledger import Posting
from remit.domain.operation import Declined, Operation, OperationKind, Reversed
from remit.domain.payment import State, postings_of
from tests.builders import an_operation
from tests.unit.test_payment import (
    APPROVED,
    LATER,
    OTHER_ID,
    captured_in_part,
    claimed,
    payment,
)


def posting(line: int, account: str, amount_minor: int) -> Posting:
    return Posting("t1", line, "p1", f"test/{account}", "USD", amount_minor, LATER)


@pytest.mark.parametrize("kind", OperationKind)
def test_money_moves_between_the_processor_and_the_merchant_or_is_in_suspense(
    kind: OperationKind,
) -> None:
    operation = an_operation(payment(), kind, amount_minor=2_500, processor="sim")

    def posted(operation: Operation = operation, **options: bool) -> list[Posting]:
        return list(postings_of(operation, payment(), transaction_id="t1", now=LATER, **options))

    def moved(debit: str, credit: str) -> list[Posting]:
        return [posting(0, debit, 2_500), posting(1, credit, -2_500)]

    sim, acme, suspense = "processor/sim", "merchant/acme", "suspense"
    match kind:
        case OperationKind.CHARGE | OperationKind.CAPTURE:
            assert posted() == moved(sim, acme)
            assert posted(is_reversal=True) == moved(acme, sim)
            assert posted(to_suspense=True) == moved(sim, suspense)
        case OperationKind.REFUND:
            assert posted() == moved(acme, sim)
            assert posted(is_reversal=True) == moved(sim, acme)
            assert posted(to_suspense=True) == moved(suspense, sim)
            assert posted(replace(operation, compensates="o2")) == moved(suspense, sim)
        case _:
            assert posted() == posted(is_reversal=True) == posted(to_suspense=True) == []


REVERSED = Reversed("capture_failed", "The capture failed.")
FAILURE = Declined("capture_failed", "The capture failed.")


def test_a_charge_that_fails_afterwards_is_declined() -> None:
    unknown, operation = claimed(OperationKind.CHARGE, "validated")
    captured = unknown.apply_result(operation, APPROVED, now=LATER)
    after = captured.reverse(operation, REVERSED)
    assert (after.state, after.captured_minor, after.failure) == (State.DECLINED, 0, FAILURE)


def test_a_capture_that_fails_afterwards_leaves_the_payment_authorized() -> None:
    unknown, operation = claimed(OperationKind.CAPTURE, "authorized")
    captured = unknown.apply_result(operation, APPROVED, now=LATER)
    assert captured.state is State.CAPTURED
    after = captured.reverse(operation, REVERSED)
    assert (after.state, after.captured_minor, after.failure) == (State.AUTHORIZED, 0, FAILURE)


def test_a_capture_that_fails_while_a_step_is_in_progress_leaves_that_step() -> None:
    part = captured_in_part(4_000)
    first = an_operation(part, OperationKind.CAPTURE, amount_minor=4_000)
    second = an_operation(part, OperationKind.CAPTURE, id=OTHER_ID, amount_minor=1_000)
    after = part.claim(second).reverse(first, REVERSED)
    assert (after.state, after.captured_minor) == (State.UNKNOWN, 0)
    assert after.awaits(second)


def test_money_that_was_refunded_can_no_longer_be_taken_back_from_its_payment() -> None:
    unknown, operation = claimed(OperationKind.CHARGE, "validated")
    captured = unknown.apply_result(operation, APPROVED, now=LATER)
    with pytest.raises(InvalidState):
        captured.reserve_refund(1).reverse(operation, REVERSED)


@pytest.mark.parametrize("kind", [OperationKind.AUTHORIZE, OperationKind.VOID])
def test_what_took_no_money_cannot_fail_afterwards(kind: OperationKind) -> None:
    with pytest.raises(InvalidState):
        payment("captured").reverse(an_operation(payment("captured"), kind), REVERSED)
