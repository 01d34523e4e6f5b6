"""What must fit between the sections of a pipeline.toml: found in the raw table."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..registries import ADDED_CORPORA
from .wording import nearest


def _table(raw: Any, *keys: str) -> Mapping[str, Any]:
    """The table at `keys`, or an empty one where the file has something else: the types say so."""
    for key in keys:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw if isinstance(raw, Mapping) else {}


def with_inputs(raw: dict[str, Any]) -> dict[str, Any]:
    """`raw` with an encoder in every line of [train.inputs]: that of the modality's [[features]]
    table, where it has one table. Without any [train.inputs], every modality has a line.

    Left as it is where a modality has several encoders, as only the user can choose.
    """
    train, tables = _table(raw, "train"), raw.get("features")
    encoders: dict[str, list[Any]] = {}
    for table in map(_table, tables if isinstance(tables, list) else ()):
        encoders.setdefault(str(table.get("modality")), []).append(table.get("encoder"))
    one = {
        modality: names[0]
        for modality, names in encoders.items()
        if modality in ("text", "audio", "vision") and len(names) == 1 and isinstance(names[0], str)
    }
    inputs = train.get("inputs")
    if inputs is None and len(one) == len(encoders):
        inputs = {modality: {} for modality in one}
    if not isinstance(inputs, Mapping) or not isinstance(raw.get("train", {}), Mapping):
        return raw
    lines = {
        modality: {"encoder": one[modality], **line}
        if modality in one and isinstance(line, Mapping)
        else line
        for modality, line in inputs.items()
    }
    return {**raw, "train": {**train, "inputs": lines}}


def cross_faults(raw: Mapping[str, Any], live_keys: Sequence[str]) -> Iterator[str]:
    """What must fit between the sections, checked beside the types so that all is said at once.

    `live_keys` are the keys of [train.inputs] that mean something for a live encoder.
    """
    yield from ADDED_CORPORA.faults
    corpus = _table(raw, "corpus")
    if corpus.get("kind", "demo") != "demo" and "path" not in corpus:
        yield f'corpus.path: kind = "{corpus["kind"]}" needs the path of its table or folder.'
    made: dict[str, list[str]] = {"text": [], "audio": [], "vision": []}
    tables = raw.get("features")
    inputs = _table(raw, "train", "inputs")
    for index, table in enumerate(tables if isinstance(tables, list) else ()):
        modality, encoder = str(_table(table).get("modality")), str(_table(table).get("encoder"))
        line, imported = _table(inputs, modality), _table(table).get("weights") == "imported"
        if imported and line.get("live") is True and line.get("encoder") == encoder:
            yield f"train.inputs.{modality}.live: {encoder} is imported; no encoder is there."
        pool, asked = _table(table).get("pool", "none"), line.get("encoder") == encoder
        if asked and "align" in line and modality != "audio" and pool != "none":
            yield (
                f"train.inputs.{modality}.align: there is one frame a clip where the table of "
                f'"{encoder}" says pool = "{pool}"; take one of the two away.'
            )
        if modality in made:
            if encoder in made[modality]:
                yield f'features[{index}].encoder: a second {modality} table for "{encoder}".'
            made[modality].append(encoder)
    for modality, names in made.items():
        if isinstance(inputs.get(modality), Mapping) and "encoder" not in inputs[modality]:
            where = f"train.inputs.{modality}.encoder: is needed"
            none = f'{where}, and no [[features]] table has modality = "{modality}".'
            yield f"{where}: one of {' and '.join(names)}." if names else none
        wanted = _table(inputs, modality).get("encoder")
        if isinstance(wanted, str) and wanted not in names:
            yield (
                f"train.inputs.{modality}.encoder: no [[features]] table with modality = "
                f'"{modality}" makes "{wanted}".{nearest(wanted, names)}'
            )
    yield from _live_faults(_table(raw, "train"), live_keys)
    given = "".join(letter for letter, m in zip("TAV", made, strict=True) if m in inputs)
    subsets = _table(raw, "train").get("modalities", ())
    for index, subset in enumerate(subsets if isinstance(subsets, list) else ()):
        where = f"train.modalities[{index}]"
        if not isinstance(subset, str):
            continue
        if not subset or set(subset) - set("TAV") or len(set(subset)) < len(subset):
            yield f'{where}: "{subset}" is no subset of "TAV".'
        elif missing := [letter for letter in subset if letter not in given]:
            lacking = " and ".join(
                m for letter, m in zip("TAV", made, strict=True) if letter in missing
            )
            yield f'{where}: "{subset}" needs {lacking} in [train.inputs].'


def _live_faults(train: Mapping[str, Any], live_keys: Sequence[str]) -> Iterator[str]:
    """What of live inputs does not go together."""
    inputs, finetune = _table(train, "inputs"), train.get("mode") == "finetune"
    live = [m for m in inputs if _table(inputs, m).get("live") is True]
    for m in inputs:
        where, line = f"train.inputs.{m}", _table(inputs, m)
        if m in live and not finetune:
            yield (
                f'{where}.live: an encoder is trained in mode = "finetune" alone. Set it in '
                "[train], or take live away to read cached layers."
            )
        if m == "vision" and m in live:
            yield f"{where}.live: faces are read from cached layers only; text and audio can live."
        if m in live and m != "text" and "align" in line:
            yield f"{where}.align: a live encoder's sound is not aligned; read it from the cache."
        if "collapse" in line and "align" not in line:
            yield f'{where}.collapse: means something with align = "words" alone.'
        own = [k for k in live_keys if k in line and k != "live"]
        if m not in live and own:
            yield f"{where}.{own[0]}: means something with live = true alone."
        if m in live and m != "audio" and "seconds" in line:
            yield f"{where}.seconds: audio alone is cut."
        if "top" in line and "lora" in line:
            yield f"{where}.lora: trains adapters in place of weights; take top away, or lora."
    if finetune and not live:
        yield (
            'train.mode: "finetune" needs an input with live = true in [train.inputs], as in '
            'text = { encoder = "roberta-base", live = true }.'
        )
