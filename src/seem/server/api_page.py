"""The description of the API as a page to read: plain HTML, which needs no script and nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

STYLE_SHEET = "/api.css"


def api_page(description: dict[str, Any]) -> str:
    """Write an OpenAPI description as HTML."""
    info = description["info"]
    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>{escape(info["title"])} API</title><link rel="stylesheet" href="{STYLE_SHEET}">',
        f"</head><body><main><h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{escape(info['summary'])} <a href='/v1/openapi.json'>OpenAPI</a></p>",
        "<h2>Addresses</h2>",
    ]
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            lines.extend(operation_lines(path, method, operation))
    lines.append("<h2>Schemas</h2>")
    for name, schema in description["components"]["schemas"].items():
        lines.extend(schema_lines(name, schema))
    lines.append("</main></body></html>")
    return "\n".join(lines)


def operation_lines(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    """Write one address and method."""
    yield f"<section><h3><code>{method.upper()} /v1{escape(path)}</code></h3>"
    yield f"<p>{escape(operation.get('description', ''))}</p><ul>"
    for parameter in operation.get("parameters", ()):
        yield field_line(parameter["name"], parameter["schema"], parameter.get("required", False))
    body = operation.get("requestBody", {}).get("content", {})
    for media_type, content in body.items():
        yield f"<li>body, {escape(media_type)}: {type_of(content['schema'])}</li>"
    for status, answer in operation["responses"].items():
        if int(status) < 400:
            yield f"<li>{status}: {answer_of(answer)}</li>"
    yield "</ul></section>"


def answer_of(answer: dict[str, Any]) -> str:
    """Write what an address answers."""
    content = answer.get("content", {})
    types = [type_of(each["schema"]) for each in content.values() if each.get("schema")]
    return ", ".join(types) or escape(", ".join(content)) or "nothing"


def schema_lines(name: str, schema: dict[str, Any]) -> Iterator[str]:
    """Write one schema with its fields."""
    yield f'<section id="{escape(name)}"><h3>{escape(name)}</h3>'
    yield f"<p>{escape(schema.get('description', ''))}</p><ul>"
    required = schema.get("required", ())
    for field, content in schema.get("properties", {}).items():
        yield field_line(field, content, field in required)
    if "enum" in schema:
        yield f"<li>{escape(', '.join(map(str, schema['enum'])))}</li>"
    yield "</ul></section>"


def field_line(name: str, schema: dict[str, Any], is_required: bool) -> str:
    """Write a field or parameter: its type, its default and what it is for."""
    parts = [f"<li><code>{escape(name)}</code>: {type_of(schema)}"]
    if "default" in schema:
        parts.append(f" = {escape(json.dumps(schema['default']))}")
    elif is_required:
        parts.append(" (required)")
    if "description" in schema:
        parts.append(f". {escape(schema['description'])}")
    parts.append("</li>")
    return "".join(parts)


def type_of(schema: dict[str, Any]) -> str:
    """Write a type, with links to schemas."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " | ".join(map(type_of, schema[key]))
    if "const" in schema:
        return escape(json.dumps(schema["const"]))
    if "enum" in schema:
        return escape(" | ".join(map(json.dumps, schema["enum"])))
    if schema.get("type") == "array":
        return f"[{type_of(schema.get('items', {}))}]"
    return escape(str(schema.get("type", "any")))
