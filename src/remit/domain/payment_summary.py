"""The part of a payment that a merchant is shown, which is also the part that is cached.

It is a type of its own because a cached payment must decide nothing. Every use case takes a
`Payment`. A summary has neither the encrypted card nor the pending operation.
"""

from datetime import datetime

import msgspec

from remit.domain.caller import Mode
from remit.domain.card import CardSummary
from remit.domain.operation import Declined, NextAction
from remit.domain.payment import Payment, State


class PaymentSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Fields of `Payment` under the same names. The version lets a cache keep the newest."""

    id: str
    merchant_id: str
    mode: Mode
    version: int
    amount_minor: int
    currency: str
    created_at: datetime
    state: State
    customer_id: str | None = None
    reference: str | None = None
    metadata: dict[str, str] | None = None
    card: CardSummary | None = None
    captured_minor: int = 0
    refunded_minor: int = 0
    failure: Declined | None = None
    next_action: NextAction | None = None
    processed_at: datetime | None = None


def payment_summary(payment: Payment) -> PaymentSummary:
    return PaymentSummary(
        **{name: getattr(payment, name) for name in PaymentSummary.__struct_fields__}
    )
