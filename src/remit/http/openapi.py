"""The OpenAPI 3.1 document, derived from the table of routes and the types that decode requests."""

from collections.abc import Iterable
from typing import Any

import msgspec

from remit.http.errors import HTTP_ERRORS, STATUSES
from remit.http.responses import ErrorResponse
from remit.http.route import Answer, Route
from remit.payments.validate import Amount
from remit.settings import Settings

_ERRORS = {
    400: "A field is wrong; `param` names it.",
    401: "No key, or a wrong one.",
    408: "The body did not arrive in time.",
    409: "The state does not allow the step, or the same key is still in flight.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The Idempotency-Key came before with a different request.",
    429: "Over the key's rate; see Retry-After.",
    500: "Our fault.",
    503: "A dependency is down; safe to retry with the same key.",
}
_KNOWN = {status for status, _ in STATUSES.values()} | {e.status for e in HTTP_ERRORS.values()}
if not set(_ERRORS) <= _KNOWN:
    raise AssertionError("a status that no error has")


def document(settings: Settings, routes: Iterable[Route]) -> dict[str, Any]:
    """The OpenAPI document of these routes."""
    documented = [route for route in routes if route.is_documented]
    bodies = {route.body for route in documented if route.body is not None}
    answers = {answer.body for route in documented for answer in route.answers.values()}
    types = sorted({*bodies, *answers, ErrorResponse}, key=lambda kind: kind.__name__)
    _, components = msgspec.json.schema_components(
        types, schema_hook=_schema_of, ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in documented:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Remit",
            "version": "1",
            "description": "Validate a payment, then process it. Amounts are decimal strings in "
            "major units, read exactly.",
        },
        "servers": [{"url": f"http://{settings.host}:{settings.port}"}],
        "security": [{"key": []}, {"bearer": []}, {"basic": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _schema_of(kind: type) -> dict[str, Any]:
    if kind is Amount:
        return {
            "description": "In major units: a JSON number, or a decimal string. Read exactly.",
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"},
            ],
        }
    raise NotImplementedError(kind)


def _operation(route: Route) -> dict[str, Any]:
    answers = {str(status): _answer(answer) for status, answer in route.answers.items()}
    errors = {
        str(status): _answer(Answer(_ERRORS[status], ErrorResponse))
        for status in _errors(route)
        if status not in route.answers
    }
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": dict(sorted((answers | errors).items())),
    }
    if route.description:
        operation["description"] = route.description
    if route.is_public:
        operation["security"] = []
    if route.body is not None:
        content = _content(route.body, route.example)
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _errors(route: Route) -> set[int]:
    """What any route of its kind can answer beside its own answers."""
    if route.is_public:
        return set()
    errors = {400, 401, 429, 500, 503}
    if route.body is not None:
        errors |= {408, 413, 415}
    if route.is_idempotent or route.keeps_response:
        errors |= {409, 422}
    return errors


def _parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"},
        }
        for name in route.params
    ]
    found += [
        {"name": field.name, "in": "query", "schema": dict(field.schema)} for field in route.query
    ]
    if route.is_idempotent or route.keeps_response:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
                "description": "Makes a repeat answer with the first outcome.",
            }
        )
    found += [
        {
            "name": header.name,
            "in": "header",
            "schema": dict(header.schema),
            "description": header.description,
        }
        for header in route.headers
    ]
    return found


def _answer(answer: Answer) -> dict[str, Any]:
    return {"description": answer.description, "content": _content(answer.body, answer.example)}


def _content(body: type, example: Any) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{body.__name__}"}}
    if example is not None:
        media["example"] = example
    return {"application/json": media}
