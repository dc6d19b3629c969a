"""Example bodies for the documents. A test holds them against what the service really answers."""

from typing import Any

PAYMENT_ID = "0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e"

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
DECLINED: dict[str, Any] = {
    "error": {
        "type": "card_error",
        "code": "card_declined",
        "message": "The card was declined.",
        "decline_code": "generic_decline",
    },
    "request_id": "0197f2d4-9b02-7f11-8c3d-2a1b0c9d8e7f",
}
NOT_FOUND: dict[str, Any] = {
    "error": {
        "type": "invalid_request_error",
        "code": "not_found",
        "message": "No such payment.",
        "param": "transaction_id",
    },
    "request_id": "0197f2d4-9b02-7f11-8c3d-2a1b0c9d8e7f",
}
HEALTHY: dict[str, Any] = {
    "status": "healthy",
    "checks": {
        "database": {"ok": True},
        "delivery": {"ok": True, "detail": "oldest message waits 0 s"},
        "dead_letters": {"ok": True, "detail": "0 dead letters"},
        "monitor": {"ok": True, "detail": "looked 3 s ago"},
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

TEST_CARDS: tuple[tuple[str, str], ...] = (
    ("4242424242424242", "success"),
    ("4000000000000002", "declined: `generic_decline`"),
    ("4000000000009995", "declined: `insufficient_funds`"),
    ("4000000000000069", "declined: `expired_card`"),
    ("4000000000000127", "declined: `incorrect_cvc`"),
    ("4000000000000119", "`processing_error`"),
    ("4100000000000019", "declined: `fraudulent`"),
    ("4242424242424241", "refused: the check digit is wrong"),
)
"""What the simulated processor answers, by the card's number."""
