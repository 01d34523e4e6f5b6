"""Which clips a corpus has: one row a clip, kept as JSON Lines beside the features."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import CachedManifestError
from .spec import SPLITS, Split
from .store.atomic_write import replace

FORMAT = "sedimental-manifest-1"


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


@dataclass(frozen=True)
class Manifest:
    """A corpus: its clips in table order, and the folder their media paths start from."""

    corpus: str
    root: Path
    clips: tuple[Clip, ...]

    def split(self, name: Split) -> tuple[Clip, ...]:
        """The clips of one split, in table order."""
        return tuple(clip for clip in self.clips if clip.split == name)

    @property
    def sizes(self) -> Mapping[Split, int]:
        """Number of clips per split."""
        return {name: len(self.split(name)) for name in SPLITS}

    @cached_property
    def digest(self) -> str:
        """16 hex digits over every row; two runs with equal digests saw the same table."""
        rows = "\n".join(json.dumps(asdict(clip), ensure_ascii=False) for clip in self.clips)
        return hashlib.blake2b(rows.encode(), digest_size=8).hexdigest()


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


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write `manifest` as JSON Lines (a head, then a row a clip), replacing the file at once."""
    head = {"format": FORMAT, "corpus": manifest.corpus, "root": str(manifest.root)}
    rows = [{k: v for k, v in asdict(c).items() if v not in (None, ())} for c in manifest.clips]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in [head, *rows])
    replace(path, text)


def read_manifest(path: Path) -> Manifest:
    """Read what `write_manifest` wrote; raises CachedManifestError that names the file and line."""
    if not path.is_file():
        raise CachedManifestError(f"{path}: no manifest here. `sedimental extract` writes it.")
    head, *rows = path.read_text(encoding="utf-8").splitlines() or ["{}"]
    try:
        found: dict[str, Any] = json.loads(head)
    except json.JSONDecodeError:
        found = {}
    if found.get("format") != FORMAT:
        raise CachedManifestError(
            f"{path}: line 1 is not the head of a manifest of format {FORMAT}. "
            "`sedimental extract` writes the file anew."
        )
    return Manifest(
        corpus=found["corpus"],
        root=Path(found["root"]),
        clips=tuple(_clip(path, number, row) for number, row in enumerate(rows, start=2)),
    )


def _clip(path: Path, number: int, row: str) -> Clip:
    known = {f.name for f in fields(Clip)}
    try:
        values = json.loads(row)
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown columns {', '.join(unknown)}")
        lists = {k: tuple(values.get(k, ())) for k in ("context", "context_text")}
        return Clip(**{**values, **lists})
    except (ValueError, TypeError) as fault:
        raise CachedManifestError(
            f"{path}: line {number}: {fault}. `sedimental extract` writes the file anew."
        ) from None
