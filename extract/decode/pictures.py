"""The pictures on screen at the asked moments, upright and of square pixels."""

import struct
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .announced import RAREST
from .clock import LONGEST_GAP

Picture = NDArray[np.uint8]
FrameSink = Callable[[Picture], None]
"""Takes the frames of a clip one by one, RGB (height, width, 3), upright; frame i is on screen i
steps after the clip's start."""
JUST = 1e-6
"""Seconds by which two moments may differ and be the same."""
OBLONG = 4.0
"""A pixel more oblong than this is none, but a damaged header."""


class FrameSampler:
    """Hands on the frames that are on screen at the asked moments."""

    def __init__(self, fps: float, start: float, end: float | None, sink: FrameSink) -> None:
        self.step, self.start, self.end = 1.0 / fps, start, end
        self.sink, self.kept = sink, 0
        self._shown: Callable[[], Picture] | None = None
        """The frame on screen, upright once it is asked for."""
        self._image: Picture | None = None

    def take(self, frame: Callable[[], Picture], time: float) -> None:
        """The stream's next frame, on screen from `time` on; what gives it is called if wanted."""
        # at the moments before this frame began, the one before it was on screen
        while self._shown is not None and self._moment() < time - JUST and not self.done:
            self._keep()
        self._shown, self._image = frame, None

    def finish(self, until: float) -> None:
        """The stream is at its end: its last frame is on screen `until` then."""
        if self._shown is None:
            return
        while self._moment() < until - JUST and not self.done:
            self._keep()
        if not self.kept and not self.done and until > self.start:
            self._keep()

    @property
    def done(self) -> bool:
        """Whether the next moment is past the cut's end."""
        return self.end is not None and self._moment() >= self.end - JUST

    def needs(self, begin: float, end: float) -> bool:
        """Whether a moment of the cut lies in ``[begin, end)``."""
        number = max(0, ceil((begin - self.start - JUST) / self.step))
        moment = self.start + number * self.step
        return moment < end - JUST and (self.end is None or moment < self.end - JUST)

    def _moment(self) -> float:
        return self.start + self.kept * self.step

    def _keep(self) -> None:
        if self._image is None:  # a frame may be on screen at several moments
            assert self._shown is not None
            self._image = self._shown()
        self.kept += 1
        self.sink(self._image)


class Pictures:
    """A video track on its way to the samplers, with what is wrong with it."""

    def __init__(
        self, stream: Any, origin: float, samplers: Sequence[FrameSampler], by_dts: bool
    ) -> None:
        self.stream, self.origin, self.samplers, self._by_dts = stream, origin, samplers, by_dts
        self.shape = square_shape(stream)
        self.last: float | None = None
        self.until = 0.0
        """Where the last frame so far leaves the screen, by its own account."""

    @property
    def done(self) -> bool:
        """Whether no sampler wants more."""
        return all(sampler.done for sampler in self.samplers)

    @property
    def kept(self) -> int:
        """Frames that were handed on."""
        return sum(sampler.kept for sampler in self.samplers)

    def take(self, frame: Any) -> str | None:
        """The next frame; or why the track ends here."""
        time = self._time(frame)
        if self.last is not None and not time <= self.last + LONGEST_GAP:
            return f"the time stamps jump by {time - self.last:.0f} s at {self.last:.2f} s"
        step = None if self.last is None else time - self.last
        self.last = time if self.last is None else max(time, self.last)
        self.until = self.last + self._length(frame, step)
        for sampler in self.samplers:
            sampler.take(partial(upright, frame, self.shape), self.last)
        return None

    def finish(self) -> None:
        """There are no more."""
        for sampler in self.samplers:
            sampler.finish(self.until)

    def needs(self, begin: float, end: float) -> bool:
        """Whether any sampler asks for a frame that is on screen then."""
        return any(sampler.needs(begin, end) for sampler in self.samplers)

    def _time(self, frame: Any) -> float:
        stamp = frame.dts if self._by_dts or frame.pts is None else frame.pts
        if stamp is not None and frame.time_base:
            return float(stamp * frame.time_base) - self.origin
        return 0.0 if self.last is None else self.until  # no time stamp: on from the last one

    def _length(self, frame: Any, step: float | None) -> float:
        if frame.duration and frame.time_base:
            stated = float(frame.duration * frame.time_base)
            if 0 < stated < LONGEST_GAP:
                return stated
        if self.stream.average_rate and self.stream.average_rate > RAREST:
            return float(1 / self.stream.average_rate)
        return step if step and 0 < step < 1 else 1 / 25


def square_shape(stream: Any) -> float:
    """Width of a pixel by its height."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    shape = float(ratio) if ratio else 1.0
    return shape if 1 / OBLONG <= shape <= OBLONG else 1.0


def upright(frame: Any, shape: float) -> Picture:
    """The frame as it is to be seen: of square pixels, turned and mirrored as the file asks.

    `shape` is the width of its pixels by their height.
    """
    image: Picture = frame.to_ndarray(format="rgb24")
    if not 0.99 <= shape <= 1.01:  # grown, so that nothing is lost
        height, width = image.shape[:2]
        size = (round(width * shape), height) if shape > 1 else (width, round(height / shape))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return oriented(image, display_matrix(frame))


def display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """``a, b, c, d`` of the matrix by which the frame is shown: x' = ax + cy, y' = bx + dy."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None or data.buffer_size < 36:
        return (1, 0, 0, 1)
    a, b, _, c, d = struct.unpack("=5i", bytes(data)[:20])
    return a, b, c, d


def oriented(image: Picture, matrix: tuple[int, int, int, int]) -> Picture:
    """The image turned by the nearest right angle, and mirrored, as `matrix` says.

    >>> picture = np.array([[[1], [2]], [[3], [4]]], np.uint8)
    >>> oriented(picture, (0, 1, -1, 0))[..., 0].tolist()  # a quarter turn clockwise
    [[3, 1], [4, 2]]
    >>> oriented(picture, (-1, 0, 0, 1))[..., 0].tolist()  # mirrored
    [[2, 1], [4, 3]]
    """
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, across, down = image.swapaxes(0, 1), c, b
    else:
        across, down = a, d
    image = image[:, ::-1] if across < 0 else image
    image = image[::-1] if down < 0 else image
    return np.ascontiguousarray(image)
