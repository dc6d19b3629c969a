"""A refund: how it ends, and how it fails afterwards."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from remit.domain.errors import InvalidState
from remit.domain.operation import Approved, Declined, Reversed
from remit.domain.refund import Refund, RefundState

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
APPROVED = Approved("ref-1")
DECLINED = Declined("card_declined", "The card was declined.", "generic_decline")


def a_refund() -> Refund:
    return Refund(
        id="r1",
        payment_id="p1",
        merchant_id="acme",
        mode="test",
        amount_minor=4_000,
        currency="USD",
        created_at=NOW,
    )


def test_a_refund_ends_by_the_processors_result() -> None:
    pending = a_refund()
    assert pending.apply_result(APPROVED) == replace(
        pending, state=RefundState.SUCCEEDED, version=2
    )
    assert pending.apply_result(DECLINED) == replace(
        pending, state=RefundState.FAILED, version=2, failure=DECLINED
    )


@pytest.mark.parametrize("result", [APPROVED, DECLINED])
def test_an_ended_refund_never_changes(result: Approved | Declined) -> None:
    ended = a_refund().apply_result(result)
    with pytest.raises(InvalidState, match=f"{ended.state} cannot change"):
        ended.apply_result(APPROVED)
    with pytest.raises(InvalidState, match=f"{ended.state} cannot change"):
        ended.apply_result(DECLINED)


def test_a_refund_that_fails_afterwards_has_failed() -> None:
    succeeded = a_refund().apply_result(APPROVED)
    after = succeeded.reverse(Reversed("refund_failed", "The bank returned it."))
    assert (after.state, after.version) == (RefundState.FAILED, 3)
    assert after.failure == Declined("refund_failed", "The bank returned it.")


@pytest.mark.parametrize("refund", [a_refund(), a_refund().apply_result(DECLINED)])
def test_a_refund_that_did_not_succeed_cannot_fail_afterwards(refund: Refund) -> None:
    with pytest.raises(InvalidState, match="cannot fail afterwards"):
        refund.reverse(Reversed("refund_failed", "The bank returned it."))
