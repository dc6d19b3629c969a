"""The OpenAPI 3.1 document, generated from the types that decode requests, and its page at /docs.

The page is plain HTML made here: it needs no script and fetches nothing.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import msgspec

from remit.http.responses import (
    STATES_BY_STATUS,
    ErrorResponse,
    PageView,
    PaymentView,
    ValidatedView,
)
from remit.oversight.health import Health
from remit.payments.process import ProcessRequest
from remit.payments.validate import Amount, PaymentRequest
from remit.settings import Settings

_EXAMPLE_CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"}
_EXAMPLE_ID = "0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e"
_ERRORS = {
    "400": "A field is wrong; `param` names it.",
    "401": "No key, or a wrong one.",
    "404": "No such object for this merchant.",
    "408": "The body did not arrive in time.",
    "409": "The state does not allow the step, or the same key is still in flight.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "422": "The Idempotency-Key came before with a different request.",
    "429": "Over the key's rate; see Retry-After.",
    "500": "Our fault.",
    "503": "A dependency is down; safe to retry with the same key.",
}
_READING = ("401", "429", "500", "503")
_WRITING = ("400", "401", "408", "409", "413", "415", "422", "429", "500", "503")


def document(settings: Settings) -> dict[str, Any]:
    """The OpenAPI document for these settings."""
    shown = [
        PaymentRequest,
        ProcessRequest,
        ValidatedView,
        PaymentView,
        PageView,
        Health,
        ErrorResponse,
    ]
    _, components = msgspec.json.schema_components(
        shown, schema_hook=_schema_of, ref_template="#/components/schemas/{name}"
    )
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
        "paths": {
            "/validate": {"post": _validate()},
            "/process": {"post": _process()},
            "/payments": {"get": _list()},
            "/payments/{transaction_id}": {"get": _show()},
            "/health": {"get": _health()},
        },
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


def _validate() -> dict[str, Any]:
    example = {
        "amount": "99.99",
        "currency": "USD",
        "customer_id": "cus_1",
        "payment_id": "order-1001",
        "card": _EXAMPLE_CARD,
    }
    return {
        "operationId": "validate",
        "summary": "Validate a payment",
        "description": "Checks every field and stores the payment as `validated`.",
        "parameters": [_idempotency_key()],
        "requestBody": _body("PaymentRequest", example),
        "responses": {"200": _response("The payment is validated.", "ValidatedView")}
        | _errors(_WRITING),
    }


def _process() -> dict[str, Any]:
    prefer = {
        "name": "Prefer",
        "in": "header",
        "schema": {"type": "string", "maxLength": 255},
        "description": "`respond-async` leaves the work to the queue and answers 202.",
    }
    return {
        "operationId": "process",
        "summary": "Process a validated payment",
        "description": "Charges the payment through the processor. Processing twice answers with "
        "the first outcome.",
        "parameters": [_idempotency_key(), prefer],
        "requestBody": _body("ProcessRequest", {"transaction_id": _EXAMPLE_ID}),
        "responses": {
            "200": _response("The money is captured.", "PaymentView"),
            "202": _response("Accepted, or the processor has not answered yet.", "PaymentView"),
            "402": _response("The processor declined.", "ErrorResponse"),
        }
        | _errors((*_WRITING, "404")),
    }


def _list() -> dict[str, Any]:
    def query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "in": "query", "schema": schema}

    text = {"type": "string", "maxLength": 255}
    return {
        "operationId": "list_payments",
        "summary": "List payments, newest first",
        "parameters": [
            query("limit", {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}),
            query("cursor", {"type": "string", "format": "uuid"}),
            query("status", {"type": "string", "enum": list(STATES_BY_STATUS)}),
            query("customer_id", text),
            query("payment_id", text),
        ],
        "responses": {"200": _response("One page.", "PageView")} | _errors(("400", *_READING)),
    }


def _show() -> dict[str, Any]:
    transaction_id = {
        "name": "transaction_id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    }
    return {
        "operationId": "show_payment",
        "summary": "Show one payment",
        "parameters": [transaction_id],
        "responses": {"200": _response("The payment.", "PaymentView")}
        | _errors(("404", *_READING)),
    }


def _health() -> dict[str, Any]:
    return {
        "operationId": "health",
        "summary": "Is the service well",
        "security": [],
        "responses": {
            "200": _response("Every dependency answers.", "Health"),
            "503": _response("Something is down, and which.", "Health"),
        },
    }


def _idempotency_key() -> dict[str, Any]:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "description": "Makes a repeat answer with the first outcome.",
    }


def _body(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}
    return {"required": True, "content": {"application/json": content}}


def _response(description: str, schema: str) -> dict[str, Any]:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    return {"description": description, "content": {"application/json": content}}


def _errors(statuses: tuple[str, ...]) -> dict[str, Any]:
    return {status: _response(_ERRORS[status], "ErrorResponse") for status in statuses}


_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#1a1a2e}
h2{margin-top:2.5rem;border-top:1px solid #ddd;padding-top:1.5rem}
code,pre{font:14px/1.5 ui-monospace,monospace;background:#f4f4f8;border-radius:4px}
code{padding:.1em .3em}pre{padding:1rem;overflow:auto}
.method{background:#1a1a2e;color:#fff;padding:.2em .6em;border-radius:4px;margin-right:.6em}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.35rem .8rem .35rem 0;
border-bottom:1px solid #eee;vertical-align:top}
@media(prefers-color-scheme:dark){body{background:#15151f;color:#e6e6f0}code,pre{background:#232333}
td,th{border-color:#333}h2{border-color:#333}.method{background:#e6e6f0;color:#15151f}a{color:#9ab}}
"""


def page(document: dict[str, Any]) -> str:
    """The document for people: every path with its parameters, body, answers and an example."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Remit API</title>",
        "<meta name=viewport content='width=device-width'>",
        f"<style>{_STYLE}</style><h1>Remit API</h1><p>{_text(document['info']['description'])}",
        "<p>The same, for machines: <a href=/openapi.json>openapi.json</a>. Send your key as "
        "<code>x-api-key</code>, as a bearer token, or as the user name of HTTP Basic.",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(document, path, method, operation))
    parts.append("<h2>Types</h2>")
    for name, schema in document["components"]["schemas"].items():
        parts.append(f"<h3 id={escape(name)}>{escape(name)}</h3>{_fields(schema)}")
    return "".join(parts)


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [
        f"<h2 id={operation['operationId']}><span class=method>{method.upper()}</span>"
        f"<code>{escape(path)}</code></h2><p><b>{escape(operation['summary'])}.</b> "
        f"{_text(operation.get('description', ''))}"
    ]
    if parameters := operation.get("parameters"):
        rows = [
            (
                f"<code>{p['name']}</code>",
                p["in"],
                _type(p["schema"]),
                _text(p.get("description", "")),
            )
            for p in parameters
        ]
        parts.append(_table(("Parameter", "In", "Type", ""), rows))
    if body := operation.get("requestBody"):
        content = body["content"]["application/json"]
        parts.append(
            f"<p>Body: {_type(content['schema'])}<pre>{_curl(document, path, content)}</pre>"
        )
    answers = [
        (f"<code>{status}</code>", _text(answer["description"]), _type(_schema_in(answer)))
        for status, answer in operation["responses"].items()
    ]
    parts.append(_table(("Status", "When", "Body"), answers))
    return "".join(parts)


def _curl(document: dict[str, Any], path: str, content: dict[str, Any]) -> str:
    example = msgspec.json.encode(content["example"]).decode()
    return escape(
        f"curl {document['servers'][0]['url']}{path} \\\n  -H 'x-api-key: sk_test_…' "
        f"-H 'content-type: application/json' \\\n  -d '{example}'"
    )


def _schema_in(answer: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = answer["content"]["application/json"]["schema"]
    return schema


def _fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = [
        (f"<code>{escape(name)}</code>", _type(field), "required" if name in required else "")
        for name, field in schema.get("properties", {}).items()
    ]
    return f"<p>{_text(schema.get('description', ''))}{_table(('Field', 'Type', ''), rows)}"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[1])
        return f"<a href=#{name}>{name}</a>"
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"])
    kind = schema.get("type", "any")
    limits = "".join(
        f", {word} {schema[key]}"
        for key, word in (("maxLength", "at most"), ("minimum", "from"), ("maximum", "to"))
        if key in schema
    )
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    return escape(f"{kind}{limits}")


def _table(heads: tuple[str, ...], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}" for cell in row) for row in rows)
    return f"<table><tr>{head}{body}</table>"


def _text(markdown: str) -> str:
    """Escaped, with `code` kept as code."""
    pieces = escape(markdown).split("`")
    return "".join(f"<code>{piece}</code>" if n % 2 else piece for n, piece in enumerate(pieces))
