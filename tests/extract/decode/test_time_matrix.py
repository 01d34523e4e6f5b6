"""A cut gives what the whole file has at that time: containers x clocks x cuts.

Every file holds a counter that is drawn into its pictures, and a burst of another pitch each half
second in its sound; what FFmpeg itself decodes from end to end is the truth.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from counted_media import COMPARED, FPS, KINDS, Truth, lag, likeness, number_of, truth_of, write

from sedimental.extract.decode.media import Media, read_media
from sedimental.extract.decode.sound import at_rate

LOOK = 10.0
"""Pictures a second that are asked for."""
CLOCKS = {"zero": 0.0, "late": 50.0, "negative": -2.0, "wrapping": 2**33 / 90_000 - 3.0}
CUTS: dict[str, tuple[float | None, float | None]] = {
    "whole": (None, None),
    "at a key frame": (2.0, 3.5),
    "between": (2.33, 4.41),
    "just before a key frame": (2.97, 3.6),
    "at the end": (5.2, None),
}


def check(media: Media, truth: Truth, start: float, end: float | None) -> None:
    """Every picture and the sound of a cut, against the truth."""
    if truth.pictures:
        assert media.frames is not None, media.faults
        shown = [number_of(image) for image in media.frames.images]
        last = truth.pictures[-1][0] + 1 / FPS
        until = last if end is None else min(end, last)
        count = int(np.ceil((until - start) * LOOK - 1e-6))
        wanted = []
        for k in range(count):
            moment = start + k / LOOK + 1e-6
            wanted.append(max((n for t, n in truth.pictures if t <= moment), default=None))
        wanted[0] = truth.pictures[0][1] if wanted[0] is None else wanted[0]
        assert shown == wanted
    if len(truth.sound):
        assert media.waveform is not None, media.faults
        have = at_rate(media.waveform, COMPARED).samples
        want = truth.sound[round(start * COMPARED) :][: None if end is None else 10**9]
        want = want if end is None else want[: round((end - start) * COMPARED)]
        assert abs(len(have) - len(want)) <= 0.03 * COMPARED
        assert abs(lag(have, want)) <= 0.002 * COMPARED
        # from the first sample on, not only on the whole
        head = slice(0, COMPARED // 2)
        assert likeness(have[head], want[head]) > 0.9


def cases() -> Sequence[tuple[str, str]]:
    """Kinds and clocks: a container that cannot keep a clock begins at zero, which is no harm."""
    timed = ["mp4", "fragmented", "mov", "mkv", "webm", "ts", "ts-mpeg2", "m2ts", "flv"]
    found = [(name, "zero") for name in KINDS]
    found += [(name, "late") for name in [*timed, "mpg", "vob", "wmv"]]
    found += [(name, "negative") for name in ("mp4", "mov", "mkv")]
    found += [(name, "wrapping") for name in ("ts", "ts-mpeg2", "m2ts")]
    return found


@pytest.mark.parametrize(("name", "clock"), cases())
def test_every_cut_is_that_part_of_the_whole(name: str, clock: str, tmp_path: Path) -> None:
    """M3, M7: exact to the frame, sound within 2 ms."""
    kind = KINDS[name]
    path = tmp_path / f"x.{kind.suffix}"
    write(path, kind, CLOCKS[clock])
    truth = truth_of(path)
    for cut, (start, end) in CUTS.items():
        fps = LOOK if kind.video else None
        media = read_media(path, start, end, fps, audio=kind.audio is not None)
        if (start or 0.0) > truth.length:  # a negative clock: what is before zero is not shown
            assert set(media.faults.values()) == {"the cut begins after the end of the file"}
            continue
        try:
            check(media, truth, start or 0.0, end)
        except AssertionError as fault:
            raise AssertionError(f"{name}, clock {clock}, {cut}: {fault}") from None
        assert truth.gaps or not media.notes, (cut, media.notes)
