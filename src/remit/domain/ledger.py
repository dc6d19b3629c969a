"""The ledger: double-entry postings, and the accounts that each movement of money debits.

A posting is immutable. Debits are positive and credits negative, so the postings of one ledger
transaction sum to zero in each currency. A mistake is corrected by a new transaction.

    capture   processor owes us  +   merchant is owed  -
    refund    processor owes us  -   merchant is owed  +

What fails at the processor afterwards is posted the other way round. What was done too late for its
payment to take it is posted to the suspense account instead of the merchant's.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

import msgspec

from remit.domain.money import Money


class Posting(msgspec.Struct, frozen=True):
    """One line of a ledger transaction. `transaction_id` is the ledger's own, not the payment's."""

    transaction_id: str
    line: int
    payment_id: str
    account: str
    currency: str
    amount_minor: int
    at: datetime


class Unbalanced(Exception):
    """Postings do not sum to zero. This is a fault of Remit, never of a caller."""


def processor_account(processor: str, mode: str) -> str:
    return f"{mode}/processor/{processor}"


def merchant_account(merchant_id: str, mode: str) -> str:
    return f"{mode}/merchant/{merchant_id}"


def suspense_account(mode: str) -> str:
    """Money that a processor moved and that no payment takes: it is given back, or a person's to
    settle. At rest the account is at zero.
    """
    return f"{mode}/suspense"


def transfer(
    *, transaction_id: str, payment_id: str, debit: str, credit: str, money: Money, at: datetime
) -> tuple[Posting, Posting]:
    """The two postings that move `money` from the account `credit` to the account `debit`.

    Raises Unbalanced for an amount that is not positive.
    """
    if money.amount_minor <= 0:
        raise Unbalanced(f"a transfer must move a positive amount, not {money.amount_minor}")
    return (
        Posting(transaction_id, 0, payment_id, debit, money.currency, money.amount_minor, at),
        Posting(transaction_id, 1, payment_id, credit, money.currency, -money.amount_minor, at),
    )


def check_balanced(postings: Iterable[Posting]) -> None:
    """Raises Unbalanced unless every ledger transaction sums to zero in each of its currencies."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for posting in postings:
        sums[posting.transaction_id, posting.currency] += posting.amount_minor
    for (transaction_id, currency), total in sums.items():
        if total:
            raise Unbalanced(f"ledger transaction {transaction_id} is off by {total} {currency}")
