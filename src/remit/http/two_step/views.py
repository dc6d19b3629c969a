"""The views of a payment on the two-step endpoints, and the responses with them."""

from datetime import datetime
from typing import assert_never

import msgspec

from remit.domain.card import CardSummary
from remit.domain.errors import InvalidState, ProcessorUnavailable
from remit.domain.money import major_units
from remit.domain.operation import Declined, NextAction
from remit.domain.payment import STATUS_NAMES, Payment, State
from remit.domain.payment_summary import PaymentSummary
from remit.http.responses import (
    ErrorBody,
    ErrorResponse,
    Response,
    as_replay,
    error_response,
    json_response,
)
from remit.payments.results import Accepted, Queued, Rejected, Replayed, StepResult

STATES_BY_STATUS = {name: state for state, name in STATUS_NAMES.items()}


class CardView(msgspec.Struct, frozen=True, omit_defaults=True):
    brand: str
    last4: str
    exp_month: int | None = None
    exp_year: int | None = None


class ValidatedView(msgspec.Struct, frozen=True, omit_defaults=True):
    """The response of `POST /validate`."""

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


class NextActionView(msgspec.Struct, frozen=True):
    """Where the payer has to act, as in 3-D Secure, and until when."""

    redirect_to_url: str
    expires_at: datetime


class PaymentView(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A payment in the responses of `/process` and `/payments`. Amounts are in major units."""

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
    next_action: NextActionView | None = None


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
        next_action=_next_action_view(payment.next_action),
    )


def _card_view(card: CardSummary | None) -> CardView | None:
    if card is None:
        return None
    return CardView(card.brand, card.last4, card.exp_month, card.exp_year)


def _failure_view(failure: Declined | None) -> FailureView | None:
    if failure is None:
        return None
    return FailureView(failure.code, failure.message, failure.decline_code)


def _next_action_view(action: NextAction | None) -> NextActionView | None:
    return None if action is None else NextActionView(action.url, action.expires_at)


def page_response(payments: list[Payment], limit: int) -> Response:
    """One page. `payments` has one more than `limit` if there is a next page."""
    on_page = payments[:limit]
    next_cursor = on_page[-1].id if len(payments) > limit else None
    return json_response(PageView([payment_view(payment) for payment in on_page], next_cursor))


def payment_response(payment: Payment | PaymentSummary) -> Response:
    return json_response(payment_view(payment))


def validate_response(result: StepResult, request_id: str) -> Response:
    """The response of `POST /validate`."""
    match result:
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
            return _mark_replay(json_response(view), result)
        case Rejected(error):
            return error_response(error, request_id)
        case _:
            assert_never(result)


def process_response(result: StepResult, request_id: str) -> Response:
    """The response of `POST /process`."""
    match result:
        case Queued(payment) | Replayed(payment, queued=True):
            return _mark_replay(json_response(payment_view(payment), 202), result)
        case Accepted(payment) | Replayed(payment):
            return _mark_replay(_state_response(payment, request_id), result)
        case Rejected(error):
            return error_response(error, request_id)
        case _:
            assert_never(result)


def _state_response(payment: Payment, request_id: str) -> Response:
    """The response of `POST /process` for the state that the payment is in."""
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
            return json_response(ErrorResponse(body, request_id), 402)
        case State.UNKNOWN | State.REQUIRES_ACTION:
            return json_response(payment_view(payment), 202)
        case State.VALIDATED:
            error = ProcessorUnavailable("The processor never received the payment. Try again.")
            return error_response(error, request_id)
        case State.CANCELED:
            return error_response(InvalidState("The payment is canceled."), request_id)
        case _:
            assert_never(payment.state)


def _mark_replay(response: Response, result: StepResult) -> Response:
    return as_replay(response) if isinstance(result, Replayed) else response
