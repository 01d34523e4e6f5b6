"""What is kept of a decoded stream: the frames of asked moments, and sound in its place in time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

PROMISE = 0.9
"""A stream that decodes to less than this share of its announced length, and more than a second
less, counts as broken off."""
SILENCE = 1e-4
"""Amplitude (-80 dB of full scale) that no sample of a silent track exceeds."""

FrameSink = Callable[[NDArray[np.uint8]], None]
"""Takes the frames of a clip one by one, RGB (height, width, 3), upright; frame i is on screen i
steps after the clip's start."""


@dataclass(frozen=True)
class Waveform:
    """Sound mixed to one channel."""

    samples: NDArray[np.float32]
    """(samples,), in [-1, 1]."""
    rate: int
    """Samples a second, as in the file."""


class Picker:
    """Hands on the frames that are on screen at the asked moments."""

    def __init__(
        self, fps: float, start: float, end: float | None, origin: float, sink: FrameSink
    ) -> None:
        self.step, self.start, self.end, self.origin = 1.0 / fps, start, end, origin
        self.sink, self.kept = sink, 0
        self.shown: Any = None
        self.image: NDArray[np.uint8] | None = None
        self.last = start
        self.done = False

    def take(self, frame: Any) -> None:
        """The next frame of the stream."""
        time = frame.time
        if time is None:  # no time stamp: count on from the last one
            rate = frame.time_base and Fraction(frame.duration or 0) * frame.time_base
            time = self.origin + self.last + float(rate or 1 / 25)
        time -= self.origin
        # Frames on screen at the moments before this one began belong to the frame before it.
        while self.shown is not None and self._moment() < time - 1e-6 and not self._past_end():
            self._keep()
        self.shown, self.image, self.last = frame, None, time
        self.done = self._past_end()

    def finish(self, wanted: float, stream: Any, faults: dict[str, str]) -> None:
        """The stream is at its end; what is wrong with it goes into `faults`."""
        if self.shown is None:
            faults["vision"] = "no frame could be decoded"
            return
        shown_for = 1.0 / float(stream.average_rate) if stream.average_rate else 1 / 25
        until = self.last + shown_for
        if fault := _broken_off(until - self.start, wanted):
            faults["vision"] = fault
            return
        while self._moment() < until - 1e-6 and not self._past_end():
            self._keep()
        if not self.kept and not self._past_end():
            self._keep()
        if not self.kept:
            faults["vision"] = "no frame falls into the cut"

    def _moment(self) -> float:
        return self.start + self.kept * self.step

    def _past_end(self) -> bool:
        return self.end is not None and self._moment() >= self.end - 1e-6

    def _keep(self) -> None:
        if self.image is None:  # a frame may be on screen at several moments
            image = self.shown.to_ndarray(format="rgb24")
            turns = round(self.shown.rotation / 90) % 4
            self.image = np.ascontiguousarray(np.rot90(image, turns)) if turns else image
        self.kept += 1
        self.sink(self.image)


class Mixer:
    """Collects one channel of sound between the cut's start and end."""

    def __init__(self, start: float, end: float | None, origin: float) -> None:
        self.start, self.end, self.origin = start, end, origin
        self.pieces: list[NDArray[np.float32]] = []
        self.first: float | None = None
        self.rate = 0
        self.done = False
        self._convert: Any = None

    def take(self, frame: Any) -> None:
        """The next frame of the stream."""
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
        """The sound of the cut; None with the reason in `faults`."""
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
