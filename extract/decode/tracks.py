"""Which of a file's tracks are meant: the picture and the sound that a player would choose."""

from collections.abc import Sequence
from typing import Any, Literal

from av.stream import Disposition

ASIDE = Disposition.comment | Disposition.hearing_impaired | Disposition.visual_impaired
ASIDE |= Disposition.descriptions | Disposition.karaoke | Disposition.dub
"""What a track is marked with that accompanies another one."""
STILL = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
"""What a cover or a preview is marked with: it is no video."""


Kind = Literal["video", "audio"]


def candidates(container: Any, kind: Kind, track: int | None = None) -> list[Any]:
    """Streams of that kind in the order in which they should be tried.

    The default track comes first, commentary and the like last; else in the file's order. With a
    `track`, counted from 0 among the streams of the kind, that one alone. Covers are left out, and
    so are tracks for whose codec there is no decoder, unless all are such.
    """
    streams = _moving(container, kind)
    if track is not None:
        return list(streams[track : track + 1])
    ranked = sorted(streams, key=lambda s: (not _default(s), bool(s.disposition & ASIDE), s.index))
    return [s for s in ranked if decodable(s)] or ranked[:1]


def track_count(container: Any, kind: Kind) -> int:
    """Tracks of that kind, covers not among them."""
    return len(_moving(container, kind))


def _moving(container: Any, kind: Kind) -> Sequence[Any]:
    return [s for s in getattr(container.streams, kind) if not s.disposition & STILL]


def decodable(stream: Any) -> bool:
    """Whether there is a decoder for the track."""
    return stream.codec_context is not None


def no_decoder(stream: Any) -> str:
    """The reason of a track without a decoder, in words."""
    return f"the {stream.type} track has a codec that FFmpeg has no decoder for"


def _default(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.default)
