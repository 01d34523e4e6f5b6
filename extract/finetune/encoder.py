"""Encoders with gradients: the modules of extraction, cut to the blocks in use, trained in part.

The same weights, tokens, waveforms, layer names, padding and kept frames as in extraction, so that
an untouched live encoder gives what the cache holds. Two things of the library's training mode are
off: LayerDrop, and masking of audio frames, whose draws come from NumPy's global state.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...config import InputConfig
from ..encoders.audio.sound import real_frames
from ..encoders.audio.waveform import (
    frames_of,
    normalized,
    norms_by_layer,
    zero_padding_after_pos_conv,
)
from ..encoders.batch_independence import TOLERANCE, difference
from ..encoders.hidden import blocks_of, capture_hidden_states, has_final, highest_block
from ..encoders.loading import Checkpoint, EncoderError, load_model
from ..encoders.pooling import pooled
from ..encoders.wavlm import use_chunked_attention
from .lora import with_adapters
from .parts import BlockWithHook, NoPositionalConv, PrecomputedEmbeddings, computed_again

DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "hidden_dropout",
    "attention_dropout",
    "activation_dropout",
    "feat_proj_dropout",
)
"""Fields of the library's configurations that say how much is dropped."""

UNSEEDED = ("layerdrop", "mask_time_prob", "mask_feature_prob")
"""Fields by which the library drops blocks and frames in training."""

Between = Callable[[Tensor, Tensor], Tensor]
"""Hidden states (batch, tokens, width) and which tokens are real -> hidden states."""


class LiveEncoder(nn.Module):
    """What text and sound share: which blocks there are, which are trained, and what comes out.

    Called with items (batch, …) of which `sizes` are real, it gives (batch, layers, frames, width).
    Of text, `gone` (batch, items) marks words to be read as unknown, and `between` works behind the
    block that was opened. Frames behind a clip's last one may hold anything.
    """

    paddable = True
    """Whether clips of different lengths can share a pass."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        names: tuple[str, ...],
        settings: InputConfig,
        start: int | None,
        generator: torch.Generator,
    ) -> None:
        """`names` are the entries to give. With `start`, passes begin with the hidden states that
        leave that block, and what lies below is not there. `generator` draws adapters' weights.

        Raises EncoderError where `settings` do not fit the encoder.
        """
        super().__init__()
        self.family, self.start, self.names = checkpoint.family, start or 0, names
        self.name = checkpoint.slug
        self.precomputed = start is not None
        model: Any = load_model(_configured(checkpoint, settings.dropout))
        use_chunked_attention(model)
        self.model = model
        for name in UNSEEDED:
            # only now: while it is made, the library draws a vector more where it is to mask
            setattr(model.config, name, 0.0)
        blocks = blocks_of(self.model, self.family)
        self.highest = highest_block(names, len(blocks))
        if settings.top is not None and settings.top > self.highest:
            raise EncoderError(
                f"train.inputs: top = {settings.top}: encoder {checkpoint.slug} has only "
                f"{self.highest} blocks below the layers in use."
            )
        del blocks[self.highest :]
        last = str(self.family.final) if has_final(self.model.config, self.family) else None
        self._norm: nn.Module | None
        self._norm = self.model.get_submodule(last) if last and "final" in names else None
        if self.precomputed:
            self._cut(blocks)
        self._trained = self._unfreeze(blocks, settings, last, generator)
        for block in blocks if settings.checkpointing else ():
            again: Any = block  # as the library's own switch does, whose name changes with versions
            again.gradient_checkpointing = True
            again._gradient_checkpointing_func = computed_again

    def train(self, mode: bool = True) -> "LiveEncoder":
        """Dropout is on in what is trained alone: what is frozen gives what the cache holds."""
        super().train(mode)
        if self._trained is not None:
            self.model.train(False)
            for part in self._trained:
                part.train(mode)
        return self

    def open_behind(self, block: int) -> None:
        """Make room for what works behind `block`, counted from 1.

        Raises EncoderError where that block is not computed.
        """
        blocks = blocks_of(self.model, self.family)
        if not self.start < block <= self.highest:
            raise EncoderError(
                f"block {block}: of encoder {self.name} the blocks {self.start + 1} to "
                f"{self.highest} are computed for the layers in use; name one of them."
            )
        blocks[block - self.start - 1] = BlockWithHook(blocks[block - self.start - 1])

    def groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Trained weights in two: matrices, and biases and weights of norms."""
        norms = {
            id(weight)
            for module in self.modules()
            if isinstance(module, nn.LayerNorm | nn.GroupNorm)
            for weight in module.parameters()
        }
        matrices, rest = list[nn.Parameter](), list[nn.Parameter]()
        for name, weight in self.named_parameters():
            if weight.requires_grad:
                plain = name.endswith("bias") or id(weight) in norms
                (rest if plain else matrices).append(weight)
        return matrices, rest

    def _captured(self) -> AbstractContextManager[Any]:
        """Collects the entries; nothing is computed in the hooks, so that blocks can be computed
        again on the way back without them."""
        count = str(self.highest - self.start)
        wanted = [count if n == "final" else str(int(n) - self.start) for n in self.names]
        return capture_hidden_states(self.model, self.family, wanted, lambda hidden: hidden)

    @contextmanager
    def _with(self, between: Between | None, real: Tensor) -> Iterator[None]:
        """Within, `between` works behind the block that was opened, on the frames of `real`."""
        if between is None:
            yield
            return
        blocks = blocks_of(self.model, self.family)
        opened = next(block for block in blocks if isinstance(block, BlockWithHook))
        opened.change = lambda hidden: between(hidden, real)
        try:
            yield
        finally:
            opened.change = None

    def _entries(self, states: Any) -> list[Tensor]:
        entries = []
        for name in self.names:
            if name == "final":
                assert self._norm is not None
                entries.append(self._norm(states[str(self.highest - self.start)]))
            else:
                entries.append(states[str(int(name) - self.start)])
        return entries

    def _cut(self, blocks: nn.ModuleList) -> None:
        """Leave out everything up to block `start`."""
        first = blocks[0]
        del blocks[: self.start]
        attention = getattr(first, "attention", None)
        table = getattr(attention, "rel_attn_embed", None)
        if table is not None and blocks[0] is not first:
            # WavLM's position bias is made in block 1, from a table of its own, for all blocks
            lowest: Any = blocks[0]
            lowest.attention.rel_attn_embed = table

    def _unfreeze(
        self,
        blocks: nn.ModuleList,
        settings: InputConfig,
        last: str | None,
        generator: torch.Generator,
    ) -> list[nn.Module] | None:
        """Let what is to be trained have gradients; what that is, None for (nearly) all."""
        if settings.lora is not None:
            with_adapters(self.model, self.family, settings.lora, generator)
            return None
        if settings.top is not None:
            trained: list[nn.Module] = list(blocks)[len(blocks) - settings.top :]
            trained += [self._norm] if self._norm is not None else []
            for part in trained:
                part.requires_grad_(True)
            for name, weight in self.model.named_parameters():
                if "rel_attn_embed" in name:  # WavLM's table is block 1's, wherever it lies
                    weight.requires_grad_(settings.top == self.highest)
            return trained
        self.model.requires_grad_(True)
        if last and self._norm is None:  # computed by the library, and not used
            self.model.get_submodule(last).requires_grad_(False)
        self._freeze_more()
        return None

    def _freeze_more(self) -> None:
        """What is never trained."""


class LiveText(LiveEncoder):
    """Token ids, or hidden states of tokens, to hidden states of tokens."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        names: tuple[str, ...],
        settings: InputConfig,
        start: int | None,
        generator: torch.Generator,
        pad: int,
        unknown: int,
    ) -> None:
        """As any encoder; `pad` and `unknown` are ids of the tokenizer."""
        super().__init__(checkpoint, names, settings, start, generator)
        self.pad, self.unknown = pad, unknown
        if self.precomputed:
            self.model.embeddings = PrecomputedEmbeddings()

    def forward(
        self,
        items: Tensor,
        sizes: Sequence[int],
        gone: Tensor | None = None,
        between: Between | None = None,
    ) -> Tensor:
        """Ids (batch, tokens), or states (batch, tokens, width) -> (batch, layers, tokens, width).

        Raises ValueError for words `gone` where states are given: they have been read.
        """
        longest = items.shape[1]
        real = real_frames(sizes, longest, items.device)
        if self.precomputed:
            if gone is not None:
                raise ValueError("words that were read before cannot be taken away any more.")
            self.model.embeddings.hidden = items
            ids = torch.full(items.shape[:2], self.pad, device=items.device)
        else:
            ids = items.masked_fill(~real, self.pad)
            ids = ids if gone is None else ids.masked_fill(gone, self.unknown)
        with self._captured() as states, self._with(between, real):
            self.model(input_ids=ids, attention_mask=real.long())
        if self.precomputed:
            self.model.embeddings.hidden = None
        return torch.stack(self._entries(states), dim=1)


class LiveSound(LiveEncoder):
    """Waveforms, or hidden states of frames, to hidden states of kept frames."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        names: tuple[str, ...],
        settings: InputConfig,
        start: int | None,
        generator: torch.Generator,
        normalize: bool,
        hop: int,
        pool: str,
    ) -> None:
        """As any encoder; waveforms are normed or not, and every `hop`-th frame is kept."""
        super().__init__(checkpoint, names, settings, start, generator)
        self.normalize, self.hop, self.pool = normalize, hop, pool
        self.paddable = norms_by_layer(checkpoint.config) or self.precomputed
        if self.precomputed:
            del self.model.feature_extractor, self.model.feature_projection
            self.model.encoder.pos_conv_embed = NoPositionalConv()
            self.model.encoder.dropout = nn.Identity()
            if not has_final(self.model.config, self.family):  # its norm comes before block 1
                self.model.encoder.layer_norm = nn.Identity()
        elif self.paddable:
            self.paddable = self._padding_stays_out()

    def forward(
        self,
        items: Tensor,
        sizes: Sequence[int],
        gone: Tensor | None = None,
        between: Between | None = None,
    ) -> Tensor:
        """Samples (batch, samples), or states (batch, frames, width) -> (batch, layers, kept,
        width)."""
        if self.precomputed:
            real = real_frames(sizes, items.shape[1], items.device)
            with self._captured() as states:
                # a copy, for the encoder zeroes padding in place
                self.model.encoder(items.clone(), attention_mask=real)
            return torch.stack(self._entries(states), dim=1)
        batch = torch.zeros_like(items)
        for row, sound, size in zip(batch, items, sizes, strict=True):
            row[:size] = normalized(sound[:size], self.normalize)
        mask = real_frames(sizes, items.shape[1], items.device)
        frames = [frames_of(self.model.config, size) for size in sizes]
        real = real_frames(frames, max(frames), items.device)
        with (
            zero_padding_after_pos_conv(self.model, real) if self.paddable else nullcontext(),
            self._captured() as states,
        ):
            self.model(batch, attention_mask=mask.long() if self.paddable else None)
        entries = [pooled(entry, real, self.hop, self.pool) for entry in self._entries(states)]
        return torch.stack(entries, dim=1)

    def _padding_stays_out(self) -> bool:
        """Whether a short sound gives beside a longer one what it gives alone, as extraction asks
        of frozen encoders: no list of families knows. Without weights there is nothing to ask."""
        rate = math.prod(self.model.config.conv_stride)
        draws = torch.Generator().manual_seed(1)
        short, longer = 5 * rate, 20 * rate
        sounds = 0.1 * torch.randn(2, longer, generator=draws)
        if sounds.is_meta:
            return True
        learning = self.training
        self.eval()
        with torch.no_grad():
            alone = self(sounds[:1, :short], [short])
            beside = self(sounds, [short, longer])[:1, :, : alone.shape[2]]
        self.train(learning)
        apart = difference(beside[0].numpy(), alone[0].numpy())
        return apart <= TOLERANCE[torch.float32]

    def _freeze_more(self) -> None:
        """The convolutions, as in every paper that trains such encoders, and the vector that masks
        frames, which is not in use."""
        self.model.feature_extractor._freeze_parameters()
        mask = getattr(self.model, "masked_spec_embed", None)
        if mask is not None:
            mask.requires_grad_(False)


def _configured(checkpoint: Checkpoint, dropout: float | None) -> Checkpoint:
    """`checkpoint` with a configuration that trains as it is told here."""
    config = copy.deepcopy(checkpoint.config)
    for name in DROPOUTS if dropout is not None else ():
        if hasattr(config, name):
            setattr(config, name, dropout)
    return replace(checkpoint, config=config)
