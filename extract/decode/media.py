"""A clip's waveform and its frames at chosen times, decoded in one pass over the file."""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from ...cache.manifest import Clip
from .clip_error import ClipError, MediaError
from .sampling import FrameSink, Mixer, Picker, Waveform

__all__ = [
    "Frames",
    "Media",
    "MediaError",
    "Waveform",
    "decode",
    "duration",
    "read_media",
    "source_digest",
]

SAMPLED_BYTES = 1 << 16


@dataclass(frozen=True)
class Frames:
    """Pictures on screen at `times`."""

    images: tuple[NDArray[np.uint8], ...]
    """RGB, each (height, width, 3), upright."""
    times: NDArray[np.float32]
    """Seconds from the clip's start, (frames,)."""


@dataclass(frozen=True)
class Media:
    """What one pass over a clip gave; a missing part is None and its reason is in `faults`."""

    waveform: Waveform | None = None
    frames: Frames | None = None
    faults: dict[str, str] = field(default_factory=dict)
    """``audio`` or ``vision`` to the reason it is missing."""


def source_digest(path: Path, start: float | None, end: float | None) -> str:
    """16 hex digits of what a clip is made from: the file's size, head and tail, and the cut.

    Whole files are not read: a corpus of hundreds of gigabytes is checked in seconds, and a file
    that was re-encoded or replaced still shows.
    """
    digest = hashlib.blake2b(digest_size=8)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        digest.update(f"{size} {start} {end}".encode())
        for position in (0, max(0, size - SAMPLED_BYTES)):
            file.seek(position)
            digest.update(file.read(SAMPLED_BYTES))
    return digest.hexdigest()


def media_source(clip: Clip, root: Path) -> str:
    """`source_digest` of the clip's file and cut; raises ClipError if there is no such file."""
    path = root / (clip.media or "")
    try:
        if reason := not_a_file(path):
            raise ClipError("read", f"{reason}: {clip.media}")
        return source_digest(path, clip.start, clip.end)
    except OSError as fault:
        raise ClipError("read", f"{fault.strerror or fault}: {clip.media}") from None


def not_a_file(path: Path) -> str | None:
    """Why there is nothing to read at `path`; opening a named pipe would wait for ever."""
    if path.is_file():
        return None
    return "not a regular file" if path.exists() else "no such file"


def duration(path: Path) -> float | None:
    """Seconds that the container announces; None if it cannot be opened or does not say."""
    if not_a_file(path):
        return None
    try:
        with av.open(str(path)) as container:
            return container.duration / av.time_base if container.duration else None
    except (av.error.FFmpegError, OSError, ValueError):
        return None


def read_media(
    path: Path,
    start: float | None = None,
    end: float | None = None,
    fps: float | None = None,
    audio: bool = True,
) -> Media:
    """Decode the clip once: frames at `fps` (None: no pictures) and, if `audio`, its sound.

    All frames at once, in full size: `decode` is for clips of any length. Raises MediaError if
    nothing can be opened.
    """
    images: list[NDArray[np.uint8]] = []
    media = decode(path, start, end, {fps: images.append} if fps else {}, audio)
    if not fps or "vision" in media.faults:
        return media
    times = np.arange(len(images), dtype=np.float32) / np.float32(fps)
    return Media(media.waveform, Frames(tuple(images), times), media.faults)


def decode(
    path: Path,
    start: float | None,
    end: float | None,
    sinks: Mapping[float, FrameSink],
    audio: bool,
) -> Media:
    """Decode the clip once: its frames go to `sinks` (by frames a second), its sound comes back.

    Frames are picked by time stamp, so variable and wrongly announced frame rates do no harm: frame
    i is what is on screen i/fps seconds after `start`. That a stream broke off shows at its end
    alone: where `faults` then names vision, what the sinks were given is not the clip. Raises
    MediaError if nothing can be opened.
    """
    if reason := not_a_file(path):
        raise MediaError(f"{reason}: {path}")
    if path.stat().st_size == 0:
        raise MediaError(f"empty file: {path}")
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError, ValueError) as fault:
        raise MediaError(f"unreadable: {_words(fault)} ({path.name})") from None
    with container:
        return _decode(container, start or 0.0, end, sinks, audio)


def _decode(
    container: Any, start: float, end: float | None, sinks: Mapping[float, FrameSink], audio: bool
) -> Media:
    faults: dict[str, str] = {}
    video = container.streams.video[0] if sinks and container.streams.video else None
    sound = container.streams.audio[0] if audio and container.streams.audio else None
    if sinks and video is None:
        faults["vision"] = "no video track"
    if audio and sound is None:
        faults["audio"] = "no audio track"
    if video is not None and video.codec_context is None:
        video, faults["vision"] = None, "no decoder for its video"
    if sound is not None and sound.codec_context is None:
        sound, faults["audio"] = None, "no decoder for its sound"
    streams = [s for s in (video, sound) if s is not None]
    if not streams:
        return Media(faults=faults)
    for stream in streams:
        stream.codec_context.thread_count = 1  # many clips are decoded at once, a thread each
    origin = (container.start_time or 0) / av.time_base
    if start > 0:
        # lands on the key frame before; what precedes `start` is decoded and dropped
        with contextlib.suppress(av.error.FFmpegError):  # then from the beginning
            container.seek(round((start + origin) * av.time_base), backward=True)
    pickers = [Picker(fps, start, end, origin, sink) for fps, sink in sinks.items()]
    mixer = Mixer(start, end, origin)
    targets: Mapping[Any, Sequence[Picker | Mixer]] = {
        stream.index: pickers if stream is video else [mixer] for stream in streams
    }
    for packet in _packets(container, streams):
        takers = [t for t in targets[packet.stream.index] if not t.done]
        if not takers:
            if all(t.done for each in targets.values() for t in each):
                break
            continue
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            continue  # one broken packet; what is missing in the end shows as a broken-off stream
        for frame in frames:
            for taker in takers:
                taker.take(frame)
    waveform = None
    if video is not None:
        wanted = _wanted(container, video, start, end)
        for picker in pickers:
            picker.finish(wanted, video, faults)
    if sound is not None:
        waveform = mixer.finish(_wanted(container, sound, start, end), faults)
    return Media(waveform, None, faults)


def _packets(container: Any, streams: Sequence[Any]) -> Iterator[Any]:
    """The packets up to where the file cannot be read on, which shows as a broken-off stream."""
    with contextlib.suppress(av.error.FFmpegError):
        yield from container.demux(streams)


def _wanted(container: Any, stream: Any, start: float, end: float | None) -> float:
    """Seconds that the cut should give by the file's own words."""
    if stream.duration:
        announced = float(stream.duration * stream.time_base)
    else:
        announced = (container.duration or 0) / av.time_base
    return (announced if end is None else min(end, announced)) - start


def _words(fault: Exception) -> str:
    return str(getattr(fault, "strerror", None) or fault) or type(fault).__name__
