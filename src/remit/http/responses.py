"""Responses, independent of any server: their headers, errors, and the stored form of one."""

import msgspec
import structlog

from remit.domain.errors import InvalidRequest, RemitError
from remit.http.errors import HTTP_ERRORS, STATUSES

HEADERS = (
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
)
"""On every response that does not set them itself."""

encode = msgspec.json.Encoder().encode

log = structlog.get_logger("http")


class Response(msgspec.Struct, frozen=True):
    """A status, a body and the headers beside the common ones.

    With `file`, the server sends that file as the body, and holds none of it in memory.
    """

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    media_type: str = "application/json"
    file: str | None = None


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str
    code: str
    message: str
    param: str | None = None
    decline_code: str | None = None


class ErrorResponse(msgspec.Struct, frozen=True):
    """The body of every error."""

    error: ErrorBody
    request_id: str


class UnreadableBody(InvalidRequest):
    """The body is too large, too slow, or not JSON. `HTTP_ERRORS` has the status of its `code`."""

    def __init__(self, code: str, message: str | None = None) -> None:
        super().__init__(message or HTTP_ERRORS[code].message, param=None, code=code)
        self.status = HTTP_ERRORS[code].status


def body_too_large(limit_bytes: int) -> UnreadableBody:
    return UnreadableBody("body_too_large", f"The body is larger than {limit_bytes} bytes.")


def response_headers(response: Response, request_id: str) -> list[tuple[str, str]]:
    own = {name for name, _ in response.headers}
    return [
        ("content-type", response.media_type),
        ("x-request-id", request_id),
        *(header for header in HEADERS if header[0] not in own),
        *response.headers,
    ]


def json_response(value: object, status: int = 200) -> Response:
    return Response(status, encode(value))


def error_response(error: RemitError, request_id: str) -> Response:
    """The response to a domain error, by `STATUSES`. One that is not there, nor what it derives
    from, is a fault of the service: it is logged.
    """
    found = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), None)
    if isinstance(error, UnreadableBody):
        found = error.status, "invalid_request_error"
    if found is None:
        log.error("error_without_status", request_id=request_id, exc_info=error)
        return http_error("internal", request_id)
    status, kind = found
    code = error.reason if isinstance(error, InvalidRequest) else error.code
    body = ErrorBody(kind, code, error.message, getattr(error, "param", None))
    wait_seconds = getattr(error, "retry_after_seconds", None)
    headers = () if wait_seconds is None else (("retry-after", str(wait_seconds)),)
    return Response(status, encode(ErrorResponse(body, request_id)), headers)


def http_error(code: str, request_id: str, message: str | None = None) -> Response:
    """The response to an error of HTTP, by its code in `HTTP_ERRORS`."""
    status, kind, default_message = HTTP_ERRORS[code]
    body = ErrorBody(kind, code, message or default_message)
    return Response(status, encode(ErrorResponse(body, request_id)))


def as_replay(response: Response) -> Response:
    """The response with the header that marks it as a replay."""
    headers = (*response.headers, ("idempotent-replayed", "true"))
    return msgspec.structs.replace(response, headers=headers)


class _StoredResponse(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    media_type: str


_stored_response = msgspec.msgpack.Decoder(_StoredResponse)


def encode_response(response: Response) -> bytes:
    """The response in the form that an idempotency record stores, which is without its headers."""
    return msgspec.msgpack.encode(
        _StoredResponse(response.status, response.body, response.media_type)
    )


def decode_response(encoded: bytes) -> Response:
    """The response that `encode_response` encoded."""
    stored = _stored_response.decode(encoded)
    return Response(stored.status, stored.body, media_type=stored.media_type)
