"""The payment's state table, compared with the contract's, and the arithmetic of each operation."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from msgspec.structs import replace

from remit.domain.card import CardSummary
from remit.domain.errors import InvalidState
from remit.domain.operation import (
    Approved,
    Declined,
    NotDone,
    Operation,
    OperationKind,
    OperationState,
)
from remit.domain.payment import TRANSITIONS, Payment, PendingOperation, State
from tests.builders import an_operation

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=3)
CARD_DUE_AT = NOW + timedelta(days=1)
APPROVED = Approved("ref-1")
OTHER_ID = "00000000-0000-7000-8000-0000000000f2"
DECLINED = Declined("card_declined", "The card was declined.", "generic_decline")

NEXT = {
    "validated": {"authorized", "captured", "declined", "unknown", "canceled"},
    "authorized": {"captured", "canceled", "unknown"},
    # A capture or charge can fail afterwards.
    "captured": {"authorized", "declined"},
    "declined": {"authorized", "captured", "declined", "unknown", "canceled"},
    "unknown": {
        "validated",
        "authorized",
        "captured",
        "declined",
        "unknown",
        "requires_action",
        "canceled",
    },
    "requires_action": {"authorized", "captured", "declined", "canceled"},
    "canceled": set(),
}
"""The states that may follow each state: by the contract, and after a late failure."""

ALLOWED = {
    ("validated", "charge"),
    ("validated", "authorize"),
    ("declined", "charge"),
    ("declined", "authorize"),
    ("authorized", "capture"),
    ("authorized", "void"),
}
"""The operations that each state allows."""

AMOUNTS = {
    "authorized": {"authorized_minor": 10_000},
    "captured": {"authorized_minor": 10_000, "captured_minor": 10_000},
}


def payment(state: str = "validated", **fields: object) -> Payment:
    base = Payment(
        id="p1",
        merchant_id="acme",
        mode="test",
        amount_minor=10_000,
        currency="USD",
        created_at=NOW,
        fingerprint="f1",
        state=State(state),
        version=7,
        card=CardSummary("visa", "4242"),
        encrypted_card="ciphertext",
        due_at=CARD_DUE_AT,
    )
    return replace(base, **{**AMOUNTS.get(state, {}), **fields})


def claimed(kind: OperationKind, state: str, **fields: object) -> tuple[Payment, Operation]:
    """A payment in this state after its claim, and the operation that it waits for."""
    before = payment(state)
    operation = an_operation(before, kind, **fields)
    return before.claim(operation), operation


def test_the_transitions_are_those_of_the_contract() -> None:
    assert {state.value: {to.value for to in row} for state, row in TRANSITIONS.items()} == NEXT


@pytest.mark.parametrize(
    ("state", "kind"),
    [pair for pair in product(NEXT, ["charge", "authorize", "capture", "void"]) if pair in ALLOWED],
)
def test_an_operation_that_the_state_allows_becomes_pending(state: str, kind: str) -> None:
    before = payment(state)
    operation = an_operation(before, OperationKind(kind))
    assert before.claim(operation) == replace(
        before,
        state=State.UNKNOWN,
        version=8,
        pending=PendingOperation(operation.id, OperationKind(kind), State(state)),
    )


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        pair
        for pair in product(NEXT, ["charge", "authorize", "capture", "void"])
        if pair not in ALLOWED
    ],
)
def test_an_operation_that_the_state_forbids_is_rejected(state: str, kind: str) -> None:
    before = payment(state)
    rejected = f"{state} cannot take the step: {kind}"
    with pytest.raises(InvalidState, match=rejected):
        before.amount_of(OperationKind(kind))
    with pytest.raises(InvalidState, match=rejected):
        before.claim(an_operation(before, OperationKind(kind)))


@pytest.mark.parametrize(
    ("state", "kind"),
    [pair for pair in product(NEXT, ["charge", "authorize", "capture", "void"]) if pair in ALLOWED],
)
def test_an_operation_moves_all_that_it_can_if_no_amount_is_given(state: str, kind: str) -> None:
    assert payment(state).amount_of(OperationKind(kind)) == 10_000


@pytest.mark.parametrize("state", NEXT)
def test_only_a_captured_payment_can_reserve_a_refund(state: str) -> None:
    before = payment(state, captured_minor=10_000 if state == "captured" else 0)
    if state == "captured":
        after = before.reserve_refund(4_000)
        assert after == replace(before, version=8, refunded_minor=4_000)
        return
    with pytest.raises(InvalidState, match=f"{state} cannot be refunded"):
        before.reserve_refund(4_000)


@pytest.mark.parametrize("state", NEXT)
def test_only_a_payment_without_money_at_the_processor_is_canceled_without_a_call(
    state: str,
) -> None:
    before = payment(state)
    if state in ("validated", "declined"):
        assert before.cancel() == replace(
            before, state=State.CANCELED, version=8, encrypted_card=None, due_at=None
        )
        return
    with pytest.raises(InvalidState, match=f"{state} cannot be canceled"):
        before.cancel()


@pytest.mark.parametrize("state", NEXT)
def test_only_a_payment_that_can_be_charged_takes_another_card(state: str) -> None:
    before, other = payment(state), CardSummary("amex", "0005")
    if state in ("validated", "declined"):
        after = before.with_card(other, "other ciphertext", due_at=LATER)
        assert after == replace(before, card=other, encrypted_card="other ciphertext", due_at=LATER)
        return
    with pytest.raises(InvalidState, match=f"{state} cannot take another card"):
        before.with_card(other, "other ciphertext", due_at=LATER)


@pytest.mark.parametrize("state", NEXT)
def test_an_erased_card_changes_nothing_else_of_the_payment(state: str) -> None:
    before = payment(state)
    assert before.erase_card() == replace(before, version=8, encrypted_card=None, due_at=None)


RECORDED = {"version": 9, "pending": None, "encrypted_card": None, "due_at": None}


@pytest.mark.parametrize("state", ["validated", "declined"])
@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (
            OperationKind.CHARGE,
            {
                "state": State.CAPTURED,
                "authorized_minor": 10_000,
                "captured_minor": 10_000,
                "processor": "scripted",
                "processor_reference": "ref-1",
                "processed_at": LATER,
            },
        ),
        (
            OperationKind.AUTHORIZE,
            {
                "state": State.AUTHORIZED,
                "authorized_minor": 10_000,
                "processor": "scripted",
                "processor_reference": "ref-1",
            },
        ),
    ],
)
def test_an_approved_charge_or_authorization_records_its_amounts(
    state: str, kind: OperationKind, fields: dict[str, object]
) -> None:
    unknown, operation = claimed(kind, state)
    assert unknown.apply_result(operation, APPROVED, now=LATER) == replace(
        unknown, **RECORDED, **fields
    )


@pytest.mark.parametrize("kind", [OperationKind.CHARGE, OperationKind.AUTHORIZE])
def test_a_declined_payment_records_the_failure(kind: OperationKind) -> None:
    unknown, operation = claimed(kind, "validated")
    assert unknown.apply_result(operation, DECLINED, now=LATER) == replace(
        unknown, **RECORDED, state=State.DECLINED, failure=DECLINED, processed_at=LATER
    )


def test_an_approved_capture_takes_all_that_is_left() -> None:
    unknown, operation = claimed(OperationKind.CAPTURE, "authorized")
    assert unknown.apply_result(operation, APPROVED, now=LATER) == replace(
        unknown, **RECORDED, state=State.CAPTURED, captured_minor=10_000, processed_at=LATER
    )


def test_an_approved_void_cancels() -> None:
    unknown, operation = claimed(OperationKind.VOID, "authorized")
    assert unknown.apply_result(operation, APPROVED, now=LATER) == replace(
        unknown, **RECORDED, state=State.CANCELED
    )


@pytest.mark.parametrize("kind", [OperationKind.CAPTURE, OperationKind.VOID])
def test_a_declined_capture_or_void_leaves_the_authorization(kind: OperationKind) -> None:
    unknown, operation = claimed(kind, "authorized")
    assert unknown.apply_result(operation, DECLINED, now=LATER) == replace(
        unknown, **RECORDED, state=State.AUTHORIZED, failure=DECLINED
    )


def test_a_later_success_clears_the_failure() -> None:
    before = payment("declined", failure=DECLINED)
    operation = an_operation(before, OperationKind.CHARGE)
    unknown = before.claim(operation)
    assert unknown.failure == DECLINED
    assert unknown.apply_result(operation, APPROVED, now=LATER).failure is None


def test_a_declined_payment_waits_for_the_operation_of_its_next_attempt() -> None:
    unknown, first = claimed(OperationKind.CHARGE, "validated")
    declined = unknown.apply_result(first, DECLINED, now=LATER)
    second = an_operation(declined, OperationKind.CHARGE, id=OTHER_ID)
    again = declined.claim(second)
    assert again.pending == PendingOperation(OTHER_ID, OperationKind.CHARGE, State.DECLINED)
    assert (again.awaits(first), again.awaits(second)) == (False, True)


@pytest.mark.parametrize("state", ["validated", "declined"])
def test_a_payment_whose_operation_was_not_done_is_as_before_its_claim(state: str) -> None:
    before = payment(state)
    operation = an_operation(before, OperationKind.CHARGE)
    resumed = before.claim(operation).apply_result(operation, NotDone(), now=LATER)
    assert resumed == replace(before, version=9)


def test_a_payment_is_canceled_with_its_queued_operation() -> None:
    before = payment()
    operation = an_operation(
        before, OperationKind.CHARGE, state=OperationState.QUEUED, attempts=0, processes=0
    )
    unknown = before.claim(operation)
    assert unknown.cancel_queued(operation) == replace(unknown, **RECORDED, state=State.CANCELED)


@pytest.mark.parametrize(
    "waiting",
    [payment(), claimed(OperationKind.CHARGE, "validated")[0]],
    ids=["no operation", "another operation"],
)
def test_a_payment_takes_no_result_of_an_operation_that_is_not_pending(waiting: Payment) -> None:
    other = an_operation(waiting, OperationKind.CHARGE, id=OTHER_ID)
    assert not waiting.awaits(other)
    steps: list[Callable[[], Payment]] = [
        lambda: waiting.apply_result(other, APPROVED, now=NOW),
        lambda: waiting.apply_result(other, DECLINED, now=NOW),
        lambda: waiting.apply_result(other, NotDone(), now=NOW),
        lambda: waiting.cancel_queued(other),
    ]
    for step in steps:
        with pytest.raises(InvalidState, match=f"{OTHER_ID} is not pending on its payment"):
            step()


def test_a_result_is_applied_once() -> None:
    unknown, operation = claimed(OperationKind.CHARGE, "validated")
    captured = unknown.apply_result(operation, APPROVED, now=LATER)
    with pytest.raises(InvalidState, match=f"{operation.id} is not pending on its payment"):
        captured.apply_result(operation, APPROVED, now=LATER)


def captured_in_part(amount_minor: int, *, final: bool = False) -> Payment:
    unknown, operation = claimed(
        OperationKind.CAPTURE, "authorized", amount_minor=amount_minor, final=final
    )
    return unknown.apply_result(operation, APPROVED, now=LATER)


def test_an_authorization_is_captured_in_parts_until_none_is_left() -> None:
    part = captured_in_part(4_000)
    assert (part.state, part.captured_minor) == (State.AUTHORIZED, 4_000)
    left_minor = part.amount_of(OperationKind.CAPTURE)
    assert left_minor == 6_000
    operation = an_operation(part, OperationKind.CAPTURE, amount_minor=left_minor, final=False)
    whole = part.claim(operation).apply_result(operation, APPROVED, now=LATER)
    assert (whole.state, whole.captured_minor) == (State.CAPTURED, 10_000)


def test_a_final_capture_closes_the_payment_and_releases_the_rest() -> None:
    part = captured_in_part(4_000, final=True)
    assert (part.state, part.captured_minor, part.refundable_minor) == (
        State.CAPTURED,
        4_000,
        4_000,
    )
    with pytest.raises(InvalidState, match="captured cannot take the step: capture"):
        part.claim(an_operation(part, OperationKind.CAPTURE, amount_minor=1))


@pytest.mark.parametrize("amount_minor", [0, -1, 6_001, 10_000])
def test_no_more_is_captured_than_is_left(amount_minor: int) -> None:
    part = captured_in_part(4_000)
    with pytest.raises(InvalidState, match=r"At most 60\.00 USD is left to capture"):
        part.amount_of(OperationKind.CAPTURE, amount_minor)
    with pytest.raises(InvalidState, match=r"At most 60\.00 USD is left to capture"):
        part.claim(an_operation(part, OperationKind.CAPTURE, amount_minor=amount_minor))


@pytest.mark.parametrize("amount_minor", [1, 6_000])
def test_a_part_of_what_is_left_is_captured_if_its_amount_is_given(amount_minor: int) -> None:
    part = captured_in_part(4_000)
    assert part.amount_of(OperationKind.CAPTURE, amount_minor) == amount_minor


def test_a_void_after_a_part_was_captured_releases_the_rest() -> None:
    part = captured_in_part(4_000)
    assert part.amount_of(OperationKind.VOID) == 6_000
    operation = an_operation(part, OperationKind.VOID, amount_minor=6_000)
    released = part.claim(operation).apply_result(operation, APPROVED, now=LATER)
    assert (released.state, released.captured_minor) == (State.CAPTURED, 4_000)


def test_a_captured_part_can_be_refunded_while_the_rest_is_authorized() -> None:
    part = captured_in_part(4_000)
    assert part.reserve_refund(4_000).refunded_minor == 4_000
    with pytest.raises(InvalidState, match=r"At most 40\.00 USD"):
        part.reserve_refund(4_001)
    with pytest.raises(InvalidState, match="authorized cannot be refunded"):
        payment("authorized").reserve_refund(1)


def test_refunds_never_reserve_more_than_was_captured() -> None:
    reserved = payment("captured").reserve_refund(4_000).reserve_refund(6_000)
    assert (reserved.refunded_minor, reserved.refundable_minor) == (10_000, 0)
    with pytest.raises(InvalidState, match=r"At most 0\.00 USD"):
        reserved.reserve_refund(1)
    released = reserved.release_refund(6_000)
    assert (released.refunded_minor, released.version) == (4_000, 10)
    with pytest.raises(InvalidState, match=r"At most 60\.00 USD"):
        released.reserve_refund(6_001)


@pytest.mark.parametrize("amount_minor", [0, -1])
def test_a_refund_of_zero_or_less_is_rejected(amount_minor: int) -> None:
    with pytest.raises(InvalidState):
        payment("captured").reserve_refund(amount_minor)
