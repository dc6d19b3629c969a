"""What callers are answered: the views of a payment, and the one error → status table.

Shared by every entry point that speaks HTTP, so that an answer does not depend on who carried it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import assert_never

import msgspec

from remit.domain.card import CardSummary
from remit.domain.errors import (
    InvalidRequest,
    InvalidState,
    KeyInFlight,
    KeyReused,
    NotFound,
    ProcessorUnavailable,
    RateLimited,
    ReferenceTaken,
    RemitError,
    Unauthenticated,
    Unavailable,
)
from remit.domain.money import major_units
from remit.domain.payment import STATUS_NAMES, Declined, Payment, State
from remit.domain.payment_summary import PaymentSummary
from remit.payments.results import Accepted, Queued, Rejected, Replayed, StepResult

STATES_BY_STATUS = {name: state for state, name in STATUS_NAMES.items()}

ERRORS: Mapping[type[RemitError], tuple[int, str]] = {
    InvalidRequest: (400, "invalid_request_error"),
    Unauthenticated: (401, "authentication_error"),
    NotFound: (404, "invalid_request_error"),
    InvalidState: (409, "invalid_state_error"),
    ReferenceTaken: (409, "invalid_state_error"),
    KeyInFlight: (409, "idempotency_error"),
    KeyReused: (422, "idempotency_error"),
    RateLimited: (429, "rate_limit_error"),
    Unavailable: (503, "api_error"),
    ProcessorUnavailable: (503, "api_error"),
}
"""The one table. What is not in it is our fault: 500."""


class Unreadable(InvalidRequest):
    """A body that cannot be taken as JSON at all, with the status that says so."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message, param=None, code=code)
        self.status = status


class Response(msgspec.Struct, frozen=True):
    """A response, before any server has touched it."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    media_type: str = "application/json"


HEADERS = (
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
)
"""What every answer says."""


def response_headers(answer: Response, request_id: str) -> list[tuple[str, str]]:
    return [
        ("content-type", answer.media_type),
        ("x-request-id", request_id),
        *HEADERS,
        *answer.headers,
    ]


def too_large(limit_bytes: int) -> Unreadable:
    return Unreadable(413, "body_too_large", f"The body is larger than {limit_bytes} bytes.")


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str
    code: str
    message: str
    param: str | None = None
    decline_code: str | None = None


class ErrorResponse(msgspec.Struct, frozen=True):
    """Every error, whatever its status."""

    error: ErrorBody
    request_id: str


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


_encode = msgspec.json.Encoder().encode


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
    return Response(200, _encode(page))


def payment_response(payment: Payment | PaymentSummary) -> Response:
    return Response(200, _encode(payment_view(payment)))


def json_response(value: object, status: int = 200) -> Response:
    return Response(status, _encode(value))


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
            return Response(200, _encode(view), _replay_headers(outcome))
        case Rejected(error):
            return error_response(error, request_id)
        case _:
            assert_never(outcome)


def process_response(outcome: StepResult, request_id: str) -> Response:
    """The answer of `POST /process`."""
    match outcome:
        case Queued(payment) | Replayed(payment, queued=True):
            view = msgspec.structs.replace(payment_view(payment), status="processing")
            return Response(202, _encode(view), _replay_headers(outcome))
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
            return Response(402, _encode(ErrorResponse(body, request_id)))
        case State.UNKNOWN:
            return Response(202, _encode(payment_view(payment)))
        case State.VALIDATED:
            error = ProcessorUnavailable("The processor never received the payment. Try again.")
            return error_response(error, request_id)
        case State.CANCELED:
            return error_response(InvalidState("The payment is canceled."), request_id)
        case _:
            assert_never(payment.state)


def _replay_headers(outcome: StepResult) -> tuple[tuple[str, str], ...]:
    return (("idempotent-replayed", "true"),) if isinstance(outcome, Replayed) else ()


def error_response(error: RemitError, request_id: str) -> Response:
    status, kind = ERRORS.get(type(error), (500, "api_error"))
    if isinstance(error, Unreadable):
        status, kind = error.status, "invalid_request_error"
    if status == 500:
        return internal_error_response(request_id)
    code = error.reason if isinstance(error, InvalidRequest) else error.code
    return error_of(
        status,
        kind,
        code,
        error.message,
        request_id,
        param=getattr(error, "param", None),
        retry_after_seconds=getattr(error, "retry_after_seconds", None),
    )


def error_of(
    status: int,
    kind: str,
    code: str,
    message: str,
    request_id: str,
    *,
    param: str | None = None,
    retry_after_seconds: int | None = None,
) -> Response:
    body = _encode(ErrorResponse(ErrorBody(kind, code, message, param), request_id))
    if retry_after_seconds is None:
        return Response(status, body)
    return Response(status, body, (("retry-after", str(retry_after_seconds)),))


def internal_error_response(request_id: str) -> Response:
    return error_of(500, "api_error", "internal", "Something went wrong on our side.", request_id)
