"""Which store on disk a [[features]] table means."""

import re
from pathlib import Path

from ...config import AnyFeatures, Config, Features, nearest
from ...errors import StoreError, StoreNotFoundError
from ..spec import FeatureSpec, Modality
from .store import Store, open_store

UNSTATED = ("context", "case", "pool")
"""Settings that a store states only where they are not the usual ones."""


def store_of(config: Config, modality: Modality, encoder: str, asked: str | None = None) -> Store:
    """The finished store of the [[features]] table of this modality and encoder.

    Raises StoreError with a remedy where there is no such table, or its store is missing,
    unfinished or made with other settings. `asked` says where the encoder was asked for, if it was
    not in [train.inputs].
    """
    tables = [f for f in config.features if f.modality == modality]
    table = next((f for f in tables if f.encoder == encoder), None)
    if table is None:
        raise StoreError(
            f"{asked or f'train.inputs.{modality}.encoder'}: no [[features]] table makes "
            f'"{encoder}".{nearest(encoder, [f.encoder for f in tables])}'
        )
    return open_store(find_store(config.corpus_cache, table, config.cache.dtype))


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
        if not _is_meant(table, spec):
            continue
        if differs := _differences(table, spec, dtype):
            others.append(f"{path.name} has {', '.join(differs)}")
        else:
            fitting.append(path)
    if fitting:
        return max(fitting, key=lambda path: path.stat().st_mtime_ns)
    hint = f" ({'; '.join(others)})" if others else ""
    maker = "sedimental cache import" if table.imported else "sedimental extract"
    raise StoreNotFoundError(
        f"train.inputs.{table.modality}: {folder} holds no features of {table.encoder} "
        f"as its [[features]] table asks for{hint}. `{maker}` makes them."
    )


def _is_meant(table: AnyFeatures, spec: FeatureSpec) -> bool:
    """Whether the store is of the table's encoder: by the name it is given, else by its own, or as
    a path or Hub id that ends with the store's name or with that of the folder it was made from."""
    if table.name is not None:
        return spec.encoder == table.name
    last = Path(table.encoder).name
    of_folder = spec.weights == "folder" and last == spec.source
    return table.encoder in (spec.encoder, spec.source) or last == spec.encoder or of_folder


def _differences(table: AnyFeatures, spec: FeatureSpec, dtype: str) -> list[str]:
    """Settings in which the store differs from the table, as the store has them."""
    found = [] if spec.dtype == dtype or table.imported else [f"dtype {spec.dtype}"]
    if table.weights is not None:
        given = table.weights
        of_folder = "/" in given or given == "."
        kind = spec.weights.split(" ")[0]
        if kind != ("folder" if of_folder else given):
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
