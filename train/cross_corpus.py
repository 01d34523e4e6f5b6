"""What trained runs say of the test clips of other corpora: trained on one, tested on another.

The other corpus's features must be made as those that the run was trained on. Its scale of labels
may be another: answers are mapped linearly from the one to the other, which the file says.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ..cache.corpus.corpus_table import cached_manifest
from ..cache.manifest import Clip, Manifest
from ..cache.runs import Run
from ..config import Config, TrainConfig
from ..errors import RunError, StoreError
from ..evaluate.metrics import label_ends
from ..progress import Progress, Silent
from .arrays_file import is_of, write_arrays
from .data.live_inputs import FindLive
from .predict import answer
from .robustness import named_plans
from .session import TrainSession

TASK = "cross-corpus"
"""The one task whose progress is told: runs times corpora."""
PREFIX = "cross-"
"""Begins the names of the files beside run.json; `evaluate.analysis.cross_corpus` reads them."""
VERSION = 1
Range = tuple[float, float]


@dataclass(frozen=True)
class Asked:
    """The test clips of another corpus, as a run can be scored on them."""

    clips: tuple[Clip, ...]
    labels: NDArray[np.float64]
    """(clips, …) in the other corpus's scale, or numbers of the run's classes."""
    columns: tuple[int, ...]
    """Of several labels a clip, those of the run's columns that the corpus has too."""
    scheme: dict[str, Any]
    """How they are scored: ``protocol``, ``classes``, or ``kind`` and ``names``."""
    left_out: str
    """Which clips cannot be scored, in words; empty: none."""


def cross_corpus(
    config: Config,
    others: Sequence[Config],
    progress: Progress | None = None,
    fresh: bool = False,
    live: FindLive | None = None,
    names: Sequence[str] = (),
) -> tuple[Path, ...]:
    """Ask every finished run of [train] about the test clips of each of `others`.

    The answers lie as ``cross-<corpus>.npz`` in its folder; one that was asked so before, on the
    same table, is not asked again unless `fresh`. `names` limits it to some runs, `live` finds
    inputs whose encoders were trained along. Raises RunError for labels that no run predicts,
    StoreError where the features of another corpus are not there, and ManifestError without its
    table. Returns the files, of all runs.
    """
    told = progress or Silent()
    shop = TrainSession(config, told, live)
    finished = [(plan, plan.finished(told)) for plan in named_plans([shop], names)[0]]
    runs = [(plan.folder, run) for plan, run in finished if run is not None]
    tables = [cached_manifest(other) for other in others]
    told.start(TASK, len(runs) * len(others), "test set")
    found = []
    for folder, run in runs:
        for other, manifest in zip(others, tables, strict=True):
            file = folder / f"{PREFIX}{other.corpus.slug}.npz"
            wanted = {"version": VERSION, "key": run.key, "manifest": manifest.digest}
            if fresh or not is_of(file, wanted):
                _ask(file, wanted, run, folder, config, other, manifest, live)
            told.advance(TASK)
            found.append(file)
    return tuple(found)


def _ask(
    file: Path,
    head: dict[str, Any],
    run: Run,
    folder: Path,
    config: Config,
    other: Config,
    manifest: Manifest,
    live: FindLive | None,
) -> None:
    asked = asked_of(run, manifest, other)
    test = replace(manifest, clips=tuple(c for c in manifest.clips if c.split == "test"))
    try:
        answers = answer(run, folder, _config_of(run, other), test, live)
    except StoreError as fault:
        raise StoreError(
            f"{run.row} on {other.corpus.slug}: its features are not cached there as the run read "
            f"them. Give that pipeline the same [[features]] and `sedimental extract` it. ({fault})"
        ) from fault
    place = {id_: k for k, id_ in enumerate(answers.ids)}
    values = answers.values[[place[clip.id] for clip in asked.clips]]
    if asked.columns:
        values = values[:, list(asked.columns)]
    values, words = mapped(values, *ranges(run, config, other))
    seen = np.asarray(np.isfinite(values).reshape(len(values), -1).all(axis=1), np.bool_)
    lost = int((~seen).sum())
    unseen = f"{lost} test clips without any features are left out." if lost else ""
    head |= {
        "corpus": other.corpus.slug,
        "ids": [clip.id for clip in asked.clips],
        "videos": [clip.video_id for clip in asked.clips],
        "scheme": asked.scheme,
        "said": " ".join(filter(None, [words, asked.left_out, unseen])),
    }
    # a clip without any features has no answer: it is left out of the scores, which is said
    write_arrays(file, head, labels=asked.labels[seen], values=values[seen], seen=seen)


def asked_of(run: Run, manifest: Manifest, other: Config) -> Asked:
    """The test clips of `manifest` that `run` can be scored on; raises RunError for none."""
    own, test = run.predictions, [c for c in manifest.clips if c.split == "test"]
    columns: tuple[int, ...] = ()
    if own.classes:
        kept = [c for c in test if c.category in own.classes]
        odd = Counter(c.category or "none" for c in test if c.category not in own.classes)
        labels: list[Any] = [own.classes.index(str(c.category)) for c in kept]
        scheme: dict[str, Any] = {"classes": own.classes}
        why = ", ".join(f"{count} of {name}" for name, count in odd.most_common())
    elif own.several is not None:
        key, here = own.several.kind, {n for c in test for n in getattr(c, own.several.kind)}
        columns = tuple(k for k, name in enumerate(own.several.names) if name in here)
        names = tuple(own.several.names[k] for k in columns)
        kept = [c for c in test if names and set(names) <= getattr(c, key).keys()]
        labels = [[getattr(c, key)[name] for name in names] for c in kept]
        scheme, why = {"kind": key, "names": names}, ""
    else:
        kept = [c for c in test if c.label is not None]
        labels = [c.label for c in kept]
        scheme, why = {"protocol": other.evaluate.protocol}, ""
    if not kept:
        what = "classes" if own.classes else own.several.kind if own.several else "scores"
        raise RunError(
            f"{run.row} on {manifest.corpus}: no test clip there has any of the {what} that the "
            "run predicts. Train it with another train.task, or leave that corpus out."
        )
    left = len(test) - len(kept)
    reason = f" ({why})" if why else ""
    told = f"{left} test clips without what the run predicts are left out{reason}." if left else ""
    values = np.array(labels, np.float64)
    if scheme.get("kind") == "emotions":
        values = (values > 0).astype(np.float64)
    return Asked(tuple(kept), values, columns, scheme, told)


def ranges(run: Run, config: Config, other: Config) -> tuple[Range | None, Range | None]:
    """The scale of what `run`, of `config`, says, and that of `other`; None: not known, or none."""
    own = run.predictions
    if own.classes or (own.several and own.several.kind == "emotions"):
        return None, None
    if own.several is not None:
        return config.corpus.scale, other.corpus.scale
    ours = label_ends(run.protocol or config.evaluate.protocol)
    return ours, label_ends(other.evaluate.protocol)


def mapped(
    values: NDArray[np.float64], ours: Range | None, theirs: Range | None
) -> tuple[NDArray[np.float64], str]:
    """`values` from one scale to the other, linearly, and what was done in words.

    >>> mapped(np.array([-3.0, 0.0, 1.5]), (-3, 3), (-1, 1))
    (array([-1. ,  0. ,  0.5]), 'Scores are mapped linearly from -3..3 to -1..1.')
    """
    if ours is None or theirs is None or ours == theirs:
        return values, ""
    (low, high), (down, up) = ours, theirs
    words = f"Scores are mapped linearly from {low:g}..{high:g} to {down:g}..{up:g}."
    return down + (values - low) * ((up - down) / (high - low)), words


def _config_of(run: Run, other: Config) -> Config:
    """The other corpus's pipeline, with the run's own way of reading features."""
    known = {k: v for k, v in run.config.items() if k in TrainConfig.model_fields}
    known["device"], known["inputs"] = other.train.device, run.config["inputs"]
    try:
        return other.model_copy(update={"train": TrainConfig.model_validate(known)})
    except ValidationError as fault:
        raise RunError(
            f"{run.row}: its settings are no longer known ({fault.error_count()} of them). "
            "`sedimental train --fresh` makes it anew."
        ) from None
