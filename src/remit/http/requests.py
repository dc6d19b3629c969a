"""What callers send, read: bodies, headers, query parameters; each refused in one clear sentence.

Shared by every entry point that speaks HTTP. What is answered is in `answers.py`.
"""

import base64
import binascii
import json
import re
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from remit.domain.card import holds_card_number
from remit.domain.errors import InvalidRequest
from remit.domain.ids import is_id
from remit.domain.payment import State
from remit.http.responses import STATES_BY_STATUS, Unreadable
from remit.payments.process import ProcessRequest
from remit.payments.validate import Amount, PaymentRequest

T = TypeVar("T")

MAX_QUERY_FIELDS = 50

MAX_KEY_LENGTH = 255
"""Of an Idempotency-Key, in characters."""


def _amount(kind: type, written: object) -> object:
    if kind is Amount:
        return Amount(written)
    raise NotImplementedError(kind)


_validate = msgspec.json.Decoder(PaymentRequest, dec_hook=_amount, float_hook=Decimal)
_process = msgspec.json.Decoder(ProcessRequest)


def require_json(content_type: str | None) -> None:
    """Raises Unreadable unless a body is declared as JSON."""
    media = (content_type or "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise Unreadable(415, "content_type", "Send JSON with Content-Type: application/json.")


def read_payment_request(body: bytes) -> PaymentRequest:
    """The body of `POST /validate`. Raises InvalidRequest."""
    return _read(_validate, body)


def read_process_request(body: bytes) -> ProcessRequest:
    """The body of `POST /process`. Raises InvalidRequest."""
    return _read(_process, body)


def _read(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    try:
        request = decoder.decode(body)
        _strict.decode(body.decode())
    except msgspec.ValidationError as error:
        raise _field_error(str(error)) from error
    except RecursionError as error:
        raise InvalidRequest("The body is nested too deeply.", param=None, code="json") from error
    except (msgspec.DecodeError, ValueError) as error:
        if not body.strip():
            raise InvalidRequest("The body is empty.", param=None, code="body_empty") from error
        raise InvalidRequest("The body is not valid JSON.", param=None, code="json") from error
    return request


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON leaves a repeated name undefined (RFC 8259, section 4); about money it must not be."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise InvalidRequest(
            "A field appears more than once.", param=_shown(repeated), code="field_repeated"
        )
    return fields


_strict = json.JSONDecoder(object_pairs_hook=_refuse_repeated, parse_int=str, parse_float=str)


_PROBLEM = re.compile(r"(?P<problem>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)
_FIELD = re.compile(r"(?:missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)


def _field_error(text: str) -> InvalidRequest:
    """A type error of the decoder, as a sentence that names the field."""
    match = _PROBLEM.fullmatch(text)
    problem = match["problem"] if match else text
    path = (match["path"] or "") if match else ""
    path = re.sub(r"\[.*\]", "", path.removeprefix("key in ")).removeprefix("$").removeprefix(".")
    if field := _FIELD.search(problem):
        name = _shown(field["name"])
        path = ".".join(part for part in (path, name) if part)
        missing = "missing" in problem
        sentence = (
            f"{path} is required." if missing else f"{path or 'A field'} is not a known field."
        )
        return InvalidRequest(
            sentence, param=path or None, code="field_missing" if missing else "field_unknown"
        )
    problem = problem.replace("`", "")
    if not path:
        return InvalidRequest(f"The body is not right: {problem}.", param=None, code="body_invalid")
    return InvalidRequest(f"{path} is not right: {problem}.", param=path, code="field_invalid")


def _shown(name: str) -> str | None:
    """A field's name if it is safe to repeat: callers put all kinds of things in wrong places."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}", name, re.ASCII) else None


def read_idempotency_key(text: str | None) -> str | None:
    """Raises InvalidRequest unless it is 1 to 255 printable characters that are no card number."""
    if text is None:
        return None
    if not 0 < len(text) <= MAX_KEY_LENGTH or not text.isascii() or not text.isprintable():
        raise InvalidRequest(
            f"Idempotency-Key must be 1 to {MAX_KEY_LENGTH} printable ASCII characters.",
            param="Idempotency-Key",
            code="idempotency_key_invalid",
        )
    if holds_card_number(text):
        raise InvalidRequest(
            "Idempotency-Key must not hold a card number.",
            param="Idempotency-Key",
            code="card_number_misplaced",
        )
    return text


def read_query(text: str, known: frozenset[str]) -> dict[str, str]:
    """Query parameters, each at most once. Raises InvalidRequest for one that is not `known`."""
    found: dict[str, str] = {}
    try:
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError as error:
        raise InvalidRequest(
            f"At most {MAX_QUERY_FIELDS} query parameters are read.",
            param=None,
            code="query_too_long",
        ) from error
    for name, value in fields:
        if name not in known:
            shown = _shown(name)
            raise InvalidRequest(
                f"{shown or 'A parameter'} is not a known parameter.",
                param=shown,
                code="field_unknown",
            )
        if name in found or len(value) > 255 or "\x00" in value:
            raise InvalidRequest(f"{name} is not right.", param=name, code="field_invalid")
        found[name] = value
    return found


def api_key(x_api_key: str | None, authorization: str | None) -> str | None:
    """The key, from whichever of the three places it was sent in."""
    if x_api_key is not None:
        return x_api_key
    scheme, _, credentials = (authorization or "").partition(" ")
    match scheme.lower():
        case "bearer":
            return credentials.strip()
        case "basic":
            try:
                return base64.b64decode(credentials, validate=True).decode().partition(":")[0]
            except (binascii.Error, UnicodeDecodeError):
                return None
        case _:
            return None


def read_limit(text: str | None, *, default: int, maximum: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= maximum):
        raise InvalidRequest(
            f"limit must be a whole number from 1 to {maximum}.",
            param="limit",
            code="field_invalid",
        )
    return int(text)


def read_cursor(text: str | None) -> str | None:
    if text is not None and not is_id(text):
        raise InvalidRequest(
            "cursor must be a next_cursor of an earlier page.", param="cursor", code="field_invalid"
        )
    return text


def read_status(text: str | None) -> State | None:
    if text is None:
        return None
    if text not in STATES_BY_STATUS:
        raise InvalidRequest(
            f"status must be one of {', '.join(STATES_BY_STATUS)}.",
            param="status",
            code="field_invalid",
        )
    return STATES_BY_STATUS[text]


def prefers_async(text: str | None) -> bool:
    """Whether the Prefer header asks for `respond-async` (RFC 7240, section 4.1)."""
    return any(part.strip().lower() == "respond-async" for part in (text or "").split(","))
