"""The ledger: the postings of a transfer, and the balance of every transaction."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from remit.domain.change import Change
from remit.domain.ledger import (
    Posting,
    Unbalanced,
    check_balanced,
    merchant_account,
    processor_account,
    transfer,
)
from remit.domain.money import Money

AT = datetime(2026, 11, 20, tzinfo=UTC)


def moved(amount_minor: int = 500, transaction_id: str = "t1") -> tuple[Posting, Posting]:
    return transfer(
        transaction_id=transaction_id,
        payment_id="p1",
        debit="test/processor/sim",
        credit="test/merchant/acme",
        money=Money(amount_minor, "USD"),
        at=AT,
    )


def test_a_transfer_debits_one_account_and_credits_the_other() -> None:
    assert moved() == (
        Posting("t1", 0, "p1", "test/processor/sim", "USD", 500, AT),
        Posting("t1", 1, "p1", "test/merchant/acme", "USD", -500, AT),
    )


@pytest.mark.parametrize("amount_minor", [0, -1])
def test_a_transfer_of_nothing_is_rejected(amount_minor: int) -> None:
    with pytest.raises(Unbalanced):
        moved(amount_minor)


def test_accounts_keep_modes_merchants_and_processors_apart() -> None:
    assert merchant_account("acme", "test") == "test/merchant/acme"
    assert merchant_account("acme", "live") == "live/merchant/acme"
    assert processor_account("simulated", "live") == "live/processor/simulated"


def test_postings_are_balanced_in_each_transaction_and_each_currency() -> None:
    debit, credit = moved()
    check_balanced(())
    check_balanced(moved() + moved(transaction_id="t2"))
    for postings in (
        (debit,),
        (debit, replace(credit, amount_minor=-499)),
        (debit, replace(credit, currency="EUR")),
        (debit, replace(credit, transaction_id="t2")),
        (debit, debit),
    ):
        with pytest.raises(Unbalanced, match="ledger transaction t1 is off by"):
            check_balanced(postings)


def test_a_change_rejects_postings_that_do_not_balance() -> None:
    debit, credit = moved()
    assert Change(audit=(), postings=(debit, credit)).postings == (debit, credit)
    with pytest.raises(Unbalanced):
        Change(audit=(), postings=(debit,))


def test_a_posting_cannot_be_altered() -> None:
    with pytest.raises(AttributeError):
        moved()[0].amount_minor = 1  # type: ignore[misc]
