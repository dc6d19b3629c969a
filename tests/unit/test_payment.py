"""The payment's state table, held against one written by hand, and every step's arithmetic."""

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
    Refund,
    RefundState,
    State,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=3)
LEASE = timedelta(seconds=15)
UNTIL = NOW + LEASE
YES = Approved("ref-1")
NO = Declined("card_declined", "The card was declined.", "generic_decline")

NEXT = {
    "validated": {"authorized", "captured", "declined", "unknown", "canceled"},
    "authorized": {"captured", "canceled", "unknown"},
    "captured": set(),
    "declined": {"authorized", "captured", "declined", "unknown", "canceled"},
    "unknown": {"validated", "authorized", "captured", "declined", "unknown", "canceled"},
    "canceled": set(),
}
"""Which state may follow which, as the contract with callers says it."""

ALLOWED = {
    ("validated", "charge"),
    ("validated", "authorize"),
    ("declined", "charge"),
    ("declined", "authorize"),
    ("authorized", "capture"),
    ("authorized", "void"),
}
"""Which state a payment can be in to take which step."""

MONEY_HELD = {
    "authorized": {"authorized_minor": 10_000},
    "captured": {"authorized_minor": 10_000, "captured_minor": 10_000},
}


def payment(state: str = "validated", **fields: object) -> Payment:
    made = Payment(
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
        encrypted_card="sealed",
    )
    return replace(made, **{**MONEY_HELD.get(state, {}), **fields})


def claimed(operation: Operation, state: str, **given: int | bool) -> Payment:
    return payment(state).claim(operation, now=NOW, lease=LEASE, **given)  # type: ignore[arg-type]


def test_the_transitions_are_those_of_the_contract() -> None:
    assert {state.value: {to.value for to in row} for state, row in TRANSITIONS.items()} == NEXT


@pytest.mark.parametrize(
    ("state", "operation"),
    [pair for pair in product(NEXT, ["charge", "authorize", "capture", "void"]) if pair in ALLOWED],
)
def test_a_step_that_the_state_allows_is_put_on_record(state: str, operation: str) -> None:
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
def test_a_step_that_the_state_forbids_is_refused(state: str, operation: str) -> None:
    with pytest.raises(InvalidState, match=f"{state} cannot take the step: {operation}"):
        payment(state).claim(Operation(operation), now=NOW, lease=LEASE)


@pytest.mark.parametrize("state", NEXT)
def test_only_a_captured_payment_can_promise_a_refund(state: str) -> None:
    before = payment(state, captured_minor=10_000)
    if state == "captured":
        after = before.reserve_refund(4_000)
        assert after == replace(before, version=8, refunded_minor=4_000)
        return
    with pytest.raises(InvalidState, match=f"{state} cannot be refunded"):
        before.reserve_refund(4_000)


@pytest.mark.parametrize("state", NEXT)
def test_only_a_payment_that_was_not_taken_can_be_canceled_unasked(state: str) -> None:
    before = payment(state)
    if state in ("validated", "declined"):
        assert before.cancel() == replace(
            before, state=State.CANCELED, version=8, attempt=3, encrypted_card=None
        )
        return
    with pytest.raises(InvalidState, match=f"{state} cannot be canceled"):
        before.cancel()


@pytest.mark.parametrize("state", NEXT)
def test_only_a_payment_that_was_not_taken_takes_another_card(state: str) -> None:
    before, other = payment(state), CardSummary("amex", "0005")
    if state in ("validated", "declined"):
        after = before.with_card(other, "sealed again")
        assert after == replace(before, card=other, encrypted_card="sealed again")
        return
    with pytest.raises(InvalidState, match=f"{state} cannot take another card"):
        before.with_card(other, "sealed again")


SETTLED = {"version": 9, "attempt": 3, "pending": None, "encrypted_card": None, "due_at": None}


@pytest.mark.parametrize("state", ["validated", "declined"])
@pytest.mark.parametrize(
    ("operation", "result"),
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
def test_an_approved_payment_holds_its_money(
    state: str, operation: Operation, result: dict[str, object]
) -> None:
    asked = claimed(operation, state)
    assert asked.apply_result(YES, now=LATER) == replace(asked, **SETTLED, **result)


@pytest.mark.parametrize("operation", [Operation.CHARGE, Operation.AUTHORIZE])
def test_a_declined_payment_says_why(operation: Operation) -> None:
    asked = claimed(operation, "validated")
    assert asked.apply_result(NO, now=LATER) == replace(
        asked, **SETTLED, state=State.DECLINED, failure=NO, processed_at=LATER
    )


def test_an_approved_capture_takes_all_that_is_left() -> None:
    asked = claimed(Operation.CAPTURE, "authorized")
    assert asked.apply_result(YES, now=LATER) == replace(
        asked, **SETTLED, state=State.CAPTURED, captured_minor=10_000, processed_at=LATER
    )


def test_an_approved_void_cancels() -> None:
    asked = claimed(Operation.VOID, "authorized")
    assert asked.apply_result(YES, now=LATER) == replace(asked, **SETTLED, state=State.CANCELED)


@pytest.mark.parametrize("operation", [Operation.CAPTURE, Operation.VOID])
def test_a_declined_capture_or_void_leaves_the_authorization(operation: Operation) -> None:
    asked = claimed(operation, "authorized")
    assert asked.apply_result(NO, now=LATER) == replace(
        asked, **SETTLED, state=State.AUTHORIZED, failure=NO
    )


def test_the_next_success_forgets_the_failure_before() -> None:
    asked = payment("declined", failure=NO).claim(Operation.CHARGE, now=NOW, lease=LEASE)
    assert asked.apply_result(YES, now=LATER).failure is None


def test_each_definite_answer_gives_the_next_question_a_new_key() -> None:
    asked = claimed(Operation.CHARGE, "validated")
    again = asked.apply_result(NO, now=LATER).claim(Operation.CHARGE, now=LATER, lease=LEASE)
    assert (asked.pending and asked.pending.key, again.pending and again.pending.key) == (
        "p1-2",
        "p1-3",
    )


def test_a_question_nobody_heard_is_taken_back_and_keeps_its_key() -> None:
    before = payment()
    asked = before.claim(Operation.CHARGE, now=NOW, lease=LEASE)
    resumed = asked.return_to_previous_state(due_at=LATER)
    assert resumed == replace(before, version=9, due_at=LATER)
    assert resumed.claim(Operation.CHARGE, now=NOW, lease=LEASE).pending == asked.pending


def test_a_renewed_question_stays_the_same_but_for_its_owner() -> None:
    asked = claimed(Operation.CHARGE, "validated")
    assert asked.pending is not None
    assert asked.extend_lease(until=LATER) == replace(
        asked, version=9, due_at=LATER, pending=replace(asked.pending, until=LATER)
    )


def test_without_an_open_question_there_is_nothing_to_settle() -> None:
    for step in (
        lambda: payment().apply_result(YES, now=NOW),
        lambda: payment().return_to_previous_state(due_at=None),
        lambda: payment().extend_lease(until=NOW),
        lambda: payment().postings_of_result(YES, processor="sim", transaction_id="t", now=NOW),
    ):
        with pytest.raises(InvalidState, match="validated has no question open"):
            step()


def captured_in_part(amount_minor: int, *, final: bool = False) -> Payment:
    asked = payment("authorized").claim(
        Operation.CAPTURE, now=NOW, lease=LEASE, amount_minor=amount_minor, final=final
    )
    return asked.apply_result(YES, now=LATER)


def test_an_authorization_is_captured_in_parts_until_none_is_left() -> None:
    part = captured_in_part(4_000)
    assert (part.state, part.captured_minor) == (State.AUTHORIZED, 4_000)
    rest = part.claim(Operation.CAPTURE, now=NOW, lease=LEASE, final=False)
    assert rest.pending is not None
    assert rest.pending.amount_minor == 6_000
    whole = rest.apply_result(YES, now=LATER)
    assert (whole.state, whole.captured_minor) == (State.CAPTURED, 10_000)


def test_a_final_part_closes_the_payment_and_the_rest_is_let_go() -> None:
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


def test_a_void_after_a_part_was_captured_is_refused() -> None:
    with pytest.raises(InvalidState, match="can be refunded, not canceled"):
        captured_in_part(4_000).claim(Operation.VOID, now=NOW, lease=LEASE)


@pytest.mark.parametrize(
    ("operation", "state", "books_it"),
    [
        (Operation.CHARGE, "validated", True),
        (Operation.CAPTURE, "authorized", True),
        (Operation.AUTHORIZE, "validated", False),
        (Operation.VOID, "authorized", False),
    ],
)
def test_only_money_that_moved_is_posted(operation: Operation, state: str, books_it: bool) -> None:
    asked = claimed(operation, state)
    postings = asked.postings_of_result(YES, processor="sim", transaction_id="t1", now=LATER)
    owed = Posting("t1", 0, "p1", "test/processor/sim", "USD", 10_000, LATER)
    owing = Posting("t1", 1, "p1", "test/merchant/acme", "USD", -10_000, LATER)
    assert postings == ((owed, owing) if books_it else ())
    assert asked.postings_of_result(NO, processor="sim", transaction_id="t1", now=LATER) == ()


def test_a_part_is_posted_with_its_own_amount() -> None:
    asked = claimed(Operation.CAPTURE, "authorized", amount_minor=2_500)
    postings = asked.postings_of_result(YES, processor="sim", transaction_id="t1", now=LATER)
    assert [posting.amount_minor for posting in postings] == [2_500, -2_500]


def test_refunds_never_promise_more_than_was_captured() -> None:
    taken = payment("captured").reserve_refund(4_000).reserve_refund(6_000)
    assert (taken.refunded_minor, taken.refundable_minor) == (10_000, 0)
    with pytest.raises(InvalidState, match=r"At most 0\.00 USD"):
        taken.reserve_refund(1)
    freed = taken.release_refund(6_000)
    assert (freed.refunded_minor, freed.version) == (4_000, 10)
    with pytest.raises(InvalidState, match=r"At most 60\.00 USD"):
        freed.reserve_refund(6_001)


@pytest.mark.parametrize("amount_minor", [0, -1])
def test_a_refund_of_nothing_is_refused(amount_minor: int) -> None:
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


def test_a_refund_ends_as_the_processor_says() -> None:
    asked = a_refund()
    assert asked.apply_result(YES) == replace(
        asked, state=RefundState.SUCCEEDED, version=2, due_at=None
    )
    assert asked.apply_result(NO) == replace(
        asked, state=RefundState.FAILED, version=2, due_at=None, failure=NO
    )
    assert asked.extend_lease(until=LATER) == replace(asked, version=2, due_at=LATER)


@pytest.mark.parametrize("answer", [YES, NO])
def test_an_ended_refund_never_changes(answer: Approved | Declined) -> None:
    ended = a_refund().apply_result(answer)
    with pytest.raises(InvalidState, match=f"{ended.state} cannot change"):
        ended.apply_result(YES)
    with pytest.raises(InvalidState, match=f"{ended.state} cannot change"):
        ended.extend_lease(until=LATER)


def test_a_refund_posts_the_capture_the_other_way_round() -> None:
    assert a_refund().postings(processor="sim", transaction_id="t2", now=LATER) == (
        Posting("t2", 0, "p1", "test/merchant/acme", "USD", 4_000, LATER),
        Posting("t2", 1, "p1", "test/processor/sim", "USD", -4_000, LATER),
    )
