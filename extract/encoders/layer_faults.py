"""Layers that an encoder does not have, told without loading it and without a network."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from ...cache.spec import MODALITIES
from ...cache.store.find import find_store
from ...cache.store.store import open_store
from ...config import AnyFeatures, Config, InputConfig
from ...errors import SedimentalError
from .presets.families import FAMILIES, PART_OF
from .presets.table import PRESETS

Names = tuple[str, ...]
"""Of entries: ``0`` to ``n``, perhaps ``final``."""


def layer_faults(config: Config) -> Iterator[str]:
    """Every layer that the pipeline asks for in vain; what is not known offline is left out."""
    stored: dict[str, Names] = {}
    for index, table in enumerate(config.features):
        names = known_layers(config, table)
        if names is None:
            continue
        where = f"features[{index}].layers"
        if table.layers != "all" and not table.imported:
            faults = list(_missing(where, table.encoder, names, table.layers))
            yield from faults
            names = _chosen(names, table.layers) if not faults else names
        stored[f"{table.modality} {table.encoder}"] = names
    for modality in MODALITIES:
        line: InputConfig | None = getattr(config.train.inputs, modality)
        known = stored.get(f"{modality} {line.encoder}") if line is not None else None
        if line is None or known is None:
            continue
        yield from _input_faults(
            f"train.inputs.{modality}", line, known, config.features_of(modality)
        )
        if config.sweep is not None and config.sweep.layers != "all" and _swept(config, modality):
            yield from _missing("sweep.layers", line.encoder, known, config.sweep.layers)


def known_layers(config: Config, table: AnyFeatures) -> Names | None:
    """All entries of the encoder of a [[features]] table; None where only the Hub knows them."""
    if not table.imported:
        preset = PRESETS.get(table.encoder)
        if preset is not None and (table.weights is None or "/" not in table.weights):
            # where a configuration does not say whether its family's norm comes last
            usual = FAMILIES[preset.family].reader != "waveform"
            stable = preset.config.get("do_stable_layer_norm", usual)
            blocks = preset.config.get("num_hidden_layers", preset.config.get("encoder_layers"))
            return _entries(blocks, preset.family, stable)
        names = _at_hand(table.weights if preset is not None else table.encoder)
        if names is not None:
            return names
    with suppress(SedimentalError, OSError):
        spec = open_store(find_store(config.corpus_cache, table, config.cache.dtype), True).spec
        return spec.layers if table.imported or table.layers == "all" else None
    return None


def _at_hand(source: str | None) -> Names | None:
    """Entries of the encoder in a folder, or of a Hub id that was downloaded before."""
    import transformers

    # a Hub id is looked up in the local cache alone
    try:
        config: Any = transformers.AutoConfig.from_pretrained(
            str(source), local_files_only=True, trust_remote_code=False
        )
    except Exception:  # whatever is wrong with it is said where it is loaded
        return None
    config = getattr(config, "vision_config", config) if config.model_type == "clip" else config
    family = PART_OF.get(config.model_type, config.model_type)
    blocks = getattr(config, "num_hidden_layers", None)
    return _entries(blocks, family, getattr(config, "do_stable_layer_norm", True))


def _entries(blocks: int | None, family: str, stable: bool) -> Names | None:
    if blocks is None or family not in FAMILIES:
        return None
    final = ("final",) if FAMILIES[family].final is not None and stable else ()
    return (*(str(n) for n in range(blocks + 1)), *final)


def _input_faults(
    where: str, line: InputConfig, names: Names, table: AnyFeatures | None
) -> Iterator[str]:
    blocks = [name for name in names if name.isdigit()]
    if line.layers == "weighted":
        if set(blocks) <= {"0"}:
            yield (
                f'{where}.layers: "weighted" mixes the blocks of an encoder, and {line.encoder} '
                "has none. Say layers = 0."
            )
    else:
        asked = line.layers if isinstance(line.layers, tuple) else (line.layers,)
        yield from _missing(f"{where}.layers", line.encoder, names, asked)
    whole = table is not None and table.layers == "all"
    if line.live and whole and line.top is not None and line.top > int(blocks[-1]):
        yield f"{where}.top: {line.encoder} has only {blocks[-1]} blocks, not {line.top}."


def _missing(where: str, encoder: str, names: Names, asked: Sequence[int | str]) -> Iterator[str]:
    blocks = [name for name in names if name.isdigit()]
    for layer in dict.fromkeys(asked):
        negative = isinstance(layer, int) and layer < 0
        there = -len(blocks) <= int(layer) if negative else str(layer) in names
        if not there:
            last = f" (-1 is {blocks[-1]})" if negative and blocks else ""
            yield f"{where}: {encoder} has no layer {layer}; it has {_range(names)}{last}."


def _chosen(names: Names, asked: Sequence[int]) -> Names:
    blocks = [name for name in names if name.isdigit()]
    wanted = {blocks[layer] if layer < 0 else str(layer) for layer in asked}
    return tuple(name for name in names if name in wanted)


def _range(names: Names) -> str:
    blocks = [int(name) for name in names if name.isdigit()]
    whole = blocks == list(range(blocks[0], blocks[-1] + 1)) and len(blocks) > 2
    numbers = f"{blocks[0]} to {blocks[-1]}" if whole else ", ".join(map(str, blocks))
    return f'{numbers} and "final"' if "final" in names else numbers


def _swept(config: Config, modality: str) -> bool:
    wanted = config.sweep.modalities if config.sweep else None
    return wanted is None or modality[0].upper() in wanted
