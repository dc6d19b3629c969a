"""The OpenAPI 3.1 document, derived from the table of routes and the types that decode requests."""

from collections.abc import Iterable
from typing import Any

import msgspec

from remit.http.errors import MEANINGS
from remit.http.introduction import introduction
from remit.http.responses import ErrorResponse
from remit.http.route import ResponseSpec, Route, Tag
from remit.http.two_step.examples import ERRORS
from remit.payments.validate import Amount


def document(routes: Iterable[Route], processor: str) -> dict[str, Any]:
    """The OpenAPI document of these routes, where payments go to the processor of this name."""
    documented = [route for route in routes if route.tag is not None]
    bodies = {route.body for route in documented if route.body is not None}
    responses = {spec.body for route in documented for spec in route.responses.values()}
    types = sorted({*bodies, *responses, ErrorResponse}, key=lambda kind: kind.__name__)
    _, components = msgspec.json.schema_components(
        types, schema_hook=_schema_of, ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in documented:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Remit API",
            "version": "1",
            "description": introduction(processor),
        },
        # Relative to where the document is, so right behind any proxy and on any port.
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {"bearer": []}, {"basic": []}],
        "tags": [{"name": tag.name, "description": tag.description} for tag in _tags(documented)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-api-key",
                    "description": "The key in a header of its own.",
                },
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The key as a bearer token.",
                },
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The key as the user name, and no password.",
                },
            },
        },
    }


def _tags(routes: Iterable[Route]) -> list[Tag]:
    """Each tag once, in the order of the table."""
    return list(dict.fromkeys(route.tag for route in routes if route.tag is not None))


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
    responses = {str(status): _response(spec) for status, spec in route.responses.items()}
    errors = {
        str(status): _response(ResponseSpec(MEANINGS[status], ErrorResponse, ERRORS[status]))
        for status in _errors(route)
        if status not in route.responses
    }
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [] if route.tag is None else [route.tag.name],
        "parameters": _parameters(route),
        "responses": dict(sorted((responses | errors).items())),
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
    """The statuses of errors that a route of this kind can have, beside those in the table."""
    if route.is_public:
        return set()
    errors = {400, 401, 429, 500, 503}
    if route.body is not None:
        errors |= {408, 413, 415}
    if route.is_idempotent:
        errors |= {409, 422}
    if route.stores_response:
        # Nothing is ever in flight: the response is there with the change, or nothing is.
        errors.add(422)
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
        {
            "name": field.name,
            "in": "query",
            "schema": dict(field.schema),
            "description": field.description,
        }
        for field in route.query
    ]
    if route.is_idempotent or route.stores_response:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
                "description": "A repeat with the same key gets the first outcome.",
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


def _response(spec: ResponseSpec) -> dict[str, Any]:
    return {"description": spec.description, "content": _content(spec.body, spec.example)}


def _content(body: type, example: Any) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{body.__name__}"}}
    if example is not None:
        media["example"] = example
    return {"application/json": media}
