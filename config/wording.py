"""One fault of the types in the user's words: key path, what is wrong, nearest valid name."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"
"""What a device is called."""
KINDS: Mapping[str, str] = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a text in quotes",
    "path": "a path in quotes",
    "tuple": "a list in [ ]",
    "list": "a list in [ ]",
    "model": "a table of keys",
    "mapping": "a table of keys",
    "dict": "a table of keys",
    "finite": "a finite number",
}
"""The first word of a pydantic error type -> what should stand there."""
BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
TAG = "modality"
"""The key by which [[features]] tables differ."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`` Did you mean "x"?`` for the valid name nearest to `name`, or nothing.

    >>> nearest("uegdd", ["uegd", "glomo"])
    ' Did you mean "uegd"?'
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f' Did you mean "{close[0]}"?' if close else ""


def worded(fault: Any, root: type[BaseModel], tags: Mapping[str, type[BaseModel]]) -> str:
    """One pydantic fault: ``train.seeds[0]: should be a whole number, not 1.5.``

    `root` is the type of the whole file, `tags` the types of [[features]] tables by modality.
    """
    path: list[str] = []
    for step in fault["loc"]:
        if isinstance(step, int):
            path.append(f"[{step}]")
        elif step in tags and path and path[-1].startswith("["):
            continue  # the union's tag, which is no key of the file
        else:
            path.append(f".{step}")
    if fault["type"].startswith("union_tag"):
        path.append(f".{TAG}")
    where = "".join(path).removeprefix(".")
    return f"{where + ': ' if where else ''}{_message(fault, root, tags)}"


def in_words(fault: Any) -> str:
    """One pydantic fault of a value that stands alone: ``should be a whole number, not 1.5.``"""
    return _message(fault, BaseModel, {})


def shown(value: Any) -> str:
    """A value as it stands in a TOML file, cut to a readable length."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, str):
        text = f'"{value}"'
    elif isinstance(value, Mapping):
        text = "a table"
    elif isinstance(value, (list, tuple)):
        text = f"[{', '.join(map(shown, value))}]"
    else:
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _message(fault: Any, root: type[BaseModel], tags: Mapping[str, type[BaseModel]]) -> str:
    kind, given, context = fault["type"], fault.get("input"), fault.get("ctx", {})
    first = kind.partition("_")[0]
    if kind == "value_error":  # a validator of ours, in words of ours
        message: str = fault["msg"].removeprefix("Value error, ")
        if message == "unknown key.":
            return message + elsewhere(str(fault["loc"][-1]), root, tags)
        return message if message.endswith((".", "?")) else f"{message}, not {shown(given)}."
    if kind == "extra_forbidden":
        keys = _fields(fault["loc"][:-1], root, tags)
        name = str(fault["loc"][-1])
        return f"unknown key.{nearest(name, keys) or elsewhere(name, root, tags)}"
    if kind in ("missing", "missing_argument"):
        return "is needed."
    if kind in ("too_short", "too_long"):
        least, most = context.get("min_length"), context.get("max_length")
        bound = f"at least {least}" if kind == "too_short" else f"at most {most}"
        return f"should have {bound} entries, not {shown(given)}."
    if kind == "literal_error":
        return _choice(given, context["expected"])
    if kind == "union_tag_invalid":
        return _choice(context["tag"], context["expected_tags"])
    if kind == "union_tag_not_found":
        return f"is needed: {_either(tags)}."
    if kind in BOUNDS:
        words, key = BOUNDS[kind]
        return f"should be {words} {context[key]:g}, not {shown(given)}."
    if kind == "string_too_short":
        return "is empty."
    if kind == "string_pattern_mismatch" and context["pattern"] == DEVICE:
        return f"should be auto, cpu, cuda or cuda:1, not {shown(given)}."
    if kind == "string_pattern_mismatch":
        field = _fields(fault["loc"][:-1], root, tags).get(str(fault["loc"][-1]))
        said = (getattr(field, "description", None) or "").replace("\n", " ").partition(". ")[0]
        return f"{shown(given)} does not fit this key: {said.rstrip('.')}."
    if first in KINDS:
        return f"should be {KINDS[first]}, not {shown(given)}."
    wants = str(fault["msg"]).removeprefix("Input ").removeprefix("Value ")
    return f"{wants if wants.startswith('should') else 'is not understood'}, not {shown(given)}."


def elsewhere(name: str, root: type[BaseModel], tags: Mapping[str, type[BaseModel]]) -> str:
    """In which other tables of the file `name` is a key; empty where it is one of none."""
    found = [
        f"[{path}]"
        for path, section in sections(root, tags)
        if name in section.model_fields and path
    ]
    return f" It is a key of {' and '.join(found)}." if found else ""


def sections(
    root: type[BaseModel], tags: Mapping[str, type[BaseModel]], path: str = ""
) -> Iterator[tuple[str, type[BaseModel]]]:
    """Every table of the file: (its path, its type); [[features]] once a modality."""
    yield path, root
    for key, field in root.model_fields.items():
        where = f"{path}.{key}" if path else key
        if key == "features" and not path:
            yield from ((f"features.{tag}", model) for tag, model in tags.items())
            continue
        choices = [field.annotation, *get_args(field.annotation)]
        for inner in choices:
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from sections(inner, tags, where)
                break


def _choice(given: Any, expected: str) -> str:
    names = [n.strip("' ") for n in expected.replace(" or ", ",").split(",")]
    return f"should be {_either(names)}, not {shown(given)}.{nearest(str(given), names)}"


def _either(names: Iterable[str]) -> str:
    quoted = [f'"{name}"' for name in names]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def _fields(
    loc: tuple[str | int, ...], root: type[BaseModel], tags: Mapping[str, type[BaseModel]]
) -> Mapping[str, Any]:
    """The fields of the table at `loc`, by key."""
    path = ".".join(step for step in loc if isinstance(step, str))
    section = dict(sections(root, tags)).get(path)
    return section.model_fields if section else {}
