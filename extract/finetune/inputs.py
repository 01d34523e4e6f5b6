"""Inputs whose encoders are trained: what they read, how much of it, and how they are built.

`train` knows these by its protocols in train/data/live_inputs.py alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...cache.alignment.word_store import CHARACTERS, overlaps
from ...cache.alignment.word_times import WordTimes
from ...cache.runs import InputRecord
from ...cache.spec import FeatureSpec, Modality
from ...cache.store.store import Store
from ...config import InputConfig
from ..encoders.audio.readers import load_processing
from ..encoders.audio.sound import Processing, frame_grid
from ..encoders.audio.waveform import frames_of
from ..encoders.loading import Checkpoint
from ..encoders.text import load_tokenizer
from ..streams.raw_inputs import ITEMS
from .encoder import LiveEncoder, LiveSound, LiveText

TOKENS, SECONDS = 8192, 160
"""What one pass may take up where `budget` is unset."""


@dataclass(frozen=True)
class LiveInput:
    """What text and sound share: which layers of which encoder, and the store it reads."""

    modality: Modality
    checkpoint: Checkpoint
    settings: InputConfig
    spec: FeatureSpec
    """Of the encoder's hidden states, as extraction would store them."""
    names: tuple[str, ...]
    """Entries that the encoder gives, in order."""
    store: Store
    """What it reads."""
    start: int | None
    """Block behind which it begins, where `store` holds hidden states; None: at words or sound."""
    note: str = ""
    """What the user should know before training."""
    words: Mapping[str, WordTimes] | None = None
    """Of aligned text, the words of each clip."""

    @property
    def weighted(self) -> bool:
        """Whether the model mixes the entries by learned weights."""
        return self.settings.layers == "weighted"

    @property
    def layers(self) -> tuple[str, ...]:
        """Entries of the store that are read."""
        return ITEMS if self.start is None else (str(self.start),)

    @property
    def record(self) -> InputRecord:
        """What the run folder says of this input."""
        return InputRecord(
            modality=self.modality,
            encoder=self.spec.encoder,
            layers=self.names,
            weighted=self.weighted,
            fingerprint=self.spec.fingerprint,
            weights=self.spec.weights,
            live=True,
            align=self.settings.align or "",
        )

    @property
    def width(self) -> int:
        """Of one entry."""
        return self.spec.width

    def sizes(self) -> NDArray[np.int64]:
        """(clips of the store,) tokens, samples or frames of each clip."""
        return self.store.frames

    def frames(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Frames that the encoder makes of so many items."""
        return sizes

    def items(self, rows: Tensor) -> Tensor:
        """Rows of the store (batch, rows, width) as the encoder wants them."""
        return rows

    def token_words(self) -> NDArray[np.int64] | None:
        """(rows of the store,) the number of the word that each token is of, -1 of none.

        None where the input is not aligned.
        """
        if self.words is None:
            return None
        places, ends = self.store.side(CHARACTERS).astype(np.float64), self.store.offsets()
        numbers = np.full(len(places), -1, np.int64)
        for clip, begin, end in zip(self.store.clips, ends[:-1], ends[1:], strict=True):
            if (words := self.words.get(clip)) is None or not words.words:
                continue
            shared = overlaps(words.characters.astype(np.float64), places[begin:end])
            numbers[begin:end] = np.where(shared.any(axis=0), shared.argmax(axis=0), -1)
        return numbers

    @property
    def joins(self) -> bool:
        """Whether several clips before are read in one pass."""
        return False

    def join(self, ids: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Items of several clips, oldest first, as one; only where `joins`."""
        raise NotImplementedError

    def build(self, generator: torch.Generator) -> LiveEncoder:
        """The encoder, with its first weights."""
        raise NotImplementedError


class LiveTextInput(LiveInput):
    """Words."""

    @property
    def budget(self) -> int:
        """Tokens that one pass may take up."""
        return self.settings.budget or TOKENS

    @cached_property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer."""
        return load_tokenizer(self.checkpoint)

    def items(self, rows: Tensor) -> Tensor:
        return rows.squeeze(2).long() if self.start is None else rows

    @property
    def joins(self) -> bool:
        return self.settings.context == "joined" and self.start is None

    def join(self, ids: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Token ids of several clips, oldest first, as one text.

        ``[CLS] oldest [SEP] … nearest [SEP]``; what does not fit is cut at the end, which is the
        nearest clip's, as in MMML.
        """
        apart: list[NDArray[np.int64]] = [clip[1:] for clip in ids if len(clip)]
        first = [clip[:1] for clip in ids if len(clip)][:1]
        whole = np.concatenate([*first, *apart]) if apart else np.zeros(0, np.int64)
        most = int(str(self.store.spec.preprocessing["max_length"]))
        return whole if len(whole) <= most else np.append(whole[: most - 1], whole[-1])

    def build(self, generator: torch.Generator) -> LiveEncoder:
        pad, unknown = self.tokenizer.pad_token_id, self.tokenizer.unk_token_id
        how = (self.checkpoint, self.names, self.settings, self.start, generator)
        return LiveText(*how, pad=pad, unknown=unknown)


class LiveSoundInput(LiveInput):
    """Sound."""

    @property
    def budget(self) -> int:
        """Samples (or frames, where training starts from those) that one pass may take up."""
        seconds = self.settings.budget or SECONDS
        rate = self.processing.sample_rate
        return int(seconds * rate / (1 if self.start is None else self.grid[0]))

    @cached_property
    def processing(self) -> Processing:
        """What is done to a waveform before it enters."""
        return load_processing(self.checkpoint)

    @property
    def grid(self) -> tuple[int, int | None]:
        """Samples from one frame to the next."""
        return frame_grid(self.checkpoint, self.processing)

    @property
    def hop(self) -> int:
        """Of the encoder's frames, every how many-th is kept."""
        rate = float(str(self.spec.preprocessing["rate"]))
        return int(self.processing.sample_rate / self.grid[0] / rate + 0.5)

    @property
    def most(self) -> int | None:
        """Samples that are heard of a clip; None: all."""
        seconds = self.settings.seconds
        return None if seconds is None else round(seconds * self.processing.sample_rate)

    def sizes(self) -> NDArray[np.int64]:
        """Samples of each clip, or frames where training starts from those."""
        if self.start is not None:
            return self.store.frames
        real = self.store.side("samples").astype(np.int64)
        before = np.concatenate([[0], np.cumsum(real)])
        ends = self.store.offsets()
        whole: NDArray[np.int64] = before[ends[1:]] - before[ends[:-1]]
        return whole if self.most is None else np.minimum(whole, self.most)

    def frames(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Kept frames of so many samples."""
        if self.start is not None:
            return sizes
        frames = np.maximum(frames_of(self.checkpoint.config, sizes), 0)
        kept: NDArray[np.int64] = -(-frames // self.hop)
        return kept

    def items(self, rows: Tensor) -> Tensor:
        """Samples (batch, samples), or states as they are."""
        if self.start is not None:
            return rows
        whole = rows.flatten(1)
        return whole if self.most is None else whole[:, : self.most]

    def build(self, generator: torch.Generator) -> LiveEncoder:
        how = (self.checkpoint, self.names, self.settings, self.start, generator)
        pool = str(self.spec.preprocessing["pool"])
        return LiveSound(*how, normalize=self.processing.normalize, hop=self.hop, pool=pool)
