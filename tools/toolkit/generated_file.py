"""A made-up corpus in MMSA's pickle, of CMU-MOSI's shape, on which models learn something.

Words carry a polarity of their own, and are drawn the likelier the better it goes with what the
clip's text says; audio and vision frames lean in a direction by what voice and face say. The label
is a mixture of the three that disagree. Text stands there twice, as ids of words (`text_bert`) and
as their vectors (`text`): whoever reads the ids by the table of `vectors` sees the same features.

Run as ``python -P tools/toolkit/generated_file.py OUT.pkl [--clips 1284 229 686]``.
"""

import argparse
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORDS = 400
WIDTHS: Mapping[str, int] = {"text": 768, "audio": 5, "vision": 20}
FRAMES: Mapping[str, int] = {"text": 50, "audio": 375, "vision": 500}
"""The most frames of a clip, to which arrays are padded."""
SPLITS = ("train", "valid", "test")
CLIPS = (1284, 229, 686)
Floats = NDArray[np.float64]


def vectors(width: int = WIDTHS["text"]) -> NDArray[np.float32]:
    """(WORDS, width): the vector of each word; word 0 is padding, and zero."""
    table = np.random.default_rng(7).standard_normal((WORDS, width)).astype(np.float32)
    table[0] = 0
    return table


def polarity() -> Floats:
    """(WORDS,): what a word says of a clip; the first few, like [CLS], say nothing."""
    said = np.random.default_rng(8).standard_normal(WORDS)
    said[:4] = 0
    return said


def split(
    clips: int, seed: int, frames: Mapping[str, int] = FRAMES, uneven: bool = True
) -> dict[str, Any]:
    """One split of MMSA's file; without `uneven` no clip has padding."""
    random = np.random.default_rng(seed)
    says = random.standard_normal((clips, 3))  # of text, audio, vision
    mixed = says @ np.array([1.2, 0.7, 0.5]) + 0.2 * random.standard_normal(clips)
    labels = np.clip(np.round(mixed * 5) / 5, -3, 3)
    share = np.clip(random.lognormal(np.log(0.3), 0.6, clips), 0.06, 1.0) if uneven else None
    lengths = {
        m: np.full(clips, n) if share is None else np.clip(np.round(share * n), 3, n).astype(int)
        for m, n in frames.items()
    }
    ids = _ids(random, says[:, 0], lengths["text"], frames["text"])
    return {
        "raw_text": np.array([f"clip {k}" for k in range(clips)]),
        "id": np.array([f"v{seed}x{k // 8}$_${k % 8}" for k in range(clips)]),
        "text": vectors()[ids],
        "text_bert": np.stack([ids, ids > 0, np.zeros_like(ids)], axis=1).astype(np.float32),
        "audio": _frames(random, says[:, 1], lengths["audio"], frames["audio"], WIDTHS["audio"]),
        "vision": _frames(
            random, says[:, 2], lengths["vision"], frames["vision"], WIDTHS["vision"]
        ),
        "audio_lengths": lengths["audio"].tolist(),
        "vision_lengths": lengths["vision"].tolist(),
        "annotations": np.where(labels < 0, "Negative", "Positive"),
        "regression_labels": labels.astype(np.float32),
        "classification_labels": np.sign(labels).astype(np.float32) + 1,
    }


def _ids(random: np.random.Generator, says: Floats, lengths: NDArray[Any], most: int) -> Any:
    """(clips, most) ids of words: 1 first and 2 last, then padding."""
    known, ids = polarity()[4:], np.zeros((len(says), most), np.int64)
    for row, said, length in zip(ids, says, lengths, strict=True):
        likely = np.exp(0.5 * said * known)
        row[:length] = 4 + random.choice(len(known), int(length), p=likely / likely.sum())
        row[0], row[length - 1] = 1, 2
    return ids


def _frames(
    random: np.random.Generator, says: Floats, lengths: NDArray[Any], most: int, width: int
) -> NDArray[np.float32]:
    """(clips, most, width): noise, and what each clip says in one direction; zeros behind."""
    direction = np.linspace(-1, 1, width)
    frames = random.standard_normal((len(says), most, width), np.float32)
    frames += (0.5 * says[:, None] * direction).astype(np.float32)[:, None]
    frames *= (np.arange(most) < np.asarray(lengths)[:, None])[:, :, None]
    return frames


def write(
    path: Path,
    clips: Sequence[int] = CLIPS,
    frames: Mapping[str, int] = FRAMES,
    uneven: bool = True,
) -> None:
    """The file, at `path`."""
    whole = {
        name: split(count, 100 + k, frames, uneven)
        for k, (name, count) in enumerate(zip(SPLITS, clips, strict=True))
    }
    path.write_bytes(pickle.dumps(whole, protocol=4))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, nargs=3, default=CLIPS)
    given = parser.parse_args()
    write(given.out, given.clips)
