"""The encoders known by name, and what is wrong with the names in a pipeline.toml."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ....config import nearest
from ....registries import of_packages
from ..rates import NATIVE, RateError, hop
from .audio import AUDIO
from .families import CLIP_PIXELS, FAMILIES, PART_OF, Family
from .preset import Preset
from .text import TEXT
from .vision import VISION

__all__ = ["CLIP_PIXELS", "FAMILIES", "PART_OF", "PRESETS", "Family", "Preset"]

_OURS: Mapping[str, Preset] = {**VISION, **AUDIO, **TEXT}
ADDED_FAMILIES = of_packages("sedimental.families", tuple(FAMILIES), "family")
"""A `Family` by its `model_type`."""
ADDED = of_packages("sedimental.encoders", tuple(_OURS), "encoder")
"""A `Preset` by its name."""


def _added() -> tuple[dict[str, Preset], dict[str, str]]:
    """Presets of installed packages, and what is wrong with others: also of no known family."""
    families, odd = ADDED_FAMILIES.objects(Family)
    FAMILIES.update(families)
    good, broken = ADDED.objects(Preset)
    for name, preset in list(good.items()):
        if preset.family not in FAMILIES:
            why = odd.get(preset.family) or f"there is no family {preset.family}."
            broken[name] = f'{ADDED.group}: "{name}": {why}'
            del good[name]
    return good, broken


_GOOD, UNUSABLE = _added()
PRESETS: Mapping[str, Preset] = {**_OURS, **_GOOD}
"""Those of installed packages as well: entry points of the group ``sedimental.encoders``."""


def encoder_faults(raw: Mapping[str, Any], folder: Path | None = None) -> Iterable[str]:
    """Faults of the encoder names in a raw pipeline.toml: ``features[0].encoder: …``.

    With the file's `folder`, a name of which there is a store in the cache is good: nothing has to
    be encoded to train on that.
    """
    yield from (*ADDED_FAMILIES.faults, *ADDED.faults)
    stores = _store_names(raw, folder) if folder is not None else frozenset[str]()
    tables = raw.get("features", ())
    for index, table in enumerate(tables if isinstance(tables, list) else ()):
        if not isinstance(table, dict) or not isinstance(name := table.get("encoder"), str):
            continue  # said by the types
        if table.get("weights") == "imported":
            continue  # any name is good: nothing is encoded
        where = f"features[{index}]"
        if name in UNUSABLE:
            yield f"{where}.encoder: {UNUSABLE[name]}"
        elif name in PRESETS:
            yield from _preset_faults(where, name, table)
        elif "/" not in name and not Path(name).is_dir():
            if f"{table.get('modality')}-{slug(name)}" in stores:
                continue
            hint = nearest(name, PRESETS)
            yield (
                f'{where}.encoder: "{name}" is no preset, no Hub id ("owner/name") and no folder.'
                f"{hint}"
            )
        elif str(table.get("weights", "")).startswith("random:") and not Path(name).is_dir():
            yield (
                f"{where}.weights: random weights need an architecture: a preset or a folder "
                f'with a config.json, not the Hub id "{name}".'
            )


def _store_names(raw: Mapping[str, Any], folder: Path) -> frozenset[str]:
    """``<modality>-<encoder>`` of every store below the cache root of a raw pipeline.toml."""
    cache = raw.get("cache", {})
    root = cache.get("root", "features") if isinstance(cache, dict) else "features"
    if not isinstance(root, str):
        return frozenset()
    try:
        files = list((folder / root).glob("*/*/store.json"))
    except OSError:
        return frozenset()
    return frozenset(path.parent.name.rpartition("-")[0] for path in files)


def _preset_faults(where: str, name: str, table: Mapping[str, Any]) -> Iterable[str]:
    preset, modality = PRESETS[name], table.get("modality")
    if modality in ("text", "audio", "vision") and preset.modality != modality:
        yield f'{where}.encoder: "{name}" reads {preset.modality}, not {modality}.'
    if not preset.network and "weights" in table:
        yield f'{where}.weights: "{name}" has no weights; leave the key out.'
    elif table.get("weights") == "hub" and preset.hub is None:
        yield (
            f'{where}.weights: "{name}" has no trained weights; leave the key out, or '
            'say "random:<seed>".'
        )
    rate = table.get("rate")
    if modality == preset.modality == "audio" and isinstance(rate, (int, float)) and rate > 0:
        try:
            windowed = FAMILIES[preset.family].reader == "whisper"  # it hears by windows
            window = int(preset.config.get("max_source_positions", 1500)) if windowed else None
            hop(rate, preset.processing.get("native_rate", NATIVE), window)
        except RateError as fault:
            yield f"{where}.rate: {fault}"


def slug(encoder: str) -> str:
    """A name fit for a folder: the preset's own, else the last part of a Hub id or path.

    >>> slug("microsoft/wavlm-large"), slug("wavlm-large"), slug("../mine/my encoder")
    ('wavlm-large', 'wavlm-large', 'my_encoder')
    """
    if encoder in PRESETS:
        return encoder
    last = Path(encoder).resolve().name if encoder in (".", "..") else Path(encoder).name
    return "".join(c if c.isalnum() or c in "-._" else "_" for c in last)
