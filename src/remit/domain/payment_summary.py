"""What a merchant is shown of a payment: all that is ever cached of it.

A type of its own, so that nothing which decides can be handed what was cached: that takes a
`Payment`, and this holds neither a sealed card nor a question to the processor.
"""

from datetime import datetime

import msgspec

from remit.domain.card import CardSummary
from remit.domain.payment import Declined, Mode, Payment, State


class PaymentSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As in `Payment`. Whose it is and its version are for whoever keeps it."""

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
    processed_at: datetime | None = None


def payment_summary(payment: Payment) -> PaymentSummary:
    return PaymentSummary(
        **{name: getattr(payment, name) for name in PaymentSummary.__struct_fields__}
    )
