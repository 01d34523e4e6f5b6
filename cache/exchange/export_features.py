"""Which of our features are to be handed on, and how they are read for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...config import Config, InputConfig, LayerChoice
from ..manifest import Clip, Manifest
from ..spec import MODALITIES, SPLITS, Modality, layer_names
from ..store.find import store_of
from ..store.store import Store
from .foreign import ExchangeError


@dataclass(frozen=True)
class ExportSource:
    """Some layers of one store."""

    modality: Modality
    store: Store
    layers: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the features are called elsewhere; random weights are named so."""
        spec = self.store.spec
        plain = (
            spec.encoder if spec.weights == "imported" else "-".join((spec.encoder, *self.layers))
        )
        return f"untrained-{plain}" if spec.untrained else plain

    @property
    def width(self) -> int:
        """Numbers in a frame: those of all layers side by side."""
        return len(self.layers) * self.store.spec.width

    @property
    def padded(self) -> int:
        """Frames to which the file padded that the features were imported from; 0: unknown."""
        return int(self.store.spec.recorded.get("padded to") or 0)

    @property
    def frames(self) -> Mapping[str, int]:
        """Clip -> its frames, of the clips that have features."""
        return dict(zip(self.store.clips, self.store.frames.tolist(), strict=True))

    def read(self, ids: Sequence[str]) -> list[NDArray[np.float32]]:
        """(frames, width) of each clip, the layers side by side as in training."""
        ragged = self.store.read(list(self.layers), ids)
        joined = np.moveaxis(ragged.values, 0, 1).reshape(ragged.values.shape[1], self.width)
        wide = joined.astype(np.float32, copy=False)
        return [wide[a:b] for a, b in pairwise(ragged.offsets)]

    def side(self, name: str, ids: Sequence[str]) -> list[NDArray[np.generic]]:
        """A side array of each clip, (frames, …)."""
        flat, offsets = self.store.side(name, ids), self.store.offsets(ids)
        return [flat[a:b] for a, b in pairwise(offsets)]


@dataclass(frozen=True)
class ExportedModality:
    """One modality of an export."""

    modality: Modality
    name: str
    width: int
    longest: int
    """Frames of the longest clip, to which the others are padded where the format pads."""
    clips: int
    """Clips that have features."""
    lacking: int
    """Clips that have none."""
    unmasked: int
    """Frames without a face that the format cannot mark: rows as they are stored."""


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote."""

    path: Path
    kind: str
    clips: Mapping[str, int]
    """By split."""
    shipped: tuple[ExportedModality, ...]
    bytes: int
    notes: tuple[str, ...]


def choose(config: Config, given: Mapping[Modality, str]) -> tuple[ExportSource, ...]:
    """The layers that ``ENCODER:LAYER`` means where `given`, else those of [train.inputs].

    Raises ExchangeError where nothing, or nothing definite, is meant, and StoreError as
    `store_of` does.
    """
    found = []
    for modality in MODALITIES:
        asked = given.get(modality)
        wanted = _input(config, modality) if asked is None else _asked(modality, asked)
        if wanted is None:
            continue
        encoder, layers = wanted
        store = store_of(config, modality, encoder, asked and f"--{modality}")
        found.append(ExportSource(modality, store, layer_names(store.spec, layers)))
    if not found:
        raise ExchangeError(
            "nothing is chosen: [train.inputs] is empty. Say --text, --audio or --vision "
            "ENCODER:LAYER."
        )
    return tuple(found)


def _asked(modality: Modality, text: str) -> tuple[str, LayerChoice]:
    encoder, mark, layer = text.rpartition(":")
    if not mark:
        return text, -1
    try:
        return encoder, "final" if layer == "final" else int(layer)
    except ValueError:
        raise ExchangeError(
            f'--{modality} {text}: "{layer}" is no layer. ENCODER:LAYER, with a number as in '
            '[train.inputs] or "final".'
        ) from None


def _input(config: Config, modality: Modality) -> tuple[str, LayerChoice] | None:
    line: InputConfig | None = getattr(config.train.inputs, modality)
    if line is None:
        return None
    if line.live or line.layers == "weighted":
        why = "is trained with the model" if line.live else "is a sum that each model learns"
        raise ExchangeError(
            f"train.inputs.{modality}: {line.encoder} {why}. Say which layer to write: "
            f"--{modality} {line.encoder}:LAYER."
        )
    return line.encoder, line.layers


def labelled(manifest: Manifest) -> tuple[Clip, ...]:
    """The clips that have what the corpus's others have: a score, else a class.

    Raises ExchangeError where none has either.
    """
    key = "label" if any(clip.label is not None for clip in manifest.clips) else "category"
    found = tuple(clip for clip in manifest.clips if getattr(clip, key) is not None)
    if not found and manifest.clips:
        raise ExchangeError(
            f"{manifest.corpus}: no clip has a score or a class, which is all that this format "
            "holds. --to parquet and --to webdataset keep every label."
        )
    return found


def refuse_existing(path: Path) -> None:
    """Raise ExchangeError if `path` is there."""
    if path.exists():
        raise ExchangeError(f"{path}: is there already. Remove it, or name another.")


def exported(
    path: Path,
    kind: str,
    manifest: Manifest,
    clips: Sequence[Clip],
    chosen: Sequence[ExportSource],
    notes: Sequence[str] = (),
) -> ExportResult:
    """What was written to `path`: the `chosen` features of those `clips` of `manifest`."""
    left = len(manifest.clips) - len(clips)
    unlabelled = [f"{left} clips have no label and were left out."] if left else []
    files = [path] if path.is_file() else path.rglob("*")
    return ExportResult(
        path=path,
        kind=kind,
        clips={split: sum(clip.split == split for clip in clips) for split in SPLITS},
        shipped=tuple(_shipped(source, clips) for source in chosen),
        bytes=sum(file.stat().st_size for file in files if file.is_file()),
        notes=(*unlabelled, *notes),
    )


def _shipped(one: ExportSource, clips: Sequence[Clip]) -> ExportedModality:
    frames = one.frames
    here = [clip.id for clip in clips if clip.id in frames]
    return ExportedModality(
        modality=one.modality,
        name=one.name,
        width=one.width,
        longest=max((frames[id_] for id_ in here), default=0),
        clips=len(here),
        lacking=len(clips) - len(here),
        unmasked=int((~one.store.side("valid", here)).sum()) if here else 0,
    )
