"""An operation: who may send it, how it waits, and how it ends."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from remit.domain.errors import InvalidState
from remit.domain.operation import (
    OPEN,
    Approved,
    Declined,
    NotDone,
    Operation,
    OperationKind,
    OperationState,
    ProcessorResult,
)
from remit.domain.payment import Payment
from tests.builders import an_operation

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
UNTIL = NOW + timedelta(seconds=15)
LATER = NOW + timedelta(seconds=60)
EXPIRES_AT = NOW + timedelta(hours=1)
APPROVED = Approved("ref-1")
DECLINED = Declined("card_declined", "The card was declined.", "generic_decline")

PAYMENT = Payment(
    id="p1",
    merchant_id="acme",
    mode="test",
    amount_minor=10_000,
    currency="USD",
    created_at=NOW,
    fingerprint="f1",
)

ENDS: dict[ProcessorResult, OperationState] = {
    APPROVED: OperationState.SUCCEEDED,
    DECLINED: OperationState.DECLINED,
    NotDone(): OperationState.NOT_DONE,
}
"""The state in which each result ends an operation."""


def queued() -> Operation:
    """A new operation for a worker, which no process has taken yet."""
    return an_operation(
        PAYMENT,
        OperationKind.CHARGE,
        state=OperationState.QUEUED,
        attempts=0,
        processes=0,
        expires_at=EXPIRES_AT,
        due_at=EXPIRES_AT,
    )


def sent() -> Operation:
    """An operation that one process has taken and has leased."""
    return an_operation(PAYMENT, OperationKind.CHARGE, leased_until=UNTIL, due_at=UNTIL)


@pytest.mark.parametrize("state", OperationState)
def test_only_a_queued_or_sent_operation_is_open(state: OperationState) -> None:
    is_open = state in (OperationState.QUEUED, OperationState.SENT)
    assert replace(sent(), state=state).is_open == is_open
    assert (state in OPEN) == is_open


def test_a_queued_operation_that_is_taken_has_one_sender() -> None:
    before = queued()
    assert before.take(now=NOW, until=UNTIL) == replace(
        before,
        state=OperationState.SENT,
        version=2,
        attempts=1,
        processes=1,
        sent_at=NOW,
        leased_until=UNTIL,
        due_at=UNTIL,
    )


def test_a_sent_operation_that_is_taken_has_one_more_sender() -> None:
    before = sent()
    assert before.take(now=NOW, until=LATER) == replace(
        before, version=2, attempts=2, processes=2, leased_until=LATER, due_at=LATER
    )


def test_each_process_that_takes_an_operation_is_counted() -> None:
    operation = queued()
    counts = []
    for _ in range(3):
        operation = operation.take(now=NOW, until=UNTIL)
        counts.append((operation.version, operation.attempts, operation.processes))
    assert counts == [(2, 1, 1), (3, 2, 2), (4, 3, 3)]


def test_the_sole_sender_of_an_operation_is_certain_to_have_it() -> None:
    taken = queued().take(now=NOW, until=UNTIL)
    assert taken.is_certainly_with(taken)


def test_the_sole_sender_is_certain_also_after_a_change_that_sends_nothing() -> None:
    taken = queued().take(now=NOW, until=UNTIL)
    assert taken.postpone(until=LATER).is_certainly_with(taken)
    assert taken.wait(until=LATER).is_certainly_with(taken)


def test_no_sender_is_certain_once_another_process_has_taken_the_operation() -> None:
    first = queued().take(now=NOW, until=UNTIL)
    second = first.take(now=NOW, until=LATER)
    assert not second.is_certainly_with(first)
    assert not second.is_certainly_with(second)


def test_no_process_is_certain_of_an_operation_that_is_queued_or_has_ended() -> None:
    taken = queued().take(now=NOW, until=UNTIL)
    assert not taken.requeue(due_at=LATER).is_certainly_with(taken)
    for result in ENDS:
        assert not taken.end(result).is_certainly_with(taken)


def test_only_the_new_sender_is_certain_of_an_operation_that_was_queued_again() -> None:
    first = queued().take(now=NOW, until=UNTIL)
    second = first.requeue(due_at=LATER).take(now=NOW, until=LATER)
    assert (second.attempts, second.processes) == (2, 1)
    assert second.is_certainly_with(second)
    assert not second.is_certainly_with(first)


def test_an_operation_that_is_queued_again_has_no_sender() -> None:
    taken = queued().take(now=NOW, until=UNTIL)
    assert taken.requeue(due_at=LATER) == replace(
        taken,
        state=OperationState.QUEUED,
        version=3,
        processes=0,
        sent_at=None,
        leased_until=None,
        due_at=LATER,
    )


def test_an_operation_without_a_result_is_sent_again_after_a_wait() -> None:
    before = sent()
    waiting = before.wait(until=LATER)
    assert waiting == replace(before, version=2, leased_until=LATER, due_at=LATER)
    assert (waiting.is_leased(LATER - MOMENT), waiting.is_leased(LATER)) == (True, False)


@pytest.mark.parametrize("before", [queued(), sent()], ids=["queued", "sent"])
def test_a_postponed_operation_changes_nothing_but_when_the_sweep_takes_it_up(
    before: Operation,
) -> None:
    assert before.postpone(until=LATER) == replace(before, version=2, due_at=LATER)


@pytest.mark.parametrize("before", [queued(), sent()], ids=["queued", "sent"])
@pytest.mark.parametrize(("result", "state"), ENDS.items(), ids=ENDS.values())
def test_an_operation_ends_by_its_result_or_by_none(
    before: Operation, result: ProcessorResult, state: OperationState
) -> None:
    assert before.end(result) == replace(
        before, state=state, version=2, result=result, leased_until=None, due_at=None
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda ended: ended.take(now=NOW, until=LATER),
        lambda ended: ended.requeue(due_at=LATER),
        lambda ended: ended.wait(until=LATER),
        lambda ended: ended.end(APPROVED),
        lambda ended: ended.end(DECLINED),
        lambda ended: ended.end(NotDone()),
    ],
    ids=["take", "requeue", "wait", "approve", "decline", "end without a result"],
)
@pytest.mark.parametrize(("result", "state"), ENDS.items(), ids=ENDS.values())
def test_an_ended_operation_never_changes(
    result: ProcessorResult, state: OperationState, change: Callable[[Operation], Operation]
) -> None:
    ended = sent().end(result)
    assert not ended.is_open
    with pytest.raises(InvalidState, match=f"An operation that is {state} cannot change"):
        change(ended)


def test_a_queued_operation_expires_at_its_time() -> None:
    operation = queued()
    assert not operation.has_expired(EXPIRES_AT - MOMENT)
    assert operation.has_expired(EXPIRES_AT)
    assert operation.has_expired(EXPIRES_AT + MOMENT)


def test_a_queued_operation_without_an_end_never_expires() -> None:
    assert not replace(queued(), expires_at=None).has_expired(EXPIRES_AT)


def test_an_operation_that_is_sent_or_has_ended_never_expires() -> None:
    taken = queued().take(now=NOW, until=UNTIL)
    assert taken.expires_at == EXPIRES_AT
    assert not taken.has_expired(EXPIRES_AT)
    for result in ENDS:
        assert not taken.end(result).has_expired(EXPIRES_AT)


def test_an_operation_that_is_queued_again_expires_when_it_would_have() -> None:
    operation = queued().take(now=NOW, until=UNTIL).requeue(due_at=LATER)
    assert not operation.has_expired(EXPIRES_AT - MOMENT)
    assert operation.has_expired(EXPIRES_AT)


def test_an_operation_is_leased_until_its_lease_ends() -> None:
    operation = sent()
    assert operation.is_leased(UNTIL - MOMENT)
    assert not operation.is_leased(UNTIL)
    assert not queued().is_leased(NOW)
    assert not operation.requeue(due_at=LATER).is_leased(NOW)
    assert not operation.end(APPROVED).is_leased(NOW)
