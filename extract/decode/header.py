"""What a media file says of itself, without decoding it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import av.error

from .announced import container_seconds, plausible
from .clip_error import MediaError
from .tracks import Kind, candidates, decodable, no_decoder, track_count

PATIENCE = 60.0
"""Seconds that opening a file, or reading one packet of it, may take."""


@dataclass(frozen=True)
class Header:
    """What a file announces."""

    seconds: float = 0.0
    """Length; 0 where it does not say, or cannot be right."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """``audio`` or ``vision`` with the reason why the file gives none."""
    fault: str | None = None
    """Why it cannot be opened."""
    tracks: Mapping[str, int] = field(default_factory=dict)
    """``audio`` and ``vision`` with the number of such tracks."""

    def why_no(self, modality: str, start: float | None, track: int | None = None) -> str | None:
        """Why a clip of this file that begins at `start` will give no such features, if so."""
        if self.fault:
            return self.fault
        if track is not None and track >= self.tracks[modality]:
            return no_track(modality, [])
        if reason := self.faults.get(modality):
            return reason
        if start and self.seconds and start >= self.seconds:
            return BEHIND
        return None


KINDS: Mapping[str, Kind] = {"vision": "video", "audio": "audio"}
BEHIND = "the cut begins after the end of the file"


def not_a_file(path: Path) -> str | None:
    """Why there is nothing to read at `path`; opening a named pipe would wait for ever."""
    if path.is_file():
        return None
    return "not a regular file" if path.exists() else "no such file"


def open_media(path: Path) -> Any:
    """The opened container; raises MediaError with the reason if that cannot be."""
    if reason := not_a_file(path):
        raise MediaError(f"{reason}: {path}")
    if path.stat().st_size == 0:
        raise MediaError(f"empty file: {path}")
    try:
        return av.open(str(path), timeout=PATIENCE, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as fault:
        raise MediaError(f"unreadable: {words(fault)} ({path.name})") from None


def read_header(path: Path) -> Header:
    """What the file at `path` says of itself."""
    try:
        if reason := not_a_file(path):
            return Header(fault=reason)
        with open_media(path) as container:
            tracks = {m: candidates(container, kind) for m, kind in KINDS.items()}
            faults = {m: reason for m, each in tracks.items() if (reason := no_track(m, each))}
            first = next((track for each in tracks.values() for track in each), None)
            seconds = plausible(path, container_seconds(container), first)
            counts = {m: track_count(container, kind) for m, kind in KINDS.items()}
            return Header(seconds, faults, tracks=counts)
    except MediaError as fault:
        return Header(fault=str(fault).split(": " + str(path))[0].removesuffix(f" ({path.name})"))
    except Exception as fault:
        return Header(fault=f"unreadable: {words(fault)}")


def no_track(modality: str, streams: list[Any]) -> str | None:
    """Why there is nothing to decode among the candidate `streams`, if so."""
    if not streams:
        return f"no {'video' if modality == 'vision' else 'audio'} track"
    return None if any(map(decodable, streams)) else no_decoder(streams[0])


def words(fault: Exception) -> str:
    """What went wrong, without FFmpeg's numbers and paths."""
    return str(getattr(fault, "strerror", None) or fault) or type(fault).__name__
