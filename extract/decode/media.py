"""One clip from its file to what encoders take: pictures at chosen times, sound at chosen rates."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...cache.manifest import Clip
from .clip_error import ClipError, MediaError
from .header import no_track, not_a_file, open_media
from .pictures import FrameSampler, FrameSink, Pictures
from .reading import read_from
from .sound import NOTHING, Sound, Waveform
from .track_decoders import UNSEEN, AudioDecoder, TrackDecoder, VideoDecoder
from .tracks import candidates, decodable

__all__ = [
    "Frames",
    "Media",
    "MediaError",
    "Waveform",
    "decode",
    "media_sources",
    "read_media",
    "sound_of",
    "source_digest",
]

SAMPLED_BYTES = 1 << 16


@dataclass(frozen=True)
class Frames:
    """Pictures on screen at `times`."""

    images: tuple[NDArray[np.uint8], ...]
    """RGB, each (height, width, 3), upright, of square pixels."""
    times: NDArray[np.float32]
    """Seconds from the clip's start, (frames,)."""


@dataclass(frozen=True)
class Media:
    """What one pass over a clip gave; a missing part has its reason in `faults`."""

    waveforms: Mapping[int, Waveform] = field(default_factory=dict)
    """By the asked sample rate."""
    frames: Frames | None = None
    faults: Mapping[str, str] = field(default_factory=dict)
    """``audio`` or ``vision`` to the reason it is missing."""
    notes: tuple[str, ...] = ()
    """What is not as it should be, and does no harm: gaps, a missing end."""

    @property
    def waveform(self) -> Waveform | None:
        """The sound, where it was asked for at one rate."""
        return next(iter(self.waveforms.values()), None)


def source_digest(path: Path, start: float | None, end: float | None) -> str:
    """16 hex digits of what a clip is made from: the file's size, head and tail, and the cut.

    Whole files are not read: a corpus of hundreds of gigabytes is checked in seconds, and a file
    that was re-encoded or replaced still shows.
    """
    return source_digests(path, [(start, end)])[0]


def source_digests(path: Path, cuts: Iterable[tuple[float | None, float | None]]) -> list[str]:
    """`source_digest` of each of the cuts of a file, which is opened once."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        ends = b""
        for position in (0, max(0, size - SAMPLED_BYTES)):
            file.seek(position)
            ends += file.read(SAMPLED_BYTES)
    heads = (f"{size} {start} {end}".encode() for start, end in cuts)
    return [hashlib.blake2b(head + ends, digest_size=8).hexdigest() for head in heads]


def media_sources(clips: Sequence[Clip], root: Path) -> list[str]:
    """The sources of clips that share a file; raises ClipError if there is no such file."""
    media = clips[0].media
    path = root / (media or "")
    try:
        if reason := not_a_file(path):
            raise ClipError("read", f"{reason}: {media}")
        return source_digests(path, [(clip.start, clip.end) for clip in clips])
    except OSError as fault:
        raise ClipError("read", f"{fault.strerror or fault}: {media}") from None


def sound_of(path: Path, start: float | None, end: float | None, rate: int) -> NDArray[np.float32]:
    """The clip's sound at `rate`, (samples,); raises ClipError where there is none."""
    media = decode(path, start, end, {}, [rate])
    if rate not in media.waveforms:
        raise ClipError("decode", media.faults.get("audio", "no sound"))
    return media.waveforms[rate].samples


def read_media(
    path: Path,
    start: float | None = None,
    end: float | None = None,
    fps: float | None = None,
    audio: bool = True,
    track: int | None = None,
) -> Media:
    """Decode the clip once: frames at `fps` (None: no pictures) and, if `audio`, its sound.

    All frames at once, in full size, and sound at the file's own rate: `decode` is for clips of any
    length. Raises MediaError if nothing can be opened.
    """
    images: list[NDArray[np.uint8]] = []
    sinks = {fps: images.append} if fps else {}
    media = decode(path, start, end, sinks, [0] if audio else [], track)
    if not fps or "vision" in media.faults:
        return media
    times = np.arange(len(images), dtype=np.float32) / np.float32(fps)
    return replace(media, frames=Frames(tuple(images), times))


def decode(
    path: Path,
    start: float | None,
    end: float | None,
    sinks: Mapping[float, FrameSink],
    rates: Collection[int],
    track: int | None = None,
) -> Media:
    """Decode the clip once: frames go to `sinks` (by frames a second), sound at `rates` comes back.

    Frame i is what is on screen i/fps seconds after `start`, by time stamps: variable and wrongly
    announced frame rates do no harm. Sound lies where its time stamps put it, gaps are silence.
    A cut gives what the whole file has at that time. Of several tracks the default one is taken, of
    those that decode, or the one numbered `track`. That a stream broke off shows at its end alone:
    where `faults` then names vision, what the sinks were given is not the clip. Raises MediaError
    if nothing can be opened.
    """
    with open_media(path) as container:
        video = candidates(container, "video", track) if sinks else []
        audio = candidates(container, "audio", track) if rates else []
        asked = {"vision": video} if sinks else {}
        asked |= {"audio": audio} if rates else {}
        faults = {m: why for m, streams in asked.items() if (why := no_track(m, streams))}
        left = {
            m: [s.index for s in streams if decodable(s)]
            for m, streams in asked.items()
            if m not in faults
        }
    gathered = Media(faults=faults)
    while left:  # one pass, unless a track gives nothing at all and there is another one
        chosen = {modality: indices.pop(0) for modality, indices in left.items()}
        taken = _decode(path, start or 0.0, end, chosen, sinks, rates)
        left = {m: r for m, r in left.items() if r and taken.faults.get(m) in (UNSEEN, NOTHING)}
        gathered = Media(
            {**gathered.waveforms, **taken.waveforms},
            None,
            {**gathered.faults, **{m: why for m, why in taken.faults.items() if m not in left}},
            (*gathered.notes, *taken.notes),
        )
    return gathered


def _decode(
    path: Path,
    start: float,
    end: float | None,
    chosen: Mapping[str, int],
    sinks: Mapping[float, FrameSink],
    rates: Collection[int],
) -> Media:
    """One pass over the `chosen` tracks (modality to index)."""
    reading = read_from(path, list(chosen.values()), start)
    with reading.container:
        origin = reading.clock.origin
        streams = dict(zip(chosen, reading.streams, strict=True))
        tracks: dict[int, TrackDecoder] = {}
        if (stream := streams.get("vision")) is not None:
            by_dts = reading.container.format.name == "avi"
            samplers = [FrameSampler(fps, start, end, sink) for fps, sink in sinks.items()]
            tracks[stream.index] = VideoDecoder(
                reading, stream, Pictures(stream, origin, samplers, by_dts)
            )
        if (stream := streams.get("audio")) is not None:
            tracks[stream.index] = AudioDecoder(reading, stream, Sound(origin, start, end, rates))
        for packet in reading:
            tracks[packet.stream.index].take(packet)
            if all(track.done for track in tracks.values()):
                break
        waveforms: dict[int, Waveform] = {}
        faults, notes = dict[str, str](), list[str]()
        for modality, stream in streams.items():
            track = tracks[stream.index]
            try:
                waves = track.finish()
                track.check(path, start, end, notes)
                waveforms |= dict(zip(sorted(set(rates)), waves, strict=False))
            except MediaError as fault:
                faults[modality] = str(fault)
    return Media(waveforms, None, faults, tuple(notes))
