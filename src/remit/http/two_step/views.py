"""Views of a payment, as the two-step endpoints show it, and the responses made of them."""

from datetime import datetime
from typing import assert_never

import msgspec

from remit.domain.card import CardSummary
from remit.domain.errors import InvalidState, ProcessorUnavailable
from remit.domain.money import major_units
from remit.domain.payment import STATUS_NAMES, Declined, Payment, State
from remit.domain.payment_summary import PaymentSummary
from remit.http.responses import (
    ErrorBody,
    ErrorResponse,
    Response,
    encode,
    error_response,
)
from remit.payments.results import Accepted, Queued, Rejected, Replayed, StepResult

STATES_BY_STATUS = {name: state for state, name in STATUS_NAMES.items()}


class CardView(msgspec.Struct, frozen=True, omit_defaults=True):
    brand: str
    last4: str
    exp_month: int | None = None
    exp_year: int | None = None


class ValidatedView(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer of `POST /validate`."""

    status: str
    transaction_id: str
    message: str
    amount: str
    currency: str
    card: CardView | None = None


class FailureView(msgspec.Struct, frozen=True, omit_defaults=True):
    code: str
    message: str
    decline_code: str | None = None


class PaymentView(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A payment, as `POST /process` and `GET /payments` answer it. Amounts are in major units."""

    status: str
    transaction_id: str
    amount: str
    currency: str
    created_at: datetime
    processed_at: datetime | None = None
    amount_captured: str
    amount_refunded: str
    customer_id: str | None = None
    payment_id: str | None = None
    metadata: dict[str, str] | None = None
    card: CardView | None = None
    failure: FailureView | None = None


class PageView(msgspec.Struct, frozen=True):
    """One page of payments, newest first. `next_cursor` is null on the last page."""

    data: list[PaymentView]
    next_cursor: str | None


def payment_view(payment: Payment | PaymentSummary) -> PaymentView:
    return PaymentView(
        status=STATUS_NAMES[payment.state],
        transaction_id=payment.id,
        amount=major_units(payment.amount_minor, payment.currency),
        currency=payment.currency,
        created_at=payment.created_at,
        processed_at=payment.processed_at,
        amount_captured=major_units(payment.captured_minor, payment.currency),
        amount_refunded=major_units(payment.refunded_minor, payment.currency),
        customer_id=payment.customer_id,
        payment_id=payment.reference,
        metadata=payment.metadata,
        card=_card_view(payment.card),
        failure=_failure_view(payment.failure),
    )


def _card_view(card: CardSummary | None) -> CardView | None:
    if card is None:
        return None
    return CardView(card.brand, card.last4, card.exp_month, card.exp_year)


def _failure_view(failure: Declined | None) -> FailureView | None:
    if failure is None:
        return None
    return FailureView(failure.code, failure.message, failure.decline_code)


def page_response(payments: list[Payment], limit: int) -> Response:
    """`payments` holds one more than `limit` when there is a next page."""
    shown = payments[:limit]
    more = len(payments) > limit
    page = PageView([payment_view(payment) for payment in shown], shown[-1].id if more else None)
    return Response(200, encode(page))


def payment_response(payment: Payment | PaymentSummary) -> Response:
    return Response(200, encode(payment_view(payment)))


def validate_response(outcome: StepResult, request_id: str) -> Response:
    """The answer of `POST /validate`."""
    match outcome:
        case Accepted(payment) | Replayed(payment) | Queued(payment):
            card = payment.card
            view = ValidatedView(
                status=STATUS_NAMES[State.VALIDATED],
                transaction_id=payment.id,
                message="Payment validated successfully",
                amount=major_units(payment.amount_minor, payment.currency),
                currency=payment.currency,
                card=CardView(card.brand, card.last4) if card else None,
            )
            return Response(200, encode(view), _replay_headers(outcome))
        case Rejected(error):
            return error_response(error, request_id)
        case _:
            assert_never(outcome)


def process_response(outcome: StepResult, request_id: str) -> Response:
    """The answer of `POST /process`."""
    match outcome:
        case Queued(payment) | Replayed(payment, queued=True):
            view = msgspec.structs.replace(payment_view(payment), status="processing")
            return Response(202, encode(view), _replay_headers(outcome))
        case Accepted(payment) | Replayed(payment):
            answer = _processed(payment, request_id)
            return msgspec.structs.replace(
                answer, headers=answer.headers + _replay_headers(outcome)
            )
        case Rejected(error):
            return error_response(error, request_id)
        case _:
            assert_never(outcome)


def _processed(payment: Payment, request_id: str) -> Response:
    match payment.state:
        case State.CAPTURED | State.AUTHORIZED:
            return payment_response(payment)
        case State.DECLINED:
            failure = payment.failure
            body = ErrorBody(
                "card_error",
                failure.code if failure else "card_declined",
                failure.message if failure else "The card was declined.",
                decline_code=failure.decline_code if failure else None,
            )
            return Response(402, encode(ErrorResponse(body, request_id)))
        case State.UNKNOWN:
            return Response(202, encode(payment_view(payment)))
        case State.VALIDATED:
            error = ProcessorUnavailable("The processor never received the payment. Try again.")
            return error_response(error, request_id)
        case State.CANCELED:
            return error_response(InvalidState("The payment is canceled."), request_id)
        case _:
            assert_never(payment.state)


def _replay_headers(outcome: StepResult) -> tuple[tuple[str, str], ...]:
    return (("idempotent-replayed", "true"),) if isinstance(outcome, Replayed) else ()
