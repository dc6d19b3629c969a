"""Every error that a caller can get: the one table of types, codes and statuses.

The service answers from it, and API Gateway does for what it refuses by itself. A domain error that
is not in it is our fault: 500.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from remit.domain.errors import (
    InvalidRequest,
    InvalidState,
    KeyInFlight,
    KeyReused,
    LiveModeUnavailable,
    NotFound,
    ProcessorUnavailable,
    RateLimited,
    ReferenceTaken,
    RemitError,
    Unauthenticated,
    Unavailable,
)

STATUSES: Mapping[type[RemitError], tuple[int, str]] = MappingProxyType(
    {
        InvalidRequest: (400, "invalid_request_error"),
        LiveModeUnavailable: (400, "invalid_request_error"),
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
)
"""Status and type of each error of the domain; its code and its message are its own."""


class HttpError(NamedTuple):
    """An error of HTTP itself, before any use case."""

    status: int
    type: str
    message: str


HTTP_ERRORS: Mapping[str, HttpError] = MappingProxyType(
    {
        "body_invalid": HttpError(400, "invalid_request_error", "The body must be a JSON object."),
        "request_refused": HttpError(400, "invalid_request_error", "The request was refused."),
        "api_key_invalid": HttpError(401, "authentication_error", "This API key is not valid."),
        "route_unknown": HttpError(
            404,
            "invalid_request_error",
            "There is nothing at this path.",
        ),
        "method_not_allowed": HttpError(
            405, "invalid_request_error", "This path does not take this method."
        ),
        "body_timeout": HttpError(408, "invalid_request_error", "The body did not arrive in time."),
        "body_too_large": HttpError(413, "invalid_request_error", "The body is too large."),
        "content_type": HttpError(
            415, "invalid_request_error", "Send JSON with Content-Type: application/json."
        ),
        "rate_limit": HttpError(
            429, "rate_limit_error", "Too many requests for this key. Slow down and try again."
        ),
        "quota_exceeded": HttpError(
            429, "rate_limit_error", "This API key has used up its requests for today."
        ),
        "internal": HttpError(500, "api_error", "Something went wrong on our side."),
    }
)
"""By code."""
