"""Reads bodies, headers and query strings. An error names the field in one sentence.

The types of each route say what a field may hold.
"""

import base64
import binascii
import json
import re
from collections.abc import Collection
from typing import Any, TypeVar, get_args
from urllib.parse import parse_qsl

import msgspec

from remit.domain.card import holds_card_number
from remit.domain.errors import InvalidRequest
from remit.http.responses import UnreadableBody

T = TypeVar("T")

MAX_QUERY_FIELDS = 50

MAX_KEY_LENGTH = 255
"""The longest Idempotency-Key, in characters."""


def require_json(content_type: str | None) -> None:
    """Raises UnreadableBody unless the Content-Type is JSON."""
    media = (content_type or "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise UnreadableBody("content_type")


def read_json(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """The body, decoded to the decoder's type. Raises InvalidRequest, which names the field."""
    try:
        request = decoder.decode(body)
        _strict.decode(body.decode())
    except msgspec.ValidationError as error:
        raise _field_error(str(error), decoder.type) from error
    except RecursionError as error:
        raise InvalidRequest("The body is nested too deeply.", param=None, code="json") from error
    except (msgspec.DecodeError, ValueError) as error:
        if not body.strip():
            raise InvalidRequest("The body is empty.", param=None, code="body_empty") from error
        raise InvalidRequest("The body is not valid JSON.", param=None, code="json") from error
    return request


def _reject_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises InvalidRequest for a repeated name. JSON does not define which value counts (RFC 8259,
    section 4), and an amount must not be in doubt.
    """
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise InvalidRequest(
            "A field appears more than once.", param=_safe_name(repeated), code="field_repeated"
        )
    return fields


_strict = json.JSONDecoder(object_pairs_hook=_reject_repeated, parse_int=str, parse_float=str)


_PROBLEM = re.compile(r"(?P<problem>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)
_FIELD = re.compile(r"(?:missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)


def _field_error(text: str, expected: Any) -> InvalidRequest:
    """The decoder's type error, as a sentence that names the field. For an unknown field it lists
    the known ones.
    """
    match = _PROBLEM.fullmatch(text)
    problem = match["problem"] if match else text
    path = (match["path"] or "") if match else ""
    path = re.sub(r"\[.*\]", "", path.removeprefix("key in ")).removeprefix("$").removeprefix(".")
    if field := _FIELD.search(problem):
        name = _safe_name(field["name"])
        known = _fields_at(expected, path)
        path = ".".join(part for part in (path, name) if part)
        is_missing = "missing" in problem
        sentence = f"{path} is required."
        if not is_missing:
            sentence = f"{path or 'A field'} is not a known field. Known: {', '.join(known)}."
        return InvalidRequest(
            sentence, param=path or None, code="field_missing" if is_missing else "field_unknown"
        )
    problem = problem.replace("`", "")
    if not path:
        return InvalidRequest(f"The body is not right: {problem}.", param=None, code="body_invalid")
    return InvalidRequest(f"{path} is not right: {problem}.", param=path, code="field_invalid")


def _safe_name(name: str) -> str | None:
    """The name of a field, if it is safe to repeat. Callers may send a card number as a name."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}", name, re.ASCII) else None


def _fields_at(expected: Any, path: str) -> tuple[str, ...]:
    """The names of the fields of the struct at `path` in the expected type."""
    for part in filter(None, path.split(".")):
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(expected)}
        choices = get_args(fields[part]) or (fields[part],)
        expected = next(kind for kind in choices if hasattr(kind, "__struct_fields__"))
    return tuple(field.encode_name for field in msgspec.structs.fields(expected))


def read_idempotency_key(text: str | None) -> str | None:
    """The Idempotency-Key. Raises InvalidRequest unless it is 1 to 255 printable ASCII characters
    without a card number.
    """
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


def read_query(text: str, known: Collection[str]) -> dict[str, str]:
    """The query parameters. Raises InvalidRequest for one that is repeated or not `known`."""
    query: dict[str, str] = {}
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
            param = _safe_name(name)
            raise InvalidRequest(
                f"{param or 'A parameter'} is not a known parameter. "
                f"Known: {', '.join(known) or 'none'}.",
                param=param,
                code="field_unknown",
            )
        if name in query or len(value) > 255 or "\x00" in value:
            raise InvalidRequest(f"{name} is not right.", param=name, code="field_invalid")
        query[name] = value
    return query


def read_api_key(x_api_key: str | None, authorization: str | None) -> str | None:
    """The API key: in `x-api-key`, as a bearer token, or as the user name of Basic."""
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


def prefers_async(text: str | None) -> bool:
    """Whether the Prefer header asks for `respond-async` (RFC 7240, section 4.1)."""
    return any(part.strip().lower() == "respond-async" for part in (text or "").split(","))
