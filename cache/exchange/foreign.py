"""What a file of somebody's features holds, whatever its kind: clips, and features to be taken."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import SedimentalError
from ..manifest import Clip, Manifest, contexts
from ..spec import Modality, Scalar
from ..store.clip_features import ClipFeatures

if TYPE_CHECKING:
    from ...progress import Progress
    from .export_features import ExportResult, ExportSource

MOST_FAULTS = 50
"""Faults told at once; the rest are counted."""
LARGEST = float(np.finfo(np.float32).max)
INTERNAL = "$_$"
"""Between the video's and the clip's name in an id."""


class ExchangeError(SedimentalError):
    """A file of features that cannot be read, or features that cannot be written as asked."""


@dataclass(frozen=True)
class MissingFeatures:
    """A clip that has no features of one modality in the file."""

    id: str
    reason: str


@dataclass(frozen=True)
class ModalityFeatures:
    """One modality of the file."""

    width: int
    name: str
    """What to call the features where the user has no name for them."""
    how: Mapping[str, Scalar]
    """How they were read: goes into the fingerprint."""
    weights: str = "imported"
    """As a spec has them."""
    padded: int | None = None
    """Frames to which the file pads every clip, where it does."""


class FeatureFile(Protocol):
    """An opened file, or folder, of features."""

    path: Path
    title: str
    """Its kind in words."""
    digest: str
    """SHA-256 of what was read, 64 hex digits."""
    clips: tuple[Clip, ...]
    offers: Mapping[Modality, ModalityFeatures]
    notes: list[str]
    """What a user should know, filled while it is read."""

    def take(self, modality: Modality) -> Iterator[ClipFeatures | MissingFeatures]:
        """Every clip's features, once: what was handed out is let go of."""


@dataclass(frozen=True)
class Format:
    """A form of feature files that an installed package adds, by an entry point of the group
    ``sedimental.formats``; its name there is what ``cache export --to`` calls it."""

    title: str
    """Its kind in words."""
    fits: Callable[[Path], bool] = lambda path: False
    """Whether the file or folder at a path is of this form, as far as a look at it tells."""
    open: "Callable[[Path, Mapping[Modality, str]], FeatureFile] | None" = None
    """Opens it; the names are those that the user gives the modalities' features."""
    write: "Callable[[Path, Manifest, Sequence[ExportSource], Progress], ExportResult] | None" = (
        None
    )
    """Writes chosen features of a manifest's clips; see `export_features`."""


def named(id_: str) -> tuple[str, str]:
    """Video and clip of an id; one without the mark between them is a video of one clip.

    >>> named("a$_$3"), named("b")
    (('a', '3'), ('b', '0'))
    """
    video, mark, clip = id_.partition(INTERNAL)
    return (video, clip) if mark else (id_, "0")


def with_contexts(clips: list[Clip]) -> tuple[Clip, ...]:
    """The clips, each with the ids of those before it in its video."""
    before = contexts(clips)
    return tuple(replace(clip, context=before[clip.id]) for clip in clips)


def refuse(path: Path, faults: list[str]) -> None:
    """Raise ExchangeError with all of `faults`, if there are any."""
    if faults:
        more = len(faults) - MOST_FAULTS
        lines = faults[:MOST_FAULTS] + ([f"and {more} more faults."] if more > 0 else [])
        raise ExchangeError("\n".join(f"{path}: {line}" for line in lines))


def features(
    id_: str,
    source: str,
    modality: Modality,
    values: NDArray[Any],
    side: Mapping[str, NDArray[Any]],
    valid: NDArray[np.bool_] | None = None,
) -> ClipFeatures | MissingFeatures:
    """One clip of `values` (frames, width), or why it is none.

    A sound of minus infinity is one of zero, as every reader of such files has it; any other value
    that is no float32 is a fault. A face of zeros is a frame without a face.
    """
    if modality == "audio" and np.isneginf(values).any():
        values = np.where(np.isneginf(values), 0, values)
    fits = np.abs(values) <= LARGEST  # not a number is not
    if not fits.all():
        frame, place = (int(k) for k in np.argwhere(~fits)[0])
        return MissingFeatures(id_, f"frame {frame}, number {place} is {values[frame, place]}")
    seen = values.any(axis=1)
    if not seen.any():
        return MissingFeatures(id_, "every frame is zero" if len(values) else "no frames")
    real = np.ones(len(values), np.bool_) if valid is None else valid
    if modality == "vision":
        real = np.asarray(real & seen)
    unknown = np.full(len(values), np.nan, np.float32)  # such files tell no times
    return ClipFeatures(id_, source, values[None], unknown, unknown, real, side)
