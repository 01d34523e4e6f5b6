"""Everything that has a name: keys of pipeline.toml, models, their options, encoders, metrics."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticUndefined

from .config import TAGS, Config
from .config.base import snake
from .config.field_spellings import ELSEWHERE
from .config.wording import sections, shown
from .model_table import MODELS
from .schema import attribute_docs, first_paragraph, plain_text, value_words

Kind = Literal["key", "model", "option", "encoder", "metric"]


@dataclass(frozen=True)
class Entry:
    """One thing with a name."""

    kind: Kind
    name: str
    """``train.epochs``, ``uegd``, ``train.uegd.hidden``, ``wavlm-large``, ``Non0_acc_2``."""
    words: str
    """What it is, plain text."""
    values: str = ""
    """What may stand there."""
    default: str = ""
    """As TOML has it; "needed" where there is none, "unset" where it may be left out."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """More of it, by what it is."""


def keys() -> Iterator[Entry]:
    """Every key of pipeline.toml, in the file's order."""
    for path, section in sections(Config, TAGS):
        if not path:
            continue
        hints = get_type_hints(section, include_extras=True)
        for name, info in section.model_fields.items():
            if _is_table(info.annotation):
                continue
            default = info.get_default(call_default_factory=True, validated_data={})
            yield Entry(
                "key",
                f"{path}.{name}",
                plain_text(info.description or ""),
                value_words(TypeAdapter(hints[name])),
                _default(default, path, name),
            )


def models() -> Iterator[Entry]:
    """Every fusion model."""
    from .train.models import model_recipe, module_of, presets_of, within_text

    for name in MODELS:
        document = module_of(name).__doc__ or ""
        recipe = model_recipe(name, {})
        how = {f.name: getattr(recipe, f.name) for f in fields(recipe)}
        source = plain_text(str(how.pop("source", "")))
        told = ", ".join(f"{key} {_value(value)}" for key, value in how.items() if value != ())
        facts = {
            "options": f"[train.{name}]: {', '.join(e.name.split('.')[-1] for e in options(name))}",
            "presets": ", ".join(presets_of(name)) or "none",
            "with a preset trained with": told,
            "as in": source,
            "file": module_of(name).__name__.removeprefix("sedimental.").replace(".", "/") + ".py",
        }
        if within_text(name):
            facts["needs"] = 'a live text encoder: mode = "finetune"'
        yield Entry("model", name, plain_text(first_paragraph(document)), facts=facts)


def options(model: str) -> Iterator[Entry]:
    """Every option of `model`: the keys of its table [train.<model>]."""
    from .train.models import model_options

    usual = model_options(model, {})
    kind = type(usual)
    hints, docs = get_type_hints(kind, include_extras=True), attribute_docs(kind)
    for one in fields(usual):
        yield Entry(
            "option",
            f"train.{model}.{one.name}",
            plain_text(docs.get(one.name, "")),
            value_words(TypeAdapter(hints[one.name])),
            _value(getattr(usual, one.name)),
        )


def encoders() -> Iterator[Entry]:
    """Every encoder known by name."""
    from .extract.encoders.presets.table import PRESETS

    for name, preset in PRESETS.items():
        size = preset.config
        blocks = size.get("num_hidden_layers") or size.get("encoder_layers")
        width = size.get("hidden_size") or size.get("d_model")
        facts = {"modality": preset.modality, "family": preset.family}
        if blocks and width:
            facts["size"] = f"{blocks} blocks, {width} wide"
        facts["Hub id"] = preset.hub or "none"
        facts["weights by default"] = {
            "hub": "trained, from the Hub",
            "none": "it has none: computed from the signal",
        }.get(preset.weights, f"untrained ({preset.weights}), for trying things out")
        yield Entry("encoder", name, f"Reads {preset.modality}.", facts=facts)


def metrics() -> Iterator[Entry]:
    """Every metric of the tables."""
    from .cache.spec import Several
    from .evaluate.protocols import MOSI, SIMS, protocol_of

    found: dict[tuple[str, str], list[str]] = {}
    known = {}
    of_classes = protocol_of(("a class", "another", "a third"))
    dimensions = protocol_of(Several("dimensions", ("<dimension>",)))
    emotions = protocol_of(Several("emotions", ("<emotion>",)))
    for protocol in (MOSI, SIMS, of_classes, dimensions, emotions):
        for metric in protocol.metrics:
            key = "F1_<class>" if protocol.of_classes and metric.variant == "a class" else ""
            if protocol.of_classes and metric.key.startswith("F1_") and not key:
                continue
            name = key or metric.key
            words = metric.words.replace("the class a class", "the class")
            found.setdefault((name, words), []).append(protocol.key)
            known[name, words] = metric
    for (name, words), protocols in found.items():
        metric = known[name, words]
        heads = f"{metric.label} {metric.variant}".replace("a class", "").strip()
        facts = {
            "in tables": heads,
            "better": "higher" if metric.higher else "lower",
            "protocol": ", ".join(protocols),
        }
        yield Entry("metric", name, plain_text(words), facts=facts)


def everything() -> Iterator[Entry]:
    """All of them."""
    yield from keys()
    yield from models()
    for name in MODELS:
        yield from options(name)
    yield from encoders()
    yield from metrics()


def matching(name: str, known: Sequence[Entry]) -> list[Entry]:
    """The entries called `name`; else those whose name ends in it, alike ones once.

    A section (``train``, ``[train.inputs]``) means all of its keys.
    """
    asked = name.strip().strip("[]").lower()
    own = ".".join(map(snake, asked.split(".")))  # a model in its paper's letters
    alias = {asked, own, f"train.{own}", ELSEWHERE.get(own, "")}
    exact = [e for e in known if e.name.lower() in alias]
    ending = [e for e in known if e.name.lower().endswith(f".{asked}")]
    keys = [e for e in known if e.kind == "key" and e.name.rpartition(".")[0] == asked]
    return next((_once(found) for found in (exact, ending, keys) if found), [])


def names_of(known: Iterable[Entry]) -> list[str]:
    """What entries may be asked by: whole names and last parts."""
    whole = [entry.name for entry in known]
    return list(dict.fromkeys([*whole, *(name.rpartition(".")[2] for name in whole)]))


def _once(found: Sequence[Entry]) -> list[Entry]:
    """Of keys that three tables share, one."""
    return list({(e.kind, e.words, e.values, e.default): e for e in reversed(found)}.values())[::-1]


def _is_table(annotation: Any) -> bool:
    """Whether a field is a table with keys of its own, which come by themselves."""
    inner = getattr(annotation, "__args__", (annotation,))
    return any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in inner)


def _default(value: Any, path: str, name: str) -> str:
    if value is PydanticUndefined:
        return f'"{path.rpartition(".")[2]}"' if name == "modality" else "needed"
    return _value(value)


def _value(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + " }"
    text = value if isinstance(value, (bool, int, float, tuple, list)) else str(value)
    return shown(text)
