"""The payment's state table, compared with the contract's, and the arithmetic of each operation."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from msgspec.structs import replace

from remit.domain.card import CardSummary
from remit.domain.errors import InvalidState
from remit.domain.ledger import Posting
from remit.domain.payment import (
    TRANSITIONS,
    Approved,
    Declined,
    Operation,
    Payment,
    PendingOperation,
    State,
)
from remit.domain.refund import Refund, RefundState

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=3)
LEASE = timedelta(seconds=15)
UNTIL = NOW + LEASE
APPROVED = Approved("ref-1")
DECLINED = Declined("card_declined", "The card was declined.", "generic_decline")

NEXT = {
    "validated": {"authorized", "captured", "declined", "unknown", "canceled"},
    "authorized": {"captured", "canceled", "unknown"},
    "captured": set(),
    "declined": {"authorized", "captured", "declined", "unknown", "canceled"},
    "unknown": {"validated", "authorized", "captured", "declined", "unknown", "canceled"},
    "canceled": set(),
}
"""The states that may follow each state, by the contract."""

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
        attempt=2,
        card=CardSummary("visa", "4242"),
        encrypted_card="ciphertext",
    )
    return replace(base, **{**AMOUNTS.get(state, {}), **fields})


def claimed(operation: Operation, state: str, **options: int | bool) -> Payment:
    return payment(state).claim(operation, now=NOW, lease=LEASE, **options)  # type: ignore[arg-type]


def test_the_transitions_are_those_of_the_contract() -> None:
    assert {state.value: {to.value for to in row} for state, row in TRANSITIONS.items()} == NEXT


@pytest.mark.parametrize(
    ("state", "operation"),
    [pair for pair in product(NEXT, ["charge", "authorize", "capture", "void"]) if pair in ALLOWED],
)
def test_an_operation_that_the_state_allows_becomes_pending(state: str, operation: str) -> None:
    before = payment(state)
    after = before.claim(Operation(operation), now=NOW, lease=LEASE)
    assert after == replace(
        before,
        state=State.UNKNOWN,
        version=8,
        due_at=UNTIL,
        pending=PendingOperation(Operation(operation), 10_000, "p1-2", State(state), UNTIL),
    )


@pytest.mark.parametrize(
    ("state", "operation"),
    [
        pair
        for pair in product(NEXT, ["charge", "authorize", "capture", "void"])
        if pair not in ALLOWED
    ],
)
def test_an_operation_that_the_state_forbids_is_rejected(state: str, operation: str) -> None:
    with pytest.raises(InvalidState, match=f"{state} cannot take the step: {operation}"):
        payment(state).claim(Operation(operation), now=NOW, lease=LEASE)


@pytest.mark.parametrize("state", NEXT)
def test_only_a_captured_payment_can_reserve_a_refund(state: str) -> None:
    before = payment(state, captured_minor=10_000)
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
            before, state=State.CANCELED, version=8, attempt=3, encrypted_card=None
        )
        return
    with pytest.raises(InvalidState, match=f"{state} cannot be canceled"):
        before.cancel()


@pytest.mark.parametrize("state", NEXT)
def test_only_a_payment_that_can_be_charged_takes_another_card(state: str) -> None:
    before, other = payment(state), CardSummary("amex", "0005")
    if state in ("validated", "declined"):
        after = before.with_card(other, "other ciphertext")
        assert after == replace(before, card=other, encrypted_card="other ciphertext")
        return
    with pytest.raises(InvalidState, match=f"{state} cannot take another card"):
        before.with_card(other, "other ciphertext")


RECORDED = {"version": 9, "attempt": 3, "pending": None, "encrypted_card": None, "due_at": None}


@pytest.mark.parametrize("state", ["validated", "declined"])
@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        (
            Operation.CHARGE,
            {
                "state": State.CAPTURED,
                "authorized_minor": 10_000,
                "captured_minor": 10_000,
                "processor_reference": "ref-1",
                "processed_at": LATER,
            },
        ),
        (
            Operation.AUTHORIZE,
            {
                "state": State.AUTHORIZED,
                "authorized_minor": 10_000,
                "processor_reference": "ref-1",
            },
        ),
    ],
)
def test_an_approved_charge_or_authorization_records_its_amounts(
    state: str, operation: Operation, fields: dict[str, object]
) -> None:
    unknown = claimed(operation, state)
    assert unknown.apply_result(APPROVED, now=LATER) == replace(unknown, **RECORDED, **fields)


@pytest.mark.parametrize("operation", [Operation.CHARGE, Operation.AUTHORIZE])
def test_a_declined_payment_records_the_failure(operation: Operation) -> None:
    unknown = claimed(operation, "validated")
    assert unknown.apply_result(DECLINED, now=LATER) == replace(
        unknown, **RECORDED, state=State.DECLINED, failure=DECLINED, processed_at=LATER
    )


def test_an_approved_capture_takes_all_that_is_left() -> None:
    unknown = claimed(Operation.CAPTURE, "authorized")
    assert unknown.apply_result(APPROVED, now=LATER) == replace(
        unknown, **RECORDED, state=State.CAPTURED, captured_minor=10_000, processed_at=LATER
    )


def test_an_approved_void_cancels() -> None:
    unknown = claimed(Operation.VOID, "authorized")
    assert unknown.apply_result(APPROVED, now=LATER) == replace(
        unknown, **RECORDED, state=State.CANCELED
    )


@pytest.mark.parametrize("operation", [Operation.CAPTURE, Operation.VOID])
def test_a_declined_capture_or_void_leaves_the_authorization(operation: Operation) -> None:
    unknown = claimed(operation, "authorized")
    assert unknown.apply_result(DECLINED, now=LATER) == replace(
        unknown, **RECORDED, state=State.AUTHORIZED, failure=DECLINED
    )


def test_a_later_success_clears_the_failure() -> None:
    unknown = payment("declined", failure=DECLINED).claim(Operation.CHARGE, now=NOW, lease=LEASE)
    assert unknown.apply_result(APPROVED, now=LATER).failure is None


def test_each_definite_result_gives_the_next_operation_a_new_key() -> None:
    unknown = claimed(Operation.CHARGE, "validated")
    again = unknown.apply_result(DECLINED, now=LATER).claim(
        Operation.CHARGE, now=LATER, lease=LEASE
    )
    assert (unknown.pending and unknown.pending.key, again.pending and again.pending.key) == (
        "p1-2",
        "p1-3",
    )


def test_an_operation_that_was_not_done_is_released_and_keeps_its_key() -> None:
    before = payment()
    unknown = before.claim(Operation.CHARGE, now=NOW, lease=LEASE)
    resumed = unknown.return_to_previous_state(due_at=LATER)
    assert resumed == replace(before, version=9, due_at=LATER)
    assert resumed.claim(Operation.CHARGE, now=NOW, lease=LEASE).pending == unknown.pending


def test_an_extended_lease_changes_nothing_else_of_the_operation() -> None:
    unknown = claimed(Operation.CHARGE, "validated")
    assert unknown.pending is not None
    assert unknown.extend_lease(until=LATER) == replace(
        unknown, version=9, due_at=LATER, pending=replace(unknown.pending, until=LATER)
    )


def test_a_payment_without_a_pending_operation_takes_no_result() -> None:
    for step in (
        lambda: payment().apply_result(APPROVED, now=NOW),
        lambda: payment().return_to_previous_state(due_at=None),
        lambda: payment().extend_lease(until=NOW),
        lambda: payment().postings_of_result(
            APPROVED, processor="sim", transaction_id="t", now=NOW
        ),
    ):
        with pytest.raises(InvalidState, match="validated has no pending operation"):
            step()


def captured_in_part(amount_minor: int, *, final: bool = False) -> Payment:
    unknown = payment("authorized").claim(
        Operation.CAPTURE, now=NOW, lease=LEASE, amount_minor=amount_minor, final=final
    )
    return unknown.apply_result(APPROVED, now=LATER)


def test_an_authorization_is_captured_in_parts_until_none_is_left() -> None:
    part = captured_in_part(4_000)
    assert (part.state, part.captured_minor) == (State.AUTHORIZED, 4_000)
    rest = part.claim(Operation.CAPTURE, now=NOW, lease=LEASE, final=False)
    assert rest.pending is not None
    assert rest.pending.amount_minor == 6_000
    whole = rest.apply_result(APPROVED, now=LATER)
    assert (whole.state, whole.captured_minor) == (State.CAPTURED, 10_000)


def test_a_final_capture_closes_the_payment_and_releases_the_rest() -> None:
    part = captured_in_part(4_000, final=True)
    assert (part.state, part.captured_minor, part.refundable_minor) == (
        State.CAPTURED,
        4_000,
        4_000,
    )
    with pytest.raises(InvalidState):
        part.claim(Operation.CAPTURE, now=NOW, lease=LEASE, amount_minor=1)


@pytest.mark.parametrize("amount_minor", [0, -1, 6_001, 10_000])
def test_no_more_is_captured_than_is_left(amount_minor: int) -> None:
    with pytest.raises(InvalidState, match=r"At most 60\.00 USD is left to capture"):
        captured_in_part(4_000).claim(
            Operation.CAPTURE, now=NOW, lease=LEASE, amount_minor=amount_minor
        )


def test_a_void_after_a_part_was_captured_is_rejected() -> None:
    with pytest.raises(InvalidState, match="can be refunded, not canceled"):
        captured_in_part(4_000).claim(Operation.VOID, now=NOW, lease=LEASE)


@pytest.mark.parametrize(
    ("operation", "state", "is_posted"),
    [
        (Operation.CHARGE, "validated", True),
        (Operation.CAPTURE, "authorized", True),
        (Operation.AUTHORIZE, "validated", False),
        (Operation.VOID, "authorized", False),
    ],
)
def test_only_a_captured_amount_is_posted(
    operation: Operation, state: str, is_posted: bool
) -> None:
    unknown = claimed(operation, state)
    postings = unknown.postings_of_result(APPROVED, processor="sim", transaction_id="t1", now=LATER)
    debit = Posting("t1", 0, "p1", "test/processor/sim", "USD", 10_000, LATER)
    credit = Posting("t1", 1, "p1", "test/merchant/acme", "USD", -10_000, LATER)
    assert postings == ((debit, credit) if is_posted else ())
    assert (
        unknown.postings_of_result(DECLINED, processor="sim", transaction_id="t1", now=LATER) == ()
    )


def test_a_part_is_posted_with_its_own_amount() -> None:
    unknown = claimed(Operation.CAPTURE, "authorized", amount_minor=2_500)
    postings = unknown.postings_of_result(APPROVED, processor="sim", transaction_id="t1", now=LATER)
    assert [posting.amount_minor for posting in postings] == [2_500, -2_500]


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


def a_refund() -> Refund:
    return Refund(
        id="r1",
        payment_id="p1",
        merchant_id="acme",
        mode="test",
        amount_minor=4_000,
        currency="USD",
        created_at=NOW,
        due_at=UNTIL,
    )


def test_a_refund_ends_by_the_processors_result() -> None:
    pending = a_refund()
    assert pending.apply_result(APPROVED) == replace(
        pending, state=RefundState.SUCCEEDED, version=2, due_at=None
    )
    assert pending.apply_result(DECLINED) == replace(
        pending, state=RefundState.FAILED, version=2, due_at=None, failure=DECLINED
    )
    assert pending.extend_lease(until=LATER) == replace(pending, version=2, due_at=LATER)


@pytest.mark.parametrize("result", [APPROVED, DECLINED])
def test_an_ended_refund_never_changes(result: Approved | Declined) -> None:
    ended = a_refund().apply_result(result)
    with pytest.raises(InvalidState, match=f"{ended.state} cannot change"):
        ended.apply_result(APPROVED)
    with pytest.raises(InvalidState, match=f"{ended.state} cannot change"):
        ended.extend_lease(until=LATER)


def test_a_refund_posts_the_capture_the_other_way_round() -> None:
    assert a_refund().postings(processor="sim", transaction_id="t2", now=LATER) == (
        Posting("t2", 0, "p1", "test/merchant/acme", "USD", 4_000, LATER),
        Posting("t2", 1, "p1", "test/processor/sim", "USD", -4_000, LATER),
    )
