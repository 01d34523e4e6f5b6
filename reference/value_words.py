"""What may stand at a key, in words: read from the JSON Schema of its type."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

KINDS = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "object": "table",
    "null": "",
}
BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}
HUGE = 2**60


def value_words(adapter: TypeAdapter[Any]) -> str:
    """``whole number, above 0`` of what `adapter` takes."""
    schema = adapter.json_schema()
    return _words(schema, schema.get("$defs", {}))


def _words(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _words(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "enum" in schema or "const" in schema:
        return " or ".join(f'"{value}"' for value in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        each = (_words(one, defs) for one in schema["anyOf"])
        return ", or ".join(dict.fromkeys(words for words in each if words))
    kind = schema.get("type", "")
    if kind == "array":
        return _list(schema, defs)
    if kind == "string" and schema.get("format") == "path":
        return "path"
    bounds = [
        f"{word} {schema[key]:g}" if schema[key] < HUGE else ""
        for key, word in BOUNDS.items()
        if key in schema
    ]
    return ", ".join([KINDS.get(kind, "value"), *(bound for bound in bounds if bound)]).strip(", ")


def _list(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    parts = schema.get("prefixItems")
    if parts:
        return f"list of {len(parts)}: {_words(parts[0], defs)}"
    inner = schema.get("items", {})
    return f"list: each {_words(inner, defs)}" if inner else "list"
