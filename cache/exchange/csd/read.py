"""A folder of computational sequences (.csd) as features: labels by segment, sequences cut to them.

The segments are the rows of the labels (``Opinion Segment Labels``, ``All Labels``: sentiment
first), or keys as ``video[segment]``. Sequences of whole videos are cut to the segments by the
middle of each row's interval. ``splits.json`` ({"train": [videos or clips], …}) beside the files
says the splits.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ....errors import SedimentalError
from ...alignment.time_align import COLLAPSE, align
from ...manifest import Clip
from ...safe_pickle.limits import shown
from ...spec import MODALITIES, MOSEI_EMOTIONS, SPLIT_NAMES, Modality, Split
from ...store.clip_features import ClipFeatures
from ..foreign import (
    INTERNAL,
    ExchangeError,
    MissingFeatures,
    ModalityFeatures,
    features,
    refuse,
    with_contexts,
)
from ..labels import LabelKind, Labels
from .file import CsdFile, Rows, segment_of

SPLITS_FILE = "splits.json"
GUESSES: Mapping[Modality, tuple[str, ...]] = {
    "text": ("wordvector", "glove", "bert", "text"),
    "audio": ("covarep", "opensmile", "audio", "acoustic", "wavlm"),
    "vision": ("facet", "openface", "visual", "vision", "video"),
}
"""Words in the names of files that give away their modality."""
LABELS, CLASSES = "label", "class"
PAUSE = "sp"
"""The word that marks a pause."""
ALL_LABELS = 1 + len(MOSEI_EMOTIONS)
"""Columns of CMU-MOSEI's label sequence: sentiment, then its emotions."""


@dataclass(frozen=True)
class Aligned:
    """Onto which sequence the others are to be aligned, and how."""

    reference: str
    collapse: str = "mean"


@dataclass(frozen=True)
class _Segment:
    key: str
    """Of the labels' file."""
    begin: float
    end: float


def open_folder(
    folder: Path,
    names: Mapping[Modality, str],
    labels: LabelKind | None = None,
    only: Path | None = None,
    aligned: Aligned | None = None,
) -> "CsdFolder":
    """The sequences in `folder`; `names` says which file is which modality, by its stem.

    Without names they are guessed; of `only` one file, the others serve as labels and words.
    Raises ExchangeError naming what is missing.
    """
    files = {path.stem: path for path in sorted(folder.glob("*.csd"))}
    chosen: dict[Modality, Path] = {}
    faults = []
    for modality in MODALITIES:
        if modality in names:
            if names[modality] not in files:
                faults.append(
                    f"no {shown(names[modality])}.csd. There: {', '.join(files) or 'none'}."
                )
            else:
                chosen[modality] = files[names[modality]]
            continue
        fitting = [
            path
            for stem, path in files.items()
            if any(word in stem.lower() for word in GUESSES[modality])
            and LABELS not in stem.lower()
            and not _is_words(path)
            and only in (None, path)
        ]
        if names or not fitting:
            continue
        if len(fitting) > 1:
            which = ", ".join(path.stem for path in fitting)
            faults.append(f"several files may be {modality}: say --{modality} with one of {which}.")
        chosen[modality] = fitting[0]
    refuse(folder, faults)
    if not chosen:
        raise ExchangeError(
            f"{folder}: say which sequence is which: --text, --audio, --vision with one of "
            f"{', '.join(files)}."
        )
    reference = None
    if aligned is not None:
        if aligned.collapse not in COLLAPSE:
            raise ExchangeError(f"--collapse {aligned.collapse}: choose of {', '.join(COLLAPSE)}.")
        if aligned.reference not in files:
            raise ExchangeError(f"{folder}: --align: no {shown(aligned.reference)}.csd there.")
        reference = files[aligned.reference]
    return CsdFolder(folder, files, chosen, labels, reference, aligned)


class CsdFolder:
    """An opened folder; sequences are read as they are taken."""

    title = "computational sequences"

    def __init__(
        self,
        folder: Path,
        files: Mapping[str, Path],
        chosen: Mapping[Modality, Path],
        labels: LabelKind | None,
        reference: Path | None,
        aligned: Aligned | None,
    ) -> None:
        """Use `open_folder`."""
        self.path, self._chosen, self.notes = folder, chosen, list[str]()
        self._reference, self._aligned = reference, aligned
        rated = [p for s, p in files.items() if LABELS in s.lower()]
        others = [p for p in files.values() if p not in rated]
        words = next((p for p in others if _is_words(p)), None)
        if len(rated) > 1:
            all_labels = [p for p in rated if CLASSES not in p.stem.lower()]
            self.notes.append(f"labels are those of {all_labels[0].name}.")
            rated = all_labels
        if not rated:
            raise ExchangeError(
                f'{folder}: no labels: no file of it has "label" in its name, as '
                "CMU_MOSI_Opinion_Labels.csd has."
            )
        self._segments: dict[str, _Segment] = {}
        self.clips = with_contexts(self._clips(rated[0], words, labels))
        used = [*chosen.values(), rated[0], *filter(None, (words, reference))]
        self.digest = _digest(dict.fromkeys(used))
        self.offers: Mapping[Modality, ModalityFeatures] = {m: self._offer(m) for m in chosen}

    def take(self, modality: Modality) -> Iterator[ClipFeatures | MissingFeatures]:
        """Every clip's features, with their times in the clip."""
        with CsdFile(self._chosen[modality]) as file, _opened(self._reference) as reference:
            for clip in self.clips:
                yield self._one(file, reference, modality, clip)

    def _one(
        self, file: CsdFile, reference: CsdFile | None, modality: Modality, clip: Clip
    ) -> ClipFeatures | MissingFeatures:
        segment = self._segments[clip.id]
        try:
            rows = _cut(file, clip, segment)
            steps = _cut(reference, clip, segment) if reference else rows
        except SedimentalError as fault:
            return MissingFeatures(clip.id, str(fault))
        if rows is None or steps is None:
            return MissingFeatures(clip.id, "not in the sequence")
        values, valid = rows.features, None
        if values.dtype == object:
            return MissingFeatures(clip.id, "words and no numbers")
        if self._aligned is not None:
            how = COLLAPSE[self._aligned.collapse]
            clean = np.where(np.isneginf(values), 0, values) if modality == "audio" else values
            values, valid = align(clean, rows.intervals, steps.intervals, how)
        found = features(clip.id, self.digest[:16], modality, values, {}, valid)
        if isinstance(found, MissingFeatures):
            return found
        begin = steps.intervals[:, 0] - segment.begin
        lasting = steps.intervals[:, 1] - steps.intervals[:, 0]
        return replace(found, times=begin.astype("f4"), durations=lasting.astype("f4"))

    def _offer(self, modality: Modality) -> ModalityFeatures:
        path = self._chosen[modality]
        with CsdFile(path) as file:
            rows = next((r for key in file.keys if len((r := file.rows(key)).features)), None)
        if rows is None or rows.features.dtype == object:
            raise ExchangeError(
                f"{path}: no numbers in it; words are the transcript, not features."
            )
        how = {"lengths": "of the intervals"}
        if self._aligned is not None:
            how |= {"aligned to": self._aligned.reference, "collapse": self._aligned.collapse}
        return ModalityFeatures(rows.features.shape[1], path.stem, how)

    def _clips(self, rated: Path, words: Path | None, asked: LabelKind | None) -> list[Clip]:
        splits, found = self._splits(), list[Clip]()
        labels, wide = list[object](), 0
        with CsdFile(rated) as file, _opened(words) as transcript:
            for key in file.keys:
                rows, (video, segment) = file.rows(key), segment_of(key)
                for number in range(len(rows.features)):
                    id_ = INTERNAL.join((video, segment if segment is not None else str(number)))
                    if id_ in self._segments:
                        raise ExchangeError(f"{rated}: {shown(id_)} occurs twice.")
                    begin, end = rows.intervals[number].tolist()
                    self._segments[id_] = _Segment(key, begin, end)
                    label = rows.features[number]
                    labels.append(label if isinstance(label, str) else label[:1].tolist())
                    wide = max(wide, 0 if isinstance(label, str) else len(label))
                    emotions = {}
                    if not isinstance(label, str) and len(label) == ALL_LABELS:
                        emotions = dict(zip(MOSEI_EMOTIONS, label[1:].tolist(), strict=True))
                    clip = Clip(
                        id=id_,
                        video_id=video,
                        clip_id=id_.partition(INTERNAL)[2],
                        split="train",
                        start=begin,
                        end=end,
                        emotions={e: v for e, v in emotions.items() if abs(v) < math.inf},
                    )
                    said = _cut(transcript, clip, self._segments[id_])
                    spoken = list(said.features) if said else []
                    text = " ".join(word for word in spoken if word not in ("", PAUSE))
                    found.append(replace(clip, text=text))
        if wide == ALL_LABELS:
            self.notes.append(
                f"of {wide} labels a segment the first is sentiment, the others are taken for the "
                'six emotions of CMU-MOSEI (train.task = "emotions").'
            )
        elif wide > 1:
            self.notes.append(f"of {wide} labels a segment the first, sentiment, is taken.")
        if not found:
            raise ExchangeError(f"{rated}: no segment in it.")
        classes = all(isinstance(label, str) for label in labels)
        scores = None if classes else Labels({"train": labels}, asked)
        self.notes += scores.notes if scores else []
        return [
            replace(
                clip,
                split=splits.get(clip.id) or splits.get(clip.video_id) or _by_rule(clip),
                label=scores.score("train", number) if scores else None,
                category=scores.category("train", number) if scores else str(labels[number]),
            )
            for number, clip in enumerate(found)
        ]

    def _splits(self) -> Mapping[str, Split]:
        path = self.path / SPLITS_FILE
        if not path.is_file():
            self.notes.append(
                f"no {SPLITS_FILE} beside the files: videos were split 70 / 10 / 20 by a rule. "
                'Write {"train": [videos], "valid": […], "test": […]} there for the published one.'
            )
            return {}
        try:
            lists = json.loads(path.read_text(encoding="utf-8"))
            named = {SPLIT_NAMES[str(s).lower()]: ids for s, ids in lists.items()}
            return {str(id_): split for split, ids in named.items() for id_ in ids}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
            raise ExchangeError(
                f'{path}: should be {{"train": [videos], "valid": […], "test": […]}}: {fault}.'
            ) from None


def _by_rule(clip: Clip) -> Split:
    share = hashlib.blake2b(clip.video_id.encode(), digest_size=4).digest()[0] / 256
    return "train" if share < 0.7 else "valid" if share < 0.8 else "test"


def _opened(path: Path | None) -> AbstractContextManager[CsdFile | None]:
    return CsdFile(path) if path else nullcontext()


def _cut(file: CsdFile | None, clip: Clip, segment: _Segment) -> Rows | None:
    """The rows of a clip: its own key's, the labels' key's, or those of its video in its time."""
    if file is None:
        return None
    own = f"{clip.video_id}[{clip.clip_id}]"
    if own in file:
        return file.rows(own)
    if clip.video_id not in file:
        return None
    return file.rows(clip.video_id).within(segment.begin, segment.end)


def _is_words(path: Path) -> bool:
    """Whether a sequence holds text."""
    if LABELS in path.stem.lower():
        return False
    with CsdFile(path) as file:
        return any(file.rows(key).features.dtype == object for key in file.keys[:1])


def _digest(paths: Mapping[Path, None]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()
