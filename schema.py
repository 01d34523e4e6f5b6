"""The JSON Schema of pipeline.toml, by which editors check it; types and docstrings in words."""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Mapping
from dataclasses import fields
from itertools import pairwise
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from .config import Config, TrainConfig
from .config.field_spellings import LISTS
from .model_table import MODELS

SCHEMA = "pipeline.schema.json"
LINE = f"#:schema ./{SCHEMA}"
"""What editors look for at the head of a TOML file (taplo, Even Better TOML)."""
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


def json_schema() -> dict[str, Any]:
    """The schema of the whole file with every model's options, docstrings as descriptions."""
    schema = Config.model_json_schema()
    schema |= {"$schema": "http://json-schema.org/draft-07/schema#", "title": "pipeline.toml"}
    train = schema["$defs"][TrainConfig.__name__]
    train["additionalProperties"] = False
    for name in MODELS:
        train["properties"][name] = _table(name, train["properties"])
    for section, kind in (("train", train), ("sweep", schema["$defs"]["SweepConfig"])):
        for key in LISTS[section]:
            kind["properties"][key].pop("type", None)  # one value is a list of one
    for kind in schema["$defs"].values():
        if "layers" in kind["properties"]:  # "6-12", "last4"
            kind["properties"]["layers"]["anyOf"].append({"type": "string"})
    names = {"enum": list(MODELS)}
    for kind, key in ((train, "models"), (schema["$defs"]["SweepConfig"], "model")):
        kind["properties"][key]["items"] = names
    return schema


def as_text() -> str:
    """`json_schema` as a file."""
    return json.dumps(_pruned(json_schema()), ensure_ascii=False, sort_keys=True) + "\n"


def _pruned(value: Any) -> Any:
    """Without the titles that pydantic makes of names, and defaults of whole tables."""
    if isinstance(value, list):
        return [_pruned(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _pruned(inner) for key, inner in value.items()}
    if isinstance(kept.get("title"), str) and "$schema" not in kept:
        del kept["title"]
    if isinstance(kept.get("default"), dict) and "$ref" in kept:
        del kept["default"]
    return kept


def _table(name: str, of_train: Mapping[str, Any]) -> dict[str, Any]:
    """The table [train.<model>]: its options, and keys of its recipe."""
    from .train.models import model_options, model_recipe, module_of, presets_of

    usual, recipe = model_options(name, {}), model_recipe(name, {})
    hints, docs = get_type_hints(type(usual), include_extras=True), attribute_docs(type(usual))
    own = {f.name: of_train[f.name] for f in fields(recipe) if f.name in of_train}
    for one in fields(usual):
        found = TypeAdapter(hints[one.name]).json_schema()
        own[one.name] = found | {"description": plain_text(docs.get(one.name, ""))}
    own["modalities"] = of_train["modalities"]
    own["preset"] = {"enum": list(presets_of(name))} if presets_of(name) else {"type": "string"}
    words = plain_text(first_paragraph(module_of(name).__doc__ or ""))
    return {
        "type": "object",
        "description": words,
        "properties": own,
        "additionalProperties": False,
    }


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


def attribute_docs(kind: type) -> Mapping[str, str]:
    """Field -> the string below it in the source, of `kind` and what it inherits from."""
    found = dict[str, str]()
    for base in reversed(kind.__mro__[:-1]):
        tree = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for one, after in pairwise(body):
            if not (isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)):
                continue
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found[one.target.id] = inspect.cleandoc(str(after.value.value))
    return found


def plain_text(document: str) -> str:
    """`document` in one line a paragraph, its literals in single backticks.

    >>> plain_text("One ``two``\\nthree.\\n\\nFour.")
    'One `two` three.\\nFour.'
    """
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(document))
    return "\n".join(" ".join(p.split()) for p in paragraphs if p.strip()).replace("``", "`")


def first_paragraph(document: str) -> str:
    """What stands before the first empty line."""
    return re.split(r"\n\s*\n", inspect.cleandoc(document))[0]
