"""A generated corpus of CMU-MOSI's size and signal: features of three modalities, no media.

    python -m real.generated FOLDER

writes `FOLDER/generated.npz` in MMSA's layout (1,284 / 229 / 686 clips of 93 speakers, labels from
-3 to 3), the same bytes every time. What is in it is what the field finds on CMU-MOSI: words say
most (a linear probe of their mean reaches a correlation near .7), voice and face a little (.2 to
.3), and some of what words say is not in their mean: a negation turns the words behind it around,
which each of their states shows only in part. As in a frozen encoder that nobody has fine-tuned,
the first and last token ([CLS], [SEP]) say little, a few features are a hundred times as large as
others, and a speaker's voice and face differ more from other speakers' than a smile changes them.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIZES = {"train": 1284, "valid": 229, "test": 686}
SPEAKERS = {"train": 52, "valid": 10, "test": 31}
WORDS, WIDTH = 800, 128
AUDIO, VISION = 32, 32
WIDTHS = {"text": WIDTH, "audio": AUDIO, "vision": VISION}
REACH = 3
"""Words behind a negation that it turns around."""
STEP = 0.2
"""Labels are means of five people's votes."""

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Language:
    """Words with states and valences, the same for all clips."""

    states: Array
    """(WORDS, WIDTH)"""
    valences: Array
    """(WORDS,) zero for most."""
    negates: NDArray[np.bool_]
    """(WORDS,)"""
    mixing: Array
    """(WIDTH, WIDTH) of a word's neighbours into its state."""
    directions: Array
    """(2, WIDTH) along which a state shows its valence and that it is turned around."""
    sizes: Array
    """(WIDTH,) of features."""


def language(random: np.random.Generator) -> Language:
    """One draw."""
    valences = random.standard_t(4, WORDS) * (random.random(WORDS) < 0.3)
    directions = random.standard_normal((2, WIDTH))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    sizes = np.exp(0.4 * random.standard_normal(WIDTH))
    sizes[random.integers(0, WIDTH, 3)] *= 100
    return Language(
        states=random.standard_normal((WORDS, WIDTH)).astype(np.float32),
        valences=np.clip(valences, -3, 3).astype(np.float32),
        negates=random.random(WORDS) < 0.03,
        mixing=(random.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5).astype(np.float32),
        directions=directions.astype(np.float32),
        sizes=sizes.astype(np.float32),
    )


def spoken(own: Language, random: np.random.Generator) -> tuple[Array, float]:
    """The states (tokens, WIDTH) of one utterance, [CLS] and [SEP] among them, and its valence."""
    count = int(np.clip(random.lognormal(2.3, 0.5), 3, 40))
    words = random.integers(0, WORDS, count)
    turned = np.zeros(count, dtype=bool)
    for place in np.flatnonzero(own.negates[words]):
        turned[place + 1 : place + 1 + REACH] ^= True
    meant = np.where(turned, -0.8, 1.0) * own.valences[words]
    states = own.states[words]
    around = (np.roll(states, 1, axis=0) + np.roll(states, -1, axis=0)) / 2
    states = states + 0.7 * around @ own.mixing
    states += 2.5 * meant[:, None] * own.directions[0] + turned[:, None] * own.directions[1]
    mean = states.mean(axis=0)
    ends = np.stack([0.3 * mean, 0.3 * mean]) + 0.5 * random.standard_normal((2, WIDTH))
    tokens = np.concatenate([ends[:1], states, ends[1:]]) * own.sizes
    return tokens.astype(np.float32), float(meant.sum() / count**0.5)


def moving(
    frames: int, shown: float, habit: Array, direction: Array, random: np.random.Generator
) -> Array:
    """(frames, width) of a voice or a face: a speaker's habit, slow noise, and what is `shown` for
    a third of the time."""
    noise = random.standard_normal((frames, len(habit)))
    for step in range(1, frames):
        noise[step] = 0.7 * noise[step - 1] + 0.7 * noise[step]
    begin = int(random.integers(0, max(1, frames * 2 // 3)))
    shows = np.zeros(frames)
    shows[begin : begin + max(1, frames // 3)] = shown
    return np.asarray(habit + noise + shows[:, None] * direction, dtype=np.float32)


def corpus(seed: int = 0) -> dict[str, NDArray[np.generic]]:
    """The columns of the file by name, ``train_text`` and so on."""
    random = np.random.default_rng(seed)
    own = language(random)
    directions = {"audio": random.standard_normal(AUDIO), "vision": random.standard_normal(VISION)}
    columns: dict[str, NDArray[np.generic]] = {}
    for split, clips in SIZES.items():
        names, labels = list[str](), list[float]()
        frames: dict[str, list[Array]] = {"text": [], "audio": [], "vision": []}
        habits = {
            m: 1.5 * random.standard_normal((SPEAKERS[split], len(d)))
            for m, d in directions.items()
        }
        for clip in range(clips):
            speaker = clip * SPEAKERS[split] // clips
            tokens, valence = spoken(own, random)
            felt = valence + 0.4 * random.standard_normal()
            label = float(np.clip(np.round((2.3 * felt) / STEP) * STEP, -3, 3))
            names.append(f"{split}{speaker:02d}$_${clip}")
            labels.append(label)
            frames["text"].append(tokens)
            for m, rate in (("audio", 2.0), ("vision", 1.2)):
                length = max(3, int(len(tokens) * rate))
                shown = 0.4 * felt + 0.5 * random.standard_normal()
                made = moving(length, shown, habits[m][speaker], directions[m], random)
                frames[m].append(made)
        columns[f"{split}_id"] = np.array(names)
        columns[f"{split}_regression_labels"] = np.array(labels)
        for m, each in frames.items():
            columns[f"{split}_{m}"] = _padded(each)
            if m != "text":
                columns[f"{split}_{m}_lengths"] = np.array([len(one) for one in each])
    return columns


def _padded(each: list[Array]) -> Array:
    whole = np.zeros((len(each), max(map(len, each)), each[0].shape[1]), dtype=np.float32)
    for row, one in zip(whole, each, strict=True):
        row[: len(one)] = one
    return whole


def write_generated(folder: Path) -> Path:
    """The file in `folder`, which is made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "generated.npz"
    np.savez(file, **corpus())  # type: ignore[arg-type]
    return file


def main() -> None:
    """Write it."""
    write_generated(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
