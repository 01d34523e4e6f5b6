"""Which store and which of its layers each line of [train.inputs] means; no features are read."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..cache.errors import RunError, StoreError, StoreNotFoundError
from ..cache.runs import InputRecord
from ..cache.spec import MODALITIES, FeatureSpec, Modality, layer_names
from ..cache.store import Store, open_store
from ..config import AnyFeatures, Config, Features, InputConfig, nearest

if TYPE_CHECKING:  # a probe reads inputs without torch
    from .live import FindLive, LiveInput

UNSTATED = ("context", "case")
"""Settings that a store states only where they are not the usual ones."""


@dataclass(frozen=True)
class Input:
    """One modality's features, found but not read."""

    modality: Modality
    store: Store
    layers: tuple[str, ...]
    """Names of the stored layers used, in order."""
    weighted: bool
    """Whether the model mixes the layers by learned weights (else they are joined along width)."""

    @property
    def spec(self) -> FeatureSpec:
        """Of the hidden states."""
        return self.store.spec

    @property
    def record(self) -> InputRecord:
        """What the run folder says of this input."""
        return InputRecord(
            modality=self.modality,
            encoder=self.spec.encoder,
            layers=self.layers,
            weighted=self.weighted,
            fingerprint=self.spec.fingerprint,
            weights=self.spec.weights,
        )


def find_inputs(
    config: Config, live: "FindLive | None" = None, words: bool = False
) -> "tuple[Input | LiveInput, ...]":
    """The inputs of [train.inputs], in the order T, A, V; `live` finds those that are.

    With `words`, live text is read as words, whatever is cached of it.

    Raises StoreError with a remedy where a store is missing, incomplete or made with other
    settings than its [[features]] table, or lacks a layer.
    """
    found: list[Input | LiveInput] = []
    for modality in MODALITIES:
        wanted = getattr(config.train.inputs, modality)
        if wanted is None:
            continue
        if not wanted.live:
            found.append(find_cached(config, modality, wanted))
        elif live is not None:
            found.append(live(config, modality, words))
        else:
            raise RunError(
                f"train.inputs.{modality}: nobody handed over its live encoder. "
                "`sedimental train`, or sedimental.train(config) from Python, does."
            )
    return tuple(found)


def find_cached(config: Config, modality: Modality, wanted: InputConfig) -> Input:
    """The store and layers that the line `wanted` means; raises StoreError as `find_inputs`."""
    tables = [f for f in config.features if f.modality == modality]
    table = next((f for f in tables if f.encoder == wanted.encoder), None)
    if table is None:
        raise StoreError(
            f"train.inputs.{modality}.encoder: no [[features]] table makes "
            f'"{wanted.encoder}".{nearest(wanted.encoder, [f.encoder for f in tables])}'
        )
    store = open_store(find_store(config.corpus_cache, table, config.cache.dtype))
    layers = layer_names(store.spec, wanted.layers)
    return Input(modality, store, layers, weighted=wanted.layers == "weighted")


def find_store(folder: Path, table: AnyFeatures, dtype: str) -> Path:
    """Folder of the store below `folder` that `table` describes; of several, the newest.

    Raises StoreNotFoundError if there is none, and tells of stores of the same encoder that were
    made with other settings.
    """
    fitting: list[Path] = []
    others: list[str] = []
    for path in sorted(folder.glob(f"{table.modality}-*")):
        if not re.search(r"-[0-9a-f]{8}$", path.name):
            continue
        try:
            spec = open_store(path, allow_partial=True).spec
        except StoreNotFoundError:
            continue  # a folder of this name without a single part
        if table.encoder not in (spec.encoder, spec.source, *_last_part(table, spec)):
            continue
        if differs := _differences(table, spec, dtype):
            others.append(f"{path.name} has {', '.join(differs)}")
        else:
            fitting.append(path)
    if fitting:
        return max(fitting, key=lambda path: path.stat().st_mtime_ns)
    hint = f" ({'; '.join(others)})" if others else ""
    raise StoreNotFoundError(
        f"train.inputs.{table.modality}: {folder} holds no features of {table.encoder} "
        f"as its [[features]] table asks for{hint}. `sedimental extract` makes them."
    )


def _last_part(table: AnyFeatures, spec: FeatureSpec) -> tuple[str, ...]:
    """The table's name of the encoder, if it is a path or Hub id whose end is the store's name."""
    return (table.encoder,) if table.encoder.rstrip("/").endswith(f"/{spec.encoder}") else ()


def _differences(table: AnyFeatures, spec: FeatureSpec, dtype: str) -> list[str]:
    """Settings in which the store differs from the table, as the store has them."""
    found = [] if spec.dtype == dtype else [f"dtype {spec.dtype}"]
    if table.weights is not None:
        given = table.weights
        of_folder = "/" in given or given == "."
        if spec.weights != ("folder" if of_folder else given):
            found.append(f"weights {spec.weights}")
        elif of_folder and Path(spec.source).name != Path(given).resolve().name:
            found.append(f"weights {spec.source}")
    # a branch or tag may have moved since: only a commit can be compared
    pinned = table.revision is not None and re.fullmatch(r"[0-9a-f]{40}", table.revision)
    if pinned and spec.revision != table.revision:
        found.append(f"revision {spec.revision}")
    own = type(table).model_fields.keys() - Features.model_fields.keys() - {"modality"}
    for key in sorted(own & {*spec.preprocessing.keys(), *UNSTATED}):
        usual = type(table).model_fields[key].default  # what a store does not state
        if (has := spec.preprocessing.get(key, usual)) != getattr(table, key):
            found.append(f"{key} {has}")
    return found
