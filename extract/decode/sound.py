"""A track's sound in its place in time: one channel at the asked rate, in bounded memory."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from .clip_error import MediaError
from .header import BEHIND

RESAMPLER = "ffmpeg-swr-mono"
"""How sound becomes one channel at the encoder's rate, for the fingerprint: FFmpeg's resampler, the
channels weighed as their layout says and never above full scale."""
SILENCE = 1e-4
"""Amplitude (-80 dB of full scale) that no sample of a silent track exceeds."""
LOUDEST = 1_000.0
"""Times full scale beyond which a sample of floating point is no sound."""
LOOSE = 0.02
"""Seconds by which time stamps may stray before a gap is believed, half a frame at most."""
AROUND = 0.1
"""Seconds before a cut that go through the resampler, which looks at both sides of a sample."""


BLOCK = 1 << 16
"""Samples that are resampled at once."""
NOTHING = "no sound could be decoded"


@dataclass(frozen=True)
class Waveform:
    """Sound mixed to one channel."""

    samples: NDArray[np.float32]
    """(samples,), in [-1, 1]."""
    rate: int
    """Samples a second."""


class Sound:
    """An audio track on its way to waveforms of the asked `rates` (0: that of the file)."""

    def __init__(
        self, origin: float, start: float, end: float | None, rates: Collection[int]
    ) -> None:
        self.origin, self.start, self.end = origin, start, end
        self.rates = sorted(set(rates))
        self.until: float | None = None
        """Seconds from the file's beginning to the end of what was decoded."""
        self.gaps: list[tuple[float, float]] = []
        """Where nothing is, and for how long."""
        self._lines: list[Line] = []
        self._first_rate, self._other_rate = 0, False
        self._run: Form | None = None
        """Of the frames that follow one another without a gap, and go through one resampler."""

    @property
    def done(self) -> bool:
        """Whether the cut is complete."""
        return self.end is not None and self.until is not None and self.until > self.end + AROUND

    def take(self, frame: Any) -> None:
        """The next frame; raises MediaError where it is no sound."""
        length = frame.samples / frame.sample_rate
        time = self.until or 0.0
        if frame.pts is not None and frame.time_base:
            time = float(frame.pts * frame.time_base) - self.origin
        if not self._lines:
            rates = (rate or frame.sample_rate for rate in self.rates)
            self._first_rate = frame.sample_rate
            self._lines = [Line(rate, self.start, self.end) for rate in rates]
        if self.until is not None:
            stray = time - self.until
            self._other_rate |= frame.sample_rate != self._first_rate
            # some formats count time by the first rate, and by that frames of a lower one overlap
            if abs(stray) <= min(LOOSE, length / 2) or (stray < 0 and self._other_rate):
                time = self.until
            elif stray > 0 and time > self.start and not self.done:
                self.gaps.append((self.until, stray))
        wanted = time + length > self.start - AROUND
        if wanted:
            _check(frame, time)
        form = form_of(frame)
        if self._run is not None and (form != self._run or time != self.until):
            self._end_run()
        if wanted and self._run is None:
            self._run = form
            for line in self._lines:
                line.begin(frame, time)
        if self._run is not None:
            for line in self._lines:
                line.take(frame)
        self.until = time + length

    def finish(self) -> list[Waveform]:
        """One waveform a rate; raises MediaError if there is nothing to hear."""
        self._end_run()
        if self.until is None:
            raise MediaError(NOTHING)
        if self.until <= self.start:
            raise MediaError(BEHIND)
        waveforms = [Waveform(line.samples(self.until), line.rate) for line in self._lines]
        peaks = [(w.samples.max(initial=0), -w.samples.min(initial=0)) for w in waveforms]
        if max(map(max, peaks)) <= SILENCE:
            raise MediaError("silent audio track")
        return waveforms

    def _end_run(self) -> None:
        if self._run is not None:
            for line in self._lines:
                line.end_run()
        self._run = None


@dataclass(frozen=True)
class Form:
    """What must not change within one run of the resampler."""

    rate: int
    format: str
    layout: str


def at_rate(waveform: Waveform, rate: int) -> Waveform:
    """The waveform at another rate."""
    if waveform.rate == rate:
        return waveform
    line, time = Line(rate, 0.0, None), len(waveform.samples) / waveform.rate
    for begin in range(0, len(waveform.samples), BLOCK):
        block = np.ascontiguousarray(waveform.samples[None, begin : begin + BLOCK])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate = waveform.rate
        if not begin:
            line.begin(frame, 0.0)
        line.take(frame)
    if len(waveform.samples):
        line.end_run()
    return Waveform(line.samples(time), rate)


def form_of(frame: Any) -> Form:
    """The form of a frame."""
    return Form(frame.sample_rate, frame.format.name, frame.layout.name)


class Line:
    """One waveform under way."""

    def __init__(self, rate: int, start: float, end: float | None) -> None:
        self.rate, self.start = rate, start
        self.most = None if end is None else max(0, round((end - start) * rate))
        self._buffer = np.zeros(rate, np.float32)
        self._at = self._count = 0
        self._graph: Any = None

    def begin(self, frame: Any, time: float) -> None:
        """A run begins at `time`."""
        self._at = round((time - self.start) * self.rate)
        self._graph = mono_graph(form_of(frame), self.rate)
        self._count = 0

    def take(self, frame: Any) -> None:
        """The run's next frame."""
        frame.pts, frame.time_base = self._count, Fraction(1, frame.sample_rate)
        self._count += frame.samples
        self._graph.push(frame)
        self._pull()

    def end_run(self) -> None:
        """What is still in the resampler."""
        self._graph.push(None)
        self._pull()

    def samples(self, until: float) -> NDArray[np.float32]:
        """All of it, up to where the track ends."""
        length = max(0, round((until - self.start) * self.rate))
        length = length if self.most is None else min(length, self.most)
        self._grow(length)
        return self._buffer[:length]

    def _pull(self) -> None:
        while True:
            try:
                block = self._graph.pull().to_ndarray().reshape(-1)
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            begin, end = self._at, self._at + len(block)
            self._at = end
            if self.most is not None:
                end = min(end, self.most)
            if end > max(0, begin):
                self._grow(end)
                self._buffer[max(0, begin) : end] = block[max(0, -begin) : end - begin]

    def _grow(self, length: int) -> None:
        if length > len(self._buffer):  # in place: the copy of an hour would be its size again
            self._buffer.resize(max(length, len(self._buffer) * 5 // 4), refcheck=False)


def mono_graph(form: Form, rate: int) -> Any:
    """What turns frames of `form` into one channel of float32 at `rate`."""
    graph = av.filter.Graph()
    last: Any = graph.add_abuffer(sample_rate=form.rate, format=form.format, layout=form.layout)
    for step in (
        graph.add("aresample", f"{rate}:rematrix_maxval=1.0"),
        graph.add("aformat", "sample_fmts=flt:channel_layouts=mono"),
        graph.add("abuffersink"),
    ):
        last.link_to(step)
        last = step
    graph.configure()
    return graph


def _check(frame: Any, time: float) -> None:
    """Raise MediaError where a sample of floating point is none."""
    if not frame.format.name.startswith(("flt", "dbl")):
        return
    values = frame.to_ndarray()
    bad = ~(np.abs(values) <= LOUDEST)
    if bad.any():
        planes = frame.layout.nb_channels if len(values) == 1 else 1
        place = np.flatnonzero(bad.any(axis=0))[0] // planes / frame.sample_rate
        worst = values[bad][0]
        what = (
            f"reaches {worst:.3g} times full scale"
            if np.isfinite(worst)
            else "holds a number that is not finite"
        )
        raise MediaError(f"the sound {what} at {time + place:.3f} s")


def gap_text(gaps: list[tuple[float, float]]) -> Iterator[str]:
    """What is said of gaps."""
    if gaps:
        total, (first, _) = sum(length for _, length in gaps), gaps[0]
        count = "" if len(gaps) == 1 else f", in {len(gaps)} pieces"
        yield f"{total:.2f} s of sound are missing from {first:.2f} s on{count}; they are silence"
