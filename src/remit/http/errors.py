"""The table of every error that a caller can get: type, code and status.

The service's responses are made from it, and so are API Gateway's own. A domain error that is not
in the table is a fault of the service, with status 500.
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
    ResultUnknown,
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
        ResultUnknown: (500, "api_error"),
        Unavailable: (503, "api_error"),
        ProcessorUnavailable: (503, "api_error"),
    }
)
"""Status and type of each domain error. The error itself has its code and its message."""


class HttpError(NamedTuple):
    """An error of the HTTP request, before any use case is called."""

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

MEANINGS: Mapping[int, str] = MappingProxyType(
    {
        400: "Something in the request is wrong; `param` names the field.",
        401: "No key, or a wrong one.",
        402: "The processor declined; `decline_code` says why.",
        404: "No such object of this merchant, or nothing at this path.",
        405: "This path does not take this method.",
        408: "The body did not arrive in time.",
        409: "The state does not allow the step, or the same key is still in flight.",
        413: "The body is too large.",
        415: "The body is not JSON.",
        422: "The Idempotency-Key came before with a different request.",
        429: "Over the key's rate; `Retry-After` says when to come back.",
        500: "Our fault. With `result_unknown` it is not known yet whether it was done: send it "
        "again with the same key.",
        503: "A dependency is down; safe to retry with the same key.",
    }
)
"""By status, for the documents."""

CARD_ERROR = (402, "card_error")
"""Status and type of what a processor declines. Its code is the processor's."""

_KNOWN = {
    *(status for status, _ in STATUSES.values()),
    *(error.status for error in HTTP_ERRORS.values()),
    CARD_ERROR[0],
}
if MEANINGS.keys() != _KNOWN:
    raise AssertionError("every status has its meaning, and no other")
