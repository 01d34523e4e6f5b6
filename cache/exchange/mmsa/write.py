"""Our features as the pickle that MMSA loads; the columns are those of `read`."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ....progress import Progress, Silent
from ...manifest import Clip, Manifest
from ...runs.identity import code_version
from ...spec import MODALITIES, SPLITS
from ...store.atomic_write import explained, fresh
from ..export_features import ExportResult, ExportSource, exported, labelled, refuse_existing
from ..pickle_write import write_pickle

AT_ONCE = 256
"""Clips read at a time."""
POLARITY = ("Negative", "Neutral", "Positive")


def write_mmsa(
    path: Path,
    manifest: Manifest,
    chosen: Sequence[ExportSource],
    progress: Progress | None = None,
    npz: bool = False,
) -> ExportResult:
    """Write the features of all labelled clips, float32, padded with zeros at the end.

    MMSA cannot leave a modality of a clip out, so one that has none is a single frame of zeros
    there; nor can it mask a frame. Both are counted. Needs memory for the padded arrays of all
    splits, and once more for the largest. With `npz` the same columns go into a .npz, as
    ``train_audio``, ``train_id`` …: no pickle, any language reads it. Raises ExchangeError if
    `path` is there.
    """
    refuse_existing(path)
    progress, clips = progress or Silent(), labelled(manifest)
    ids = {clip.id for clip in clips}
    by_split = {split: [clip for clip in clips if clip.split == split] for split in SPLITS}
    tables: dict[str, Any] = {split: _labels(own, clips) for split, own in by_split.items()}
    for one in chosen:
        progress.start(one.name, len(clips))
        longest = max((n for id_, n in one.frames.items() if id_ in ids), default=1)
        advance = partial(progress.advance, one.name)
        for split, own in by_split.items():
            tables[split] |= _columns(one, own, max(longest, one.padded), advance)
    tables["config"] = _provenance(chosen)
    with explained(path), fresh(path) as temporary, temporary.open("wb") as file:
        if npz:
            np.savez(file, allow_pickle=False, **_flat(tables))
        else:
            write_pickle(file, tables)
    return exported(path, "npz" if npz else "mmsa", manifest, clips, chosen, _notes(clips, chosen))


def _flat(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Every column as an array of its own; what made them as JSON."""
    found: dict[str, Any] = {"config": np.array(json.dumps(tables["config"]))}
    for split in SPLITS:
        for key, column in tables[split].items():
            array = np.asarray(column)
            found[f"{split}_{key}"] = array.astype(str) if array.dtype == object else array
    return found


def _columns(
    one: ExportSource, clips: Sequence[Clip], longest: int, advance: Callable[[int], None]
) -> dict[str, Any]:
    """The features of one modality of a split, and what tells their lengths."""
    frames = one.frames
    values = np.zeros((len(clips), longest, one.width), np.float32)
    tokens = None
    if tokenised(one):  # token ids, mask, segments
        tokens = np.zeros((len(clips), 3, longest), np.int64)
        tokens[:, 1, 0] = 1  # of a clip without words too: a mask of zeros alone divides by 0
    for begin in range(0, len(clips), AT_ONCE):
        here = [k for k in range(begin, min(begin + AT_ONCE, len(clips))) if clips[k].id in frames]
        ids = [clips[k].id for k in here]
        for k, own in zip(here, one.read(ids), strict=True):
            values[k, : len(own)] = own
        if tokens is not None:
            for k, own_ids in zip(here, one.side("token_ids", ids), strict=True):
                tokens[k, :2, : len(own_ids)] = own_ids, np.ones(len(own_ids))
        advance(min(AT_ONCE, len(clips) - begin))
    found: dict[str, Any] = {one.modality: values}
    if tokens is not None:
        return found | {"text_bert": tokens}
    return found | {f"{one.modality}_lengths": [frames.get(clip.id, 1) for clip in clips]}


def tokenised(one: ExportSource) -> bool:
    """Whether the store says which token each of its frames is."""
    return one.modality == "text" and "token_ids" in one.store.sides


def _labels(own: Sequence[Clip], every: Sequence[Clip]) -> dict[str, Any]:
    """Ids, words, scores and classes of a split; `every` clip tells which columns there are."""
    found: dict[str, Any] = {
        "raw_text": np.array([clip.text for clip in own], object),
        "id": np.array([clip.id for clip in own], object),
    }
    for suffix in ("", "_T", "_A", "_V"):
        if all(getattr(clip, f"label{suffix}") is not None for clip in every):
            scores = [getattr(clip, f"label{suffix}") for clip in own]
            found[f"regression_labels{suffix}"] = np.array(scores, np.float32)
    if "regression_labels" in found:
        signs = [int(np.sign(clip.label or 0)) + 1 for clip in own]
        classes = [clip.category or POLARITY[s] for clip, s in zip(own, signs, strict=True)]
    else:
        names = sorted({str(clip.category) for clip in every})
        classes = [str(clip.category) for clip in own]
        signs = [names.index(name) for name in classes]
    found["classification_labels"] = np.array(signs, np.int64)
    found["annotations"] = np.array(classes, object)
    return found


def _provenance(chosen: Sequence[ExportSource]) -> dict[str, Any]:
    """What made the features, in builtins: under "config", which MMSA passes over."""
    about: dict[str, Any] = {"made by": f"sedimental {code_version()}"}
    for one in chosen:
        spec = one.store.spec
        about[f"{one.modality}_features"] = one.name
        about[one.modality] = {
            "encoder": spec.encoder,
            "source": spec.source,
            "revision": spec.revision,
            "weights": spec.weights,
            "layers": list(one.layers),
            "fingerprint": spec.fingerprint,
            "preprocessing": dict(spec.preprocessing),
        }
    return about


def _notes(clips: Sequence[Clip], chosen: Sequence[ExportSource]) -> list[str]:
    notes = []
    if absent := [m for m in MODALITIES if m not in {one.modality for one in chosen}]:
        notes.append(
            f"there is no {' and no '.join(absent)} in it; MMSA's loader reads all three, so give "
            "it the others from files of their own (feature_T, feature_A, feature_V)."
        )
    if clips and clips[0].label is None:
        notes.append("the corpus has classes and no scores: there are no regression_labels.")
    for one in chosen:
        if one.modality == "text" and not tokenised(one):
            notes.append(
                f"{one.store.path.name} does not say its token ids: there is no text_bert, which "
                "MMSA needs where it trains BERT itself (use_bert)."
            )
    return notes
