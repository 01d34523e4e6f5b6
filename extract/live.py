"""Inputs whose encoders are trained: what `train` is handed to read and to build them.

`train` knows these by its protocols in train/live.py alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cache.errors import StoreError
from ..cache.runs import InputRecord
from ..cache.spec import FeatureSpec, Modality, layer_names
from ..cache.store import Store, open_store
from ..config import (
    AnyFeatures,
    AudioFeatures,
    Config,
    InputConfig,
    TextFeatures,
    VisionFeatures,
    nearest,
)
from .encoders.live import LiveEncoder, LiveSound, LiveText, highest_block
from .encoders.loading import Checkpoint, EncoderError, load_model, resolve
from .encoders.presets import PRESETS
from .encoders.sound import Processing, checked_hop, frame_grid
from .encoders.waveform import frames_of
from .item_streams import (
    ITEMS,
    items_folder,
    refuse_unreadable,
    token_spec,
    waveform_spec,
)
from .streams import AudioStream, TextStream

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
        from .encoders.text import load_tokenizer

        return load_tokenizer(self.checkpoint)

    def items(self, rows: Tensor) -> Tensor:
        """Ids (batch, tokens), or states as they are."""
        return rows.squeeze(2).long() if self.start is None else rows

    @property
    def joins(self) -> bool:
        """Whether several clips before are read in one pass."""
        return self.settings.context == "joined" and self.start is None

    def join(self, ids: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Token ids of several clips, oldest first, as one text.

        ``[CLS] oldest [SEP] … nearest [SEP]``; what does not fit is cut at the end, which is the
        nearest clip's, as in MMML.
        """
        apart: list[NDArray[np.int64]] = [own[1:] for own in ids if len(own)]
        first = [own[:1] for own in ids if len(own)][:1]
        whole = np.concatenate([*first, *apart]) if apart else np.zeros(0, np.int64)
        most = int(str(self.store.spec.preprocessing["max_length"]))
        return whole if len(whole) <= most else np.append(whole[: most - 1], whole[-1])

    def build(self, generator: torch.Generator) -> LiveEncoder:
        """The encoder, with its first weights."""
        pad, unknown = self.tokenizer.pad_token_id, self.tokenizer.unk_token_id
        how = (self.checkpoint, self.names, self.settings, self.start, generator)
        return LiveText(*how, pad=pad, unknown=unknown)


class LiveSoundInput(LiveInput):
    """Sound."""

    joins = False

    @property
    def budget(self) -> int:
        """Samples (or frames, where training starts from those) that one pass may take up."""
        seconds = self.settings.budget or SECONDS
        rate = self.processing.sample_rate
        return int(seconds * rate / (1 if self.start is None else self.grid[0]))

    @cached_property
    def processing(self) -> Processing:
        """What is done to a waveform before it enters."""
        from .encoders.audio import load_processing

        return load_processing(self.checkpoint)

    @property
    def grid(self) -> tuple[int, int | None]:
        """Samples from one frame to the next."""
        return frame_grid(self.checkpoint, self.processing)

    @property
    def hop(self) -> int:
        """Of the encoder's frames, every how many-th is kept."""
        return int(self.processing.sample_rate / self.grid[0] / self._rate + 0.5)

    @property
    def _rate(self) -> float:
        return float(str(self.spec.preprocessing["rate"]))

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

    def join(self, ids: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Sound is never joined."""
        raise NotImplementedError

    def build(self, generator: torch.Generator) -> LiveEncoder:
        """The encoder, with its first weights."""
        how = (self.checkpoint, self.names, self.settings, self.start, generator)
        pool = str(self.spec.preprocessing["pool"])
        return LiveSound(*how, normalize=self.processing.normalize, hop=self.hop, pool=pool)


def live_input(config: Config, modality: Modality, words: bool = False) -> LiveInput:
    """The live input of [train.inputs] `modality`, found but not loaded.

    With `words`, text must come as tokens, because the model hides some of them: no start from
    cached hidden states. Raises StoreError for what is not extracted, EncoderError for an encoder
    that cannot be trained.
    """
    settings: InputConfig = getattr(config.train.inputs, modality)
    table = _table(config, modality, settings)
    every = table.model_copy(update={"layers": "all"})
    stream: TextStream | AudioStream
    kind: type[LiveInput]
    if isinstance(every, TextFeatures):
        stream, kind = TextStream(every, config.cache.dtype), LiveTextInput
        wanted = token_spec(stream.checkpoint, every, stream.tokenizer)
    elif isinstance(every, AudioFeatures):
        stream, kind = AudioStream(every, config.cache.dtype), LiveSoundInput
        refuse_unreadable(stream.checkpoint)
        wanted = waveform_spec(stream.processing)
    else:
        raise EncoderError(f"encoder {table.encoder}: encoders of faces cannot be live.")
    names = layer_names(stream.spec, settings.layers)
    if names == ("0",):
        raise EncoderError(
            f"train.inputs.{modality}: layers = 0 is what enters the first block; nothing to train."
        )
    make = partial(kind, modality, stream.checkpoint, settings, stream.spec, names)
    path = items_folder(config, wanted)
    if settings.top is None:
        return make(open_store(path), None)
    start = highest_block(names, stream.checkpoint.config.num_hidden_layers) - settings.top
    if start < 0:
        return make(open_store(path), None)  # building it says what is wrong
    reason = _unfit(table, stream, settings, names, start, words)
    if not reason:
        cached = replace(stream.spec, layers=_stored(stream.spec, table))
        try:
            store = open_store(config.corpus_cache / cached.folder_name)
            store.spec.positions([start])
            return make(store, start)
        except StoreError as fault:
            reason = f"their states are not cached ({fault})"
    note = f"{modality} {table.encoder}: blocks 1 to {start} are computed at every step: {reason}"
    return make(open_store(path), None, note)


def _unfit(
    table: AnyFeatures,
    stream: TextStream | AudioStream,
    settings: InputConfig,
    names: Sequence[str],
    start: int,
    words: bool,
) -> str:
    """Why training cannot begin with the hidden states of block `start`; empty if it can."""
    if words and isinstance(table, TextFeatures):
        return "the model hides words before they are read"
    if any(name.isdigit() and int(name) < start for name in names):
        return "the model reads layers below"
    if settings.seconds is not None:
        return "clips are cut by train.inputs.audio.seconds"
    if isinstance(table, AudioFeatures) and isinstance(stream, AudioStream):
        stride, window = frame_grid(stream.checkpoint, stream.processing)
        native = stream.processing.sample_rate / stride
        if checked_hop(table, native, window) > 1:
            return f"the cache holds {table.rate:g} of the encoder's {native:g} frames a second"
    return ""


def _stored(spec: FeatureSpec, table: AnyFeatures) -> tuple[str, ...]:
    if table.layers == "all":
        return spec.layers
    return tuple(spec.layers[k] for k in sorted(set(spec.positions(table.layers))))


def _table(config: Config, modality: Modality, settings: InputConfig) -> AnyFeatures:
    tables = [f for f in config.features if f.modality == modality]
    for table in tables:
        if table.encoder == settings.encoder:
            return table
    raise StoreError(
        f"train.inputs.{modality}.encoder: no [[features]] table describes "
        f'"{settings.encoder}".{nearest(settings.encoder, [f.encoder for f in tables])}'
    )


@dataclass(frozen=True)
class EncoderSize:
    """What is known of an encoder without loading it."""

    weights: int
    blocks: int
    width: int
    frames: int
    """Its own frames for one that is cached."""


def encoder_size(config: Config, modality: Modality) -> EncoderSize | None:
    """Size of the encoder that [train.inputs] `modality` reads; None if it could not be live, or
    if that is not known without asking the Hub."""
    settings: InputConfig = getattr(config.train.inputs, modality)
    table = _table(config, modality, settings)
    local = table.encoder in PRESETS or Path(table.encoder).is_dir()
    if not local or isinstance(table, VisionFeatures):
        return None
    if table.encoder in PRESETS and PRESETS[table.encoder].network:
        table = table.model_copy(update={"weights": "random:0"})  # its architecture is known here
    checkpoint = resolve(table)
    if checkpoint.family.reader not in ("tokens", "waveform"):
        return None
    with torch.device("meta"):
        weights = sum(w.numel() for w in load_model(_untrained(checkpoint)).parameters())
    hop = 1
    if isinstance(table, AudioFeatures):
        stride, window = frame_grid(checkpoint, Processing(16_000, normalize=False))
        hop = checked_hop(table, 16_000 / stride, window)
    own = checkpoint.config
    return EncoderSize(weights, own.num_hidden_layers, own.hidden_size, hop)


def _untrained(checkpoint: Checkpoint) -> Checkpoint:
    return replace(checkpoint, weights="random:0")
