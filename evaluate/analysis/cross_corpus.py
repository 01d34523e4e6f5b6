"""Scores of trained runs on other corpora, read from what `sedimental cross` left."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...cache.checksums import DamagedError, without_checksum
from ...cache.runs import Run, folder_of
from ...cache.spec import Several
from ...errors import RunError
from ..metrics import Scheme, Scores
from ..statistics import Spread, seed_means, spreads, video_groups

PATTERN = "cross-*.npz"
"""Beside run.json: answers for the test clips of another corpus."""


@dataclass(frozen=True)
class CrossCorpus:
    """One row on the test clips of a corpus that it was not trained on."""

    name: str
    """The row."""
    corpus: str
    """What it is tested on."""
    seeds: tuple[int, ...]
    scheme: Scheme
    """How it is scored there."""
    clips: int
    said: str
    """How scales were mapped, and what was left out; empty: neither."""
    test: Mapping[str, Spread]


def read_cross(
    experiment: Path, groups: Mapping[str, Sequence[Run]], resamples: int
) -> tuple[CrossCorpus, ...]:
    """What is known of each row of which every seed was asked; raises RunError for a bad file."""
    found = []
    for name, runs in groups.items():
        folders = [folder_of(experiment, run) for run in runs]
        files = sorted({file.name for file in folders[0].glob(PATTERN)})
        for file in files:
            each = [_read(at / file, run) for at, run in zip(folders, runs, strict=True)]
            known = [one for one in each if one is not None]
            if len(known) == len(runs) and len({json.dumps(one[0]) for one in known}) == 1:
                found.append(_scored(name, runs, known, resamples))
    return tuple(found)


Kept = tuple[dict[str, Any], Scores, Scores]
"""What the file says of itself, but for the run's key; labels and answers (clips, …)."""


def _scored(name: str, runs: Sequence[Run], kept: Sequence[Kept], resamples: int) -> CrossCorpus:
    head, labels, _ = kept[0]
    answers, scheme = [values for _, _, values in kept], _scheme(head["scheme"])
    videos = dict(zip(head["ids"], head["videos"], strict=True))
    groups = video_groups(head["ids"], videos)[np.array(head["seen"], bool)]
    groups = np.unique(groups, return_inverse=True)[1]
    draws = seed_means(labels, answers, scheme, groups, resamples) if resamples else {}
    return CrossCorpus(
        name=name,
        corpus=head["corpus"],
        seeds=tuple(run.seed for run in runs),
        scheme=scheme,
        clips=len(labels),
        said=head["said"],
        test=spreads(labels, answers, scheme, draws),
    )


def _scheme(said: Mapping[str, Any]) -> Scheme:
    if "classes" in said:
        return tuple(said["classes"])
    return Several(said["kind"], tuple(said["names"])) if "kind" in said else str(said["protocol"])


def _read(file: Path, run: Run) -> Kept | None:
    """None if there is no file, or one of another training of this run."""
    if not file.is_file():
        return None
    try:
        with np.load(io.BytesIO(without_checksum(file)), allow_pickle=False) as data:
            head = json.loads(str(data["head"]))
            labels, values = data["labels"].astype(np.float64), data["values"].astype(np.float64)
            head["seen"] = data["seen"].tolist()
        if head.pop("key") != run.key:
            return None
        if labels.shape != values.shape or len(labels) != sum(head["seen"]):
            raise ValueError("labels and answers are not of the same clips")
        _scheme(head["scheme"])
        return head, labels, values
    except DamagedError as fault:
        raise RunError(f"{fault} `sedimental cross` makes it anew.") from fault
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise RunError(
            f"{file}: cannot be read ({fault}). `sedimental cross --fresh` makes it anew."
        ) from fault
