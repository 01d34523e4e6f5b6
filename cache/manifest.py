"""Which clips a corpus has: one row a clip, kept as JSON Lines beside the features."""

import hashlib
import json
import os.path
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from dataclasses import replace as replace_fields
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..config import in_words
from ..errors import CachedManifestError
from .alignment.word import Word
from .spec import SPLITS, Split
from .store.atomic_write import replace

MANIFEST = "manifest.jsonl"
"""The corpus table, beside the stores of its corpus."""
FORMAT = "sedimental-manifest-2"
UNSEALED = "sedimental-manifest-1"
"""What earlier versions wrote: without a checksum, and without the table it was made of."""
REMEDY = "Remove the file; `sedimental extract` (or `cache import`) writes it anew."
PARTS: Mapping[str, tuple[str, ...]] = {
    "clips": ("id", "video_id", "clip_id", "context"),
    "splits": ("split",),
    "labels": ("label", "label_T", "label_A", "label_V", "category"),
    # and `SEVERAL`, where any clip has them
    "texts": ("text", "context_text"),
}
"""Parts of a table by the columns they are made of: what may change without the others."""
SEVERAL = ("dimensions", "emotions")
"""Columns that hold several labels a clip."""


@dataclass(frozen=True)
class Clip:
    """One utterance: what was said, where it lies, what it was rated."""

    id: str
    """``<video_id>$_$<clip_id>``."""
    video_id: str
    clip_id: str
    split: Split
    text: str = ""
    media: str | None = None
    """File with the clip's sound and pictures, relative to the manifest's root; None: text only."""
    start: float | None = None
    """Seconds into `media`; None: from its beginning."""
    end: float | None = None
    label: float | None = None
    label_T: float | None = None
    label_A: float | None = None
    label_V: float | None = None
    category: str | None = None
    """Class name, for corpora of classes."""
    speaker: str | None = None
    context: tuple[str, ...] = ()
    """Ids of the clips before this one in its video, oldest first."""
    context_text: tuple[str, ...] = ()
    """What was said before it where that makes no clips of the corpus, oldest first."""
    fold: int | None = None
    """The part of a cross-validation that tests it, from 0."""
    dimensions: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Scores by dimension, as ``{"valence": 3.5, "arousal": 2.0}``; empty: not rated."""
    emotions: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Intensities by emotion, where several may be there at once; 0: not there. Empty: not
    rated."""


@dataclass(frozen=True, repr=False)
class Manifest:
    """A corpus: its clips in table order, and the folder their media paths start from."""

    corpus: str
    root: Path
    clips: tuple[Clip, ...]
    table: Path | None = None
    """The file or folder it was made of; None: not known, or no table at all."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """How the table was understood where its words are not ours; not kept on disk."""
    media_digests: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Digests of whole media files, by path, as far as they are known; kept beside the manifest."""

    word_times: Mapping[str, tuple[Word, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )
    """When the words of a clip were said, where its table knows; kept beside the manifest."""

    def __repr__(self) -> str:
        """Its corpus, and how many clips of each split."""
        return f"Manifest({self.corpus}: {', '.join(f'{n} {s}' for s, n in self.sizes.items())})"

    def split(self, name: Split) -> tuple[Clip, ...]:
        """The clips of one split, in table order."""
        return tuple(clip for clip in self.clips if clip.split == name)

    @property
    def sizes(self) -> Mapping[Split, int]:
        """Number of clips per split."""
        return {name: len(self.split(name)) for name in SPLITS}

    @property
    def folds(self) -> int:
        """Parts of a cross-validation; 0 where there is none."""
        return max((c.fold + 1 for c in self.clips if c.fold is not None), default=0)

    def of_fold(self, fold: int) -> "Manifest":
        """The splits that test part `fold`: the next parts, a tenth of all, are validated on."""
        count = self.folds
        valid = {(fold + k) % count for k in range(1, 1 + max(1, count // 10))}

        def split(clip: Clip) -> Split:
            return "test" if clip.fold == fold else "valid" if clip.fold in valid else "train"

        clips = tuple(replace_fields(clip, split=split(clip)) for clip in self.clips)
        return replace_fields(self, clips=clips)

    @cached_property
    def digest(self) -> str:
        """16 hex digits over every row; two runs with equal digests saw the same table."""
        rows = "\n".join(json.dumps(_plain(clip), ensure_ascii=False) for clip in self.clips)
        return hashlib.blake2b(rows.encode(), digest_size=8).hexdigest()

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """16 hex digits over each part that decides a run's numbers: `PARTS`.

        Media and cuts are not among them: stores know what each clip's features are made from.
        """
        found = {}
        for name, columns in PARTS.items():
            rows = [[getattr(clip, column) for column in columns] for clip in self.clips]
            if name == "labels" and any(c.dimensions or c.emotions for c in self.clips):
                several = [[getattr(clip, column) for column in SEVERAL] for clip in self.clips]
                rows = [[*row, *more] for row, more in zip(rows, several, strict=True)]
            if name == "splits" and self.folds:
                rows = [[clip.fold] for clip in self.clips]
            text = json.dumps(rows, ensure_ascii=False)
            found[name] = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        return found


def _plain(clip: Clip) -> dict[str, Any]:
    """All columns; the fold and several labels only where there are any, so that other tables keep
    their digest."""
    own = asdict(clip).items()
    return {k: v for k, v in own if (k, v) != ("fold", None) and (v or k not in SEVERAL)}


def contexts(clips: Sequence[Clip]) -> dict[str, tuple[str, ...]]:
    """For each clip the ids of those before it in its video, oldest first.

    Order is that of `start` where every clip of the video has one, else of clip ids that are
    numbers, else of the table: label files are often shuffled.
    """
    videos: dict[str, list[Clip]] = {}
    for clip in clips:
        videos.setdefault(clip.video_id, []).append(clip)
    found = {}
    for own in videos.values():
        if all(c.start is not None for c in own):
            own.sort(key=lambda c: c.start or 0.0)
        elif all(c.clip_id.isdigit() for c in own):
            own.sort(key=lambda c: int(c.clip_id))
        for index, clip in enumerate(own):
            found[clip.id] = tuple(c.id for c in own[:index])
    return found


def manifest_bytes(manifest: Manifest, folder: Path) -> bytes:
    """`manifest` as JSON Lines for a file in `folder`: a head with a checksum, then a row a clip.

    Lines end with a line feed, and with nothing else that Unicode calls a line. Paths are relative
    to `folder`, so that a project can be moved with its cache.
    """
    rows = [{k: v for k, v in vars(c).items() if v not in (None, (), {})} for c in manifest.clips]
    body = "".join(_line(row) for row in rows).encode()
    head = {"format": FORMAT, "corpus": manifest.corpus, "root": _relative(manifest.root, folder)}
    if manifest.table is not None:
        head["table"] = _relative(manifest.table, folder)
    return _line({**head, "blake2b": _digest(head, body)}).encode() + body


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write `manifest` to the file at `path` at once; a file that is this one already stays."""
    replace(path, manifest_bytes(manifest, path.parent))


def read_manifest(path: Path) -> Manifest:
    """Read what `write_manifest` wrote; raises CachedManifestError that names file and line.

    What an earlier version wrote has no checksum and is believed as it stands.
    """
    try:
        first, _, body = path.read_bytes().partition(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        raise CachedManifestError(
            f"{path}: no manifest here. `sedimental extract` writes it."
        ) from None
    head = _head(path, first)
    rows = body.decode(errors="replace").removesuffix("\n").split("\n") if body else []
    clips = tuple(_clip(path, number, row) for number, row in enumerate(rows, start=2))
    sealed = head.pop("blake2b", None)
    if head["format"] == FORMAT:
        same = _line({**head, "blake2b": sealed}).encode(errors="replace") == first + b"\n"
        if not same or sealed != _digest(head, body):
            raise CachedManifestError(f"{path}: damaged: it is not what was written. {REMEDY}")
    root, table = _absolute(head["root"], path.parent), head.get("table")
    return Manifest(
        head["corpus"], root, clips, None if table is None else _absolute(table, path.parent)
    )


def _head(path: Path, line: bytes) -> dict[str, Any]:
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    texts = ("format", "corpus", "root")
    if not isinstance(found, dict) or not all(isinstance(found.get(key), str) for key in texts):
        found = {"format": None}
    known = {*texts, "table", "blake2b"} if found["format"] == FORMAT else {*texts}
    if found["format"] not in (FORMAT, UNSEALED) or not found.keys() <= known:
        raise CachedManifestError(
            f"{path}: line 1 is not the head of a manifest of format {FORMAT}. {REMEDY}"
        )
    return {**found}


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _digest(head: Mapping[str, Any], body: bytes) -> str:
    return hashlib.blake2b(_line(head).encode() + body, digest_size=16).hexdigest()


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive
        return str(path)


def _absolute(text: str, folder: Path) -> Path:
    return Path(os.path.normpath(folder / text))


def _clip(path: Path, number: int, row: str) -> Clip:
    try:
        values = json.loads(row)
        if unknown := sorted(set(values) - _COLUMNS):
            raise ValueError(f"unknown columns {', '.join(unknown)}")
        return _CLIP.validate_python(values)
    except ValidationError as found:
        first = found.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {in_words(first).rstrip('.')}"
    except (ValueError, TypeError, RecursionError) as fault:
        reason = str(fault)
    raise CachedManifestError(f"{path}: line {number}: {reason}. {REMEDY}")


_COLUMNS = {f.name for f in fields(Clip)}
_CLIP = TypeAdapter(Clip)
