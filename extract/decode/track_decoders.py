"""One track on its way from packets to what takes its frames, and whether it is all there."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import av.error

from .announced import plausible, track_seconds
from .clip_error import MediaError
from .clock import file_end
from .header import BEHIND, words
from .needed import Needed
from .pictures import Pictures
from .reading import Reading
from .sound import Sound, Waveform, gap_text

MISSING = 0.1
"""Share of a clip that may be missing at its end, or be damaged, before the clip fails."""
SLACK = 0.1
"""Seconds by which tracks miss their announced length anyway."""
UNSEEN = "no frame could be decoded"


class TrackDecoder:
    """One track under way from its packets to what takes its frames."""

    noun = "track"

    def __init__(self, reading: Reading, stream: Any) -> None:
        self.reading, self.stream = reading, stream
        self.packets = self.damaged = 0
        self.fault: str | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more of it is wanted."""
        raise NotImplementedError

    @property
    def until(self) -> float | None:
        """Seconds from the file's beginning to the end of what was decoded."""
        raise NotImplementedError

    def take(self, packet: Any) -> None:
        """Decode the track's next packet."""
        if not self.done:
            self._decode(packet)

    def finish(self) -> Sequence[Waveform]:
        """Decode what is left; raises MediaError with what is wrong with the track."""
        if not self.done:
            self._decode(None)
        jumped = self.reading.clock.jumped.get(self.stream.index)
        if self.fault or (jumped and not self.done):
            raise MediaError(self.fault or jumped)
        return ()

    def check(self, path: Path, start: float, end: float | None, notes: list[str]) -> None:
        """Raise MediaError where too much of the cut is missing; what little is goes to `notes`."""
        seconds, of_track = track_seconds(path, self.reading.container, self.stream)
        wanted = plausible(path, seconds, self.stream)
        wanted = (wanted if end is None else min(end, wanted)) - start
        have = (self.until or 0.0) - start
        if not of_track and wanted - have > SLACK:  # it may be another track that lasts so long
            have = max(have, file_end(path) - start)
        missing = wanted - have
        if not self.done and missing > max(SLACK, MISSING * wanted):
            raise MediaError(f"broken off: {have:.1f} s of {wanted:.1f} s can be decoded")
        if not self.done and missing > SLACK:
            notes.append(f"{missing:.2f} s of {wanted:.2f} s of {self.noun} are missing at the end")
        if self.damaged > MISSING * self.packets:
            raise MediaError(f"damaged: {self.damaged} of {self.packets} packets cannot be decoded")
        if self.damaged:
            notes.append(f"{self.damaged} of {self.packets} {self.noun} packets are damaged")

    def _decode(self, packet: Any) -> None:
        """Give a packet to the decoder (None: there are no more), and its frames to who waits."""
        self.packets += packet is not None
        try:
            frames = self.stream.codec_context.decode(packet)
        except (av.error.FFmpegError, ValueError):
            self.damaged += packet is not None
            return
        for frame in frames:
            if self.fault is None:
                self._give(frame)

    def _give(self, frame: Any) -> None:
        raise NotImplementedError


class VideoDecoder(TrackDecoder):
    """Pictures; frames that are not asked for, and that no other refers to, are not decoded."""

    noun = "video"

    def __init__(self, reading: Reading, stream: Any, pictures: Pictures) -> None:
        super().__init__(reading, stream)
        self.pictures = pictures
        codec, format = stream.codec_context.name, reading.container.format.name
        self.needed = Needed(pictures.needs, reading.clock.time, codec, format)

    @property
    def done(self) -> bool:
        return self.fault is not None or self.pictures.done

    @property
    def until(self) -> float | None:
        return None if self.pictures.last is None else self.pictures.until

    def take(self, packet: Any) -> None:
        """Decode the next packet, or pass over it."""
        if not self.done:
            self._all(self.needed.put(packet))

    def finish(self) -> Sequence[Waveform]:
        self._all(self.needed.rest())
        self.stream.codec_context.skip_frame = "DEFAULT"
        super().finish()
        self.pictures.finish()
        if self.pictures.last is None:
            raise MediaError(UNSEEN)
        if not self.pictures.kept:
            late = self.pictures.until <= self.pictures.samplers[0].start
            raise MediaError(BEHIND if late else "no frame falls into the cut")
        return ()

    def _all(self, packets: Iterator[tuple[Any, bool]]) -> None:
        for packet, needed in packets:
            if not self.done:
                self.stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
                self._decode(packet)

    def _give(self, frame: Any) -> None:
        try:
            self.fault = self.pictures.take(frame)
        except (av.error.FFmpegError, ValueError) as fault:
            self.fault = f"pictures of a form that cannot be read: {words(fault)}"


class AudioDecoder(TrackDecoder):
    """Sound."""

    noun = "audio"

    def __init__(self, reading: Reading, stream: Any, sound: Sound) -> None:
        super().__init__(reading, stream)
        self.sound = sound

    @property
    def done(self) -> bool:
        return self.fault is not None or self.sound.done

    @property
    def until(self) -> float | None:
        return self.sound.until

    def finish(self) -> Sequence[Waveform]:
        super().finish()
        if self.until is None and self.stream.index in self.reading.early:
            raise MediaError(BEHIND)
        return self.sound.finish()

    def check(self, path: Path, start: float, end: float | None, notes: list[str]) -> None:
        """Beside what every track is checked for: gaps are told."""
        super().check(path, start, end, notes)
        notes.extend(gap_text(self.sound.gaps))

    def _give(self, frame: Any) -> None:
        try:
            self.sound.take(frame)
        except MediaError as fault:
            self.fault = str(fault)
        except (av.error.FFmpegError, ValueError) as fault:
            self.fault = f"sound of a form that cannot be read: {words(fault)}"
