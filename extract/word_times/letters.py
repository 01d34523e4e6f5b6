"""Forced alignment: given what is said, when. A path of letters through a CTC encoder's answers.

The path is the likeliest by the CTC encoder (Kuerzinger et al., CTC-Segmentation, arXiv:2007.09127,
tell the idea), found by torchaudio's forced_align (Pratap et al., arXiv:2305.13516).
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..encoders.loading import EncoderError


def load_forced_align() -> Any:
    """torchaudio's function; raises EncoderError where it does not load."""
    try:
        from torchaudio.functional import forced_align
    except (ImportError, OSError, RuntimeError, AttributeError) as fault:
        reason = " ".join(str(fault).split()) or type(fault).__name__
        raise EncoderError(
            "words.aligner: forced alignment needs torchaudio, which does not load here "
            f"({reason}). Install the torchaudio that belongs to this torch (`sedimental doctor` "
            "tells the versions), or give the word times in a column word_times or by words.path."
        ) from None
    return forced_align


def ids_of(word: str, vocabulary: Mapping[str, int]) -> list[int]:
    """The letters of `word` as the encoder writes them, in the case it knows; others left out.

    >>> ids_of("It's 7!", {"I": 4, "T": 5, "'": 6, "S": 7})
    [4, 5, 6, 7]
    """
    ids = []
    for c in re.sub(r"\s", "", word).replace("\u2019", "'"):
        known = [form for form in (c, c.upper(), c.lower()) if form in vocabulary]
        if known and (c.isalnum() or c == "'"):
            ids.append(vocabulary[known[0]])
    return ids


def word_frames(
    emission: Tensor, words: Sequence[Sequence[int]], blank: int, between: int | None
) -> list[tuple[int, int] | None]:
    """First frame and the one behind the last of each word on the likeliest path.

    `emission` (frames, letters) log-probabilities, `words` the ids of each one's letters, `between`
    the id that parts words. A word without letters has none (None). Raises ValueError where the
    letters do not fit into the frames.
    """
    targets: list[int] = []
    owner: list[int] = []
    for number, word in enumerate(words):
        if word and targets and between is not None:
            targets.append(between)
            owner.append(-1)
        targets += word
        owner += [number] * len(word)
    if not targets:
        return [None] * len(words)
    repeats = sum(a == b for a, b in pairwise(targets))
    if len(targets) + repeats > len(emission):
        raise ValueError(
            f"{len(targets)} letters do not fit into {len(emission)} frames: more words than sound"
        )
    align = load_forced_align()
    path, _ = align(emission[None].float().cpu(), torch.tensor([targets]), blank=blank)
    spans: list[tuple[int, int] | None] = [None] * len(words)
    place, before = -1, blank
    for frame, letter in enumerate(path[0].tolist()):
        if letter != blank and letter != before:
            place += 1
        before = letter
        if letter == blank or owner[place] < 0:
            continue
        first = spans[owner[place]]
        spans[owner[place]] = (frame if first is None else first[0], frame + 1)
    return spans


def seconds_of(spans: Sequence[tuple[int, int] | None], frame: float) -> NDArray[np.float64]:
    """(words, 2) seconds of frames that are `frame` seconds long, NaN where there are none."""
    rows = [(np.nan, np.nan) if span is None else span for span in spans]
    return np.array(rows, dtype=np.float64).reshape(-1, 2) * frame
