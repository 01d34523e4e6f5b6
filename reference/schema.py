"""pipeline.toml as a JSON Schema: editors complete and check the file by it."""

import json
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from ..config import Config, TrainConfig
from ..config.forgiving import LISTS
from ..model_table import MODELS

SCHEMA = "pipeline.schema.json"
LINE = f"#:schema ./{SCHEMA}"
"""What editors look for at the head of a TOML file (taplo, Even Better TOML)."""


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
    from dataclasses import fields

    from ..train.models import model_options, model_recipe, module_of, presets_of
    from .docstrings import attribute_docs, first_paragraph, plain_text

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
