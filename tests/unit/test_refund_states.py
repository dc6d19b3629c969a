"""A refund: how it ends, and what it posts."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from remit.domain.errors import InvalidState
from remit.domain.ledger import Posting
from remit.domain.operation import Approved, Declined
from remit.domain.refund import Refund, RefundState

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)
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


def test_a_refund_posts_the_capture_the_other_way_round() -> None:
    assert a_refund().postings(processor="sim", transaction_id="t2", now=LATER) == (
        Posting("t2", 0, "p1", "test/merchant/acme", "USD", 4_000, LATER),
        Posting("t2", 1, "p1", "test/processor/sim", "USD", -4_000, LATER),
    )
