"""A clip's waveform and its frames at chosen times, decoded in one pass over the file."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

SAMPLED_BYTES = 1 << 16
PROMISE = 0.9
"""A stream that decodes to less than this share of its announced length, and more than a second
less, counts as broken off."""
SILENCE = 1e-4
"""Amplitude (-80 dB of full scale) that no sample of a silent track exceeds."""


class MediaError(Exception):
    """Why a clip gives no sound or no picture, in the words of failures.csv."""


@dataclass(frozen=True)
class Frames:
    """Pictures on screen at `times`."""

    images: tuple[NDArray[np.uint8], ...]
    """RGB, each (height, width, 3), upright."""
    times: NDArray[np.float32]
    """Seconds from the clip's start, (frames,)."""


@dataclass(frozen=True)
class Waveform:
    """Sound mixed to one channel."""

    samples: NDArray[np.float32]
    """(samples,), in [-1, 1]."""
    rate: int
    """Samples a second, as in the file."""


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


def duration(path: Path) -> float | None:
    """Seconds that the container announces; None if it cannot be opened or does not say."""
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

    Frames are picked by time stamp, so variable and wrongly announced frame rates do no harm: frame
    i is what is on screen i/fps seconds after `start`. Raises MediaError if nothing can be opened.
    """
    if not path.is_file():
        raise MediaError(f"no such file: {path}")
    if path.stat().st_size == 0:
        raise MediaError(f"empty file: {path}")
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError, ValueError) as fault:
        raise MediaError(f"unreadable: {_words(fault)} ({path.name})") from None
    with container:
        return _decode(container, start or 0.0, end, fps, audio)


def _decode(
    container: Any, start: float, end: float | None, fps: float | None, audio: bool
) -> Media:
    faults: dict[str, str] = {}
    video = container.streams.video[0] if fps and container.streams.video else None
    sound = container.streams.audio[0] if audio and container.streams.audio else None
    if fps and video is None:
        faults["vision"] = "no video track"
    if audio and sound is None:
        faults["audio"] = "no audio track"
    streams = [s for s in (video, sound) if s is not None]
    if not streams:
        return Media(faults=faults)
    origin = (container.start_time or 0) / av.time_base
    if start > 0:
        # lands on the key frame before; what precedes `start` is decoded and dropped
        container.seek(round((start + origin) * av.time_base), backward=True)
    picker = _Picker(fps or 1.0, start, end, origin)
    mixer = _Mixer(start, end, origin)
    for packet in container.demux(streams):
        target = picker if packet.stream is video else mixer
        if target.done:
            if all(t.done for t, s in ((picker, video), (mixer, sound)) if s is not None):
                break
            continue
        try:
            for frame in packet.decode():
                target.take(frame)
        except av.error.FFmpegError:
            continue  # one broken packet; what is missing in the end shows as a broken-off stream
    frames = waveform = None
    if video is not None:
        frames = picker.finish(_wanted(container, video, start, end), video, faults)
    if sound is not None:
        waveform = mixer.finish(_wanted(container, sound, start, end), faults)
    return Media(waveform, frames, faults)


def _wanted(container: Any, stream: Any, start: float, end: float | None) -> float:
    """Seconds that the cut should give by the file's own words."""
    if stream.duration:
        announced = float(stream.duration * stream.time_base)
    else:
        announced = (container.duration or 0) / av.time_base
    return (announced if end is None else min(end, announced)) - start


class _Picker:
    """Keeps the frames that are on screen at the asked moments."""

    def __init__(self, fps: float, start: float, end: float | None, origin: float) -> None:
        self.step, self.start, self.end, self.origin = 1.0 / fps, start, end, origin
        self.images: list[NDArray[np.uint8]] = []
        self.shown: Any = None
        self.last = start
        self.count = 0
        self.done = False

    def take(self, frame: Any) -> None:
        time = frame.time
        if time is None:  # no time stamp: count on from the last one
            rate = frame.time_base and Fraction(frame.duration or 0) * frame.time_base
            time = self.origin + self.last + float(rate or 1 / 25)
        time -= self.origin
        # Frames on screen at the moments before this one began belong to the frame before it.
        while self.shown is not None and self._moment() < time - 1e-6 and not self._past_end():
            self._keep(self.shown)
        self.shown, self.last = frame, time
        self.count += 1
        self.done = self._past_end()

    def finish(self, wanted: float, stream: Any, faults: dict[str, str]) -> Frames | None:
        if self.shown is None:
            faults["vision"] = "no frame could be decoded"
            return None
        shown_for = 1.0 / float(stream.average_rate) if stream.average_rate else 1 / 25
        until = self.last + shown_for
        if fault := _broken_off(until - self.start, wanted):
            faults["vision"] = fault
            return None
        while self._moment() < until - 1e-6 and not self._past_end():
            self._keep(self.shown)
        if not self.images and not self._past_end():
            self._keep(self.shown)
        times = self.step * np.arange(len(self.images), dtype=np.float32)
        return Frames(tuple(self.images), times)

    def _moment(self) -> float:
        return self.start + len(self.images) * self.step

    def _past_end(self) -> bool:
        return self.end is not None and self._moment() >= self.end - 1e-6

    def _keep(self, frame: Any) -> None:
        image = frame.to_ndarray(format="rgb24")
        turns = round(frame.rotation / 90) % 4
        self.images.append(np.ascontiguousarray(np.rot90(image, turns)) if turns else image)


class _Mixer:
    """Collects one channel of sound between the cut's start and end."""

    def __init__(self, start: float, end: float | None, origin: float) -> None:
        self.start, self.end, self.origin = start, end, origin
        self.pieces: list[NDArray[np.float32]] = []
        self.first: float | None = None
        self.rate = 0
        self.done = False
        self._convert: Any = None

    def take(self, frame: Any) -> None:
        if self._convert is None:
            self.rate = frame.sample_rate
            # FFmpeg weighs the channels of 5.1 sound as its layout says; of left and right the mean
            # is taken below, as speech corpora do, so that one voice in both keeps its level
            layout = "mono" if frame.layout.nb_channels == 1 else "stereo"
            self._convert = av.AudioResampler(format="fltp", layout=layout, rate=self.rate)
        time = (frame.time or 0.0) - self.origin
        if self.first is None:
            self.first = time
        self._keep(self._convert.resample(frame))
        self.done = self.end is not None and time > self.end

    def _keep(self, frames: Sequence[Any]) -> None:
        self.pieces.extend(frame.to_ndarray().mean(axis=0) for frame in frames)

    def finish(self, wanted: float, faults: dict[str, str]) -> Waveform | None:
        if self._convert is None or self.first is None:
            faults["audio"] = "no sound could be decoded"
            return None
        self._keep(self._convert.resample(None))
        samples = np.concatenate(self.pieces)
        if self.first > self.start:  # sound that begins late keeps its place in time
            samples = np.pad(samples, (round((self.first - self.start) * self.rate), 0))
        else:
            samples = samples[round((self.start - self.first) * self.rate) :]
        if self.end is not None:
            samples = samples[: round((self.end - self.start) * self.rate)]
        if fault := _broken_off(len(samples) / self.rate, wanted):
            faults["audio"] = fault
            return None
        if not len(samples) or not np.any(np.abs(samples) > SILENCE):
            faults["audio"] = "silent audio track"
            return None
        return Waveform(np.ascontiguousarray(samples, dtype=np.float32), self.rate)


def _broken_off(seconds: float, wanted: float) -> str | None:
    """Why a stream of `seconds` is too short for the `wanted` ones, or None."""
    if seconds <= 0:
        return "the cut begins after the end of the file"
    if seconds < PROMISE * wanted - 1.0:
        return f"broken off: {seconds:.1f} s of {wanted:.1f} s can be decoded"
    return None


def _words(fault: Exception) -> str:
    return str(getattr(fault, "strerror", None) or fault) or type(fault).__name__


def runs_of_equal_size(images: Sequence[NDArray[np.uint8]]) -> Iterator[slice]:
    """Slices of neighbouring images that share height and width (a detector batch needs that)."""
    begin = 0
    for index in range(1, len(images) + 1):
        if index == len(images) or images[index].shape != images[begin].shape:
            yield slice(begin, index)
            begin = index
