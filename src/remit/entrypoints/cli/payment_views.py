"""A payment, its refunds and its history, as the command line shows them and as its JSON has them.

Names and amounts are the API's: `processed`, and "19.99" in major units.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from remit.domain.card import CardSummary
from remit.domain.change import AuditEntry
from remit.domain.money import major_units
from remit.domain.payment import STATUS_NAMES, Payment, State
from remit.domain.refund import Refund
from remit.entrypoints.cli.terminal import instant, number, prose, state, value
from remit.http.two_step.views import payment_view

LIST_COLUMNS = (
    value("payment"),
    state("status"),
    number("amount"),
    number("refunded"),
    value("merchant"),
    value("reference"),
    value("created (UTC)"),
)
REFUND_COLUMNS = (
    value("refund"),
    state("status"),
    number("amount"),
    value("created (UTC)"),
    prose("failure"),
)
HISTORY_COLUMNS = (
    value("at (UTC)"),
    value("action"),
    value("outcome"),
    state("status"),
    number("amount"),
    value("code"),
    value("by"),
)


class RefundView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Money on its way back. The amount is in major units."""

    status: str
    refund_id: str
    transaction_id: str
    amount: str
    currency: str
    created_at: datetime
    failure: str | None = None


class HistoryView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was tried with a payment, by whom, and what came of it."""

    at: datetime
    action: str
    outcome: str
    status: str | None = None
    amount: str | None = None
    currency: str | None = None
    code: str | None = None
    refund_id: str | None = None
    actor: str


def listed_view(payment: Payment) -> dict[str, Any]:
    """As the API lists it, and whose it is."""
    view = msgspec.to_builtins(payment_view(payment))
    return {"merchant": payment.merchant_id, "mode": payment.mode, **view}


def listed_row(payment: Payment) -> tuple[str, ...]:
    return (
        payment.id,
        STATUS_NAMES[payment.state],
        _money(payment.amount_minor, payment.currency),
        _money(payment.refunded_minor, payment.currency) if payment.refunded_minor else "",
        payment.merchant_id,
        payment.reference or "",
        instant(payment.created_at),
    )


def refund_view(refund: Refund) -> RefundView:
    return RefundView(
        status=refund.state.value,
        refund_id=refund.id,
        transaction_id=refund.payment_id,
        amount=major_units(refund.amount_minor, refund.currency),
        currency=refund.currency,
        created_at=refund.created_at,
        failure=refund.failure.message if refund.failure else None,
    )


def refund_row(refund: Refund) -> tuple[str, ...]:
    return (
        refund.id,
        refund.state.value,
        _money(refund.amount_minor, refund.currency),
        instant(refund.created_at),
        refund.failure.message if refund.failure else "",
    )


def history_view(entry: AuditEntry) -> HistoryView:
    amount = entry.currency and major_units(entry.amount_minor or 0, entry.currency)
    return HistoryView(
        at=entry.at,
        action=entry.action,
        outcome=entry.outcome,
        status=entry.state and STATUS_NAMES[State(entry.state)],
        amount=amount,
        currency=entry.currency,
        code=entry.code,
        refund_id=entry.refund_id,
        actor=entry.actor,
    )


def history_row(view: HistoryView) -> tuple[str, ...]:
    return (
        instant(view.at),
        view.action,
        view.outcome,
        view.status or "",
        f"{view.amount} {view.currency}" if view.amount else "",
        view.code or "",
        view.actor,
    )


def payment_fields(payment: Payment) -> Sequence[tuple[str, str]]:
    """What there is to say of the payment itself, a name and a sentence for each."""
    card, failure, action = payment.card, payment.failure, payment.next_action
    said = {
        "payment": payment.id,
        "status": f"{STATUS_NAMES[payment.state]}{_refunded(payment)}",
        "amount": _money(payment.amount_minor, payment.currency),
        "card": card and _card(card),
        "failure": failure
        and " ".join((failure.message, _in_brackets(failure.code, failure.decline_code))),
        "next action": action
        and f"the payer acts at {action.url} until {instant(action.expires_at)} UTC",
        "merchant": f"{payment.merchant_id} ({payment.mode})",
        "customer": payment.customer_id,
        "reference": payment.reference,
        **{f"metadata {name}": text for name, text in (payment.metadata or {}).items()},
        "created": f"{instant(payment.created_at)} UTC",
        "processed": payment.processed_at and f"{instant(payment.processed_at)} UTC",
    }
    return [(name, text) for name, text in said.items() if text]


def _refunded(payment: Payment) -> str:
    if not payment.refunded_minor:
        return ""
    if payment.refunded_minor == payment.captured_minor:
        return ", refunded in full"
    return f", {_money(payment.refunded_minor, payment.currency)} of it refunded"


def _card(card: CardSummary) -> str:
    expiry = f", {card.exp_month:02}/{card.exp_year}" if card.exp_month else ""
    return f"{card.brand} ending in {card.last4}{expiry}"


def _in_brackets(*codes: str | None) -> str:
    return f"({', '.join(code for code in codes if code)})"


def _money(amount_minor: int, currency: str) -> str:
    return f"{major_units(amount_minor, currency)} {currency}"
