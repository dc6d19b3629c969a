"""The OpenAPI document as a page for people: plain HTML made here, without a script."""

from collections.abc import Sequence
from html import escape
from typing import Any

import msgspec

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
