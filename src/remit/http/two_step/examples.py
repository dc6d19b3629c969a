"""Example bodies for the documents. A test holds them against what the service really answers."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

PAYMENT_ID = "0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e"

REQUEST_ID = "0197f2d4-9b02-7f11-8c3d-2a1b0c9d8e7f"

PAYMENT_REQUEST: dict[str, Any] = {
    "amount": "99.99",
    "currency": "USD",
    "customer_id": "cus_1",
    "payment_id": "order-1001",
    "card": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"},
}
PROCESS_REQUEST: dict[str, Any] = {"transaction_id": PAYMENT_ID}

VALIDATED: dict[str, Any] = {
    "status": "validated",
    "transaction_id": PAYMENT_ID,
    "message": "Payment validated successfully",
    "amount": "99.99",
    "currency": "USD",
    "card": {"brand": "visa", "last4": "4242"},
}
PROCESSED: dict[str, Any] = {
    "status": "processed",
    "transaction_id": PAYMENT_ID,
    "amount": "99.99",
    "currency": "USD",
    "created_at": "2026-11-20T12:00:00Z",
    "processed_at": "2026-11-20T12:00:01Z",
    "amount_captured": "99.99",
    "amount_refunded": "0.00",
    "customer_id": "cus_1",
    "payment_id": "order-1001",
    "card": {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030},
}
PROCESSING: dict[str, Any] = {
    **{name: value for name, value in PROCESSED.items() if name != "processed_at"},
    "status": "processing",
    "amount_captured": "0.00",
}
PAGE: dict[str, Any] = {"data": [PROCESSED], "next_cursor": None}


def _error(kind: str, code: str, message: str, **more: str) -> dict[str, Any]:
    error = {"type": kind, "code": code, "message": message, **more}
    return {"error": error, "request_id": REQUEST_ID}


AMOUNT_MISSING = _error(
    "invalid_request_error", "field_missing", "amount is required.", param="amount"
)
TRANSACTION_ID_MISSING = _error(
    "invalid_request_error", "field_missing", "transaction_id is required.", param="transaction_id"
)
LIMIT_INVALID = _error(
    "invalid_request_error",
    "field_invalid",
    "limit must be a whole number from 1 to 100.",
    param="limit",
)
DECLINED = _error(
    "card_error", "card_declined", "The card was declined.", decline_code="generic_decline"
)
NOT_FOUND = _error("invalid_request_error", "not_found", "No such payment.", param="transaction_id")
REFERENCE_TAKEN = _error(
    "invalid_state_error",
    "payment_id_taken",
    "payment_id 'order-1001' already names a payment made of a different request.",
)

ERRORS: Mapping[int, dict[str, Any]] = MappingProxyType(
    {
        400: _error(
            "invalid_request_error",
            "live_mode_unavailable",
            "This is a live key, and only the simulated processor is configured, which moves no "
            "money: use a test key.",
        ),
        401: _error("authentication_error", "api_key_invalid", "This API key is not valid."),
        408: _error(
            "invalid_request_error", "body_timeout", "The body did not arrive within 10 s."
        ),
        409: _error(
            "idempotency_error",
            "idempotency_key_in_use",
            "The first request with this Idempotency-Key is still in progress.",
        ),
        413: _error(
            "invalid_request_error", "body_too_large", "The body is larger than 65536 bytes."
        ),
        415: _error(
            "invalid_request_error",
            "content_type",
            "Send JSON with Content-Type: application/json.",
        ),
        422: _error(
            "idempotency_error",
            "idempotency_key_reused",
            "This Idempotency-Key was first used with a different request.",
        ),
        429: _error(
            "rate_limit_error",
            "rate_limit",
            "Too many requests for this key. Slow down and try again.",
        ),
        500: _error("api_error", "internal", "Something went wrong on our side."),
        503: _error(
            "api_error", "service_unavailable", "The database cannot be reached. Try again."
        ),
    }
)
"""One error of each status that a route answers with as any other does."""

HEALTHY: dict[str, Any] = {
    "status": "healthy",
    "checks": {
        "database": {"ok": True},
        "delivery": {"ok": True, "detail": "oldest message waits 0 s"},
        "dead_letters": {"ok": True, "detail": "0 dead letters"},
        "monitor": {"ok": True, "detail": "ran 3 s ago"},
    },
}
UNHEALTHY: dict[str, Any] = {
    "status": "unhealthy",
    "checks": {
        "database": {"ok": False, "detail": "The database cannot be reached. Try again."},
        "delivery": {"ok": False, "detail": "The database cannot be reached. Try again."},
        "dead_letters": {"ok": False, "detail": "The database cannot be reached. Try again."},
        "monitor": {"ok": False, "detail": "The database cannot be reached. Try again."},
    },
}


class SimulatedCard(NamedTuple):
    """A card number, and what `POST /process` answers to it; `POST /validate` where it is 400."""

    number: str
    status: int
    code: str | None = None
    decline_code: str | None = None


TEST_CARDS = (
    SimulatedCard("4242424242424242", 200),
    SimulatedCard("4000000000000002", 402, "card_declined", "generic_decline"),
    SimulatedCard("4000000000009995", 402, "card_declined", "insufficient_funds"),
    SimulatedCard("4000000000000069", 402, "expired_card", "expired_card"),
    SimulatedCard("4000000000000127", 402, "incorrect_cvc", "incorrect_cvc"),
    SimulatedCard("4000000000000119", 402, "processing_error", "processing_error"),
    SimulatedCard("4100000000000019", 402, "card_declined", "fraudulent"),
    SimulatedCard("4242424242424241", 400, "card_number_incorrect"),
)
"""The cards that the simulated processor knows."""
