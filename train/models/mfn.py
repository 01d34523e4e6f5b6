"""Memory Fusion Network: Zadeh, Liang, Mazumder, Poria, Cambria and Morency, "Memory Fusion Network
for Multi-view Sequential Learning", AAAI 2018, arXiv:1802.00927.

Written from memory of the paper, without any code of it. Reads modalities on common steps. Symbols,
with B clips, n steps of a clip, d_m units of the LSTM of modality m, D = Σ d_m, U units of memory:

    h_m, c_m  (B, n, d_m)  hidden and cell states of an LSTM a modality
    c         (B, n, 2 D)  all c_m of the step before and of this step
    a         (B, n, 2 D)  softmax(D_a(c)), over all of them
    ĉ         (B, n, 2 D)  c * a                               what changed, and matters
    û         (B, n, U)    tanh(D_u(ĉ))                        what the memory might become
    y_1, y_2  (B, n, U)    sigmoid(D_1(ĉ)), sigmoid(D_2(ĉ))    what is kept, what is taken in
    u         (B, n, U)    y_1 u of the step before + y_2 û    the memory, zero at first
    ŷ         (B,)         D_o([all h_m; u]) at the last step

Departures, and choices where the paper is silent:

- With align = "words" on all inputs the steps are the words, as published. Without, modalities of a
  clip are laid over the steps of its first one that is there (`layers.aligned`): over tokens, where
  there is text.
- The softmax weighs 2 D entries, so that ĉ would be small at first; ĉ is multiplied by 2 D.
- Every D is Linear, ReLU, dropout, Linear. Sizes, dropout and recipe are ours.
- A modality that a clip lacks shows zeros.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ...cache.spec import Modality
from ...config import Fraction, Positive
from ..layers.aligned import aligned, common_steps
from ..layers.dropout import Dropout
from ..layers.linear import Linear
from ..layers.lstm import LSTMCells
from ..layers.packed import Packed
from ..layers.recurrence import steps_first
from .shared import baseline as baseline_parts
from .shared.aligned import all_aligned, word_by_word
from .shared.baseline import Baseline
from .shared.interface import Batch, InputShape, Output


@dataclass(frozen=True)
class Options:
    """[train.mfn]; all of them ours."""

    text_hidden: Positive = 64
    """Units of the LSTM of text."""
    audio_hidden: Positive = 16
    """Units of the LSTM of audio."""
    vision_hidden: Positive = 16
    """Units of the LSTM of vision."""
    memory: Positive = 64
    """Width U of the memory."""
    inner: Positive = 64
    """Units within every net D."""
    dropout: Fraction = 0.2
    """Share of units dropped within them."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


RECIPE = replace(baseline_parts.RECIPE, learning_rate=1e-3)


def net(inputs: int, inner: int, out: int, dropout: float) -> nn.Sequential:
    """A net D."""
    return nn.Sequential(Linear(inputs, inner), nn.ReLU(), Dropout(dropout), Linear(inner, out))


def hidden_sizes(modalities: tuple[Modality, ...], options: Options) -> dict[Modality, int]:
    """d_m of each modality."""
    sizes: dict[Modality, int] = {
        "text": options.text_hidden,
        "audio": options.audio_hidden,
        "vision": options.vision_hidden,
    }
    return {m: sizes[m] for m in modalities}


class DeltaMemoryAttention(nn.Module):
    """ĉ of c: what matters of the cell states of two steps."""

    def __init__(self, sizes: Mapping[Modality, int], options: Options) -> None:
        """For cell states of these `sizes`."""
        super().__init__()
        self.out = 2 * sum(sizes.values())
        self.scores = net(self.out, options.inner, self.out, options.dropout)

    def forward(self, states: Mapping[Modality, Tensor]) -> Tensor:
        """(N, 2 d_m) of each modality, the step before and this one, -> (N, 2 D)."""
        c = torch.cat(list(states.values()), dim=1)
        a = torch.softmax(self.scores(c), dim=1)
        return self.out * c * a


Attention = Callable[[Mapping[Modality, int], Options], nn.Module]


class MemoryFusion(nn.Module):
    """A system of LSTMs and the memory that is kept of them."""

    def __init__(
        self, widths: Mapping[Modality, int], options: Options, attention: Attention
    ) -> None:
        """For frames of these `widths`; `attention` says what the memory sees of cell states."""
        super().__init__()
        self.modalities = tuple(widths)
        sizes = hidden_sizes(self.modalities, options)
        self.lstms = nn.ModuleDict({m: LSTMCells(widths[m], sizes[m]) for m in widths})
        self.attention = attention(sizes, options)
        seen, inner, share = int(self.attention.out), options.inner, options.dropout  # type: ignore[arg-type]
        self.proposal, self.retain, self.update = (
            net(seen, inner, options.memory, share) for _ in range(3)
        )
        self.out = sum(sizes.values()) + options.memory

    def forward(self, frames: Mapping[Modality, Packed]) -> tuple[dict[Modality, Tensor], Tensor]:
        """Aligned frames (N, width) -> last h_m (B, d_m) of each modality, last u (B, U)."""
        h, states = dict[Modality, Packed](), dict[Modality, Tensor]()
        for m, x in frames.items():
            h[m], c = self.lstms[m](x)
            first = (c.step == 0).unsqueeze(1)
            before = c.rows.roll(1, dims=0).masked_fill(first, 0)
            states[m] = torch.cat([before, c.rows], dim=1)
        seen = self.attention(states)
        proposed = torch.tanh(self.proposal(seen))
        kept, taken = torch.sigmoid(self.retain(seen)), torch.sigmoid(self.update(seen))
        steps = next(iter(h.values()))
        u = remembered(steps, kept, taken * proposed)
        return {m: x.last() for m, x in h.items()}, u


def remembered(steps: Packed, kept: Tensor, added: Tensor) -> Tensor:
    """The last u_t = kept_t u_(t-1) + added_t of each clip, from zero; (N, U) twice -> (B, U)."""
    order, sizes = steps_first(steps)
    u = added.new_zeros(len(steps.lengths), added.shape[1])
    if not sizes:
        return u
    rows = zip(torch.split(kept[order], sizes), torch.split(added[order], sizes), strict=True)
    ends, last = list[Tensor](), added.new_zeros(sizes[0], added.shape[1])
    for keep, add in rows:
        if len(last) > len(add):  # clips that have ended, the shortest last
            ends.insert(0, last[len(add) :])
        last = keep * last[: len(add)] + add
    clips = steps.clip[order[: sizes[0]]]
    return u.index_copy(0, clips, torch.cat([last, *ends]))


class MFN(Baseline):
    """LSTMs, and a memory of how their cells changed."""

    attention: Attention = DeltaMemoryAttention

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For any modalities of `inputs`."""
        super().__init__(inputs)
        self.word_aligned = all_aligned(inputs)
        widths = {m: inputs[m].width for m in self.modalities}
        self.fusion = MemoryFusion(widths, options, type(self).attention)
        self.post = nn.Sequential(
            nn.Linear(self.fusion.out, options.inner), nn.ReLU(), Dropout(options.dropout)
        )
        self.head = nn.Linear(options.inner, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores."""
        own, u = self.fusion(self.on_common_steps(batch))
        return self.answer(self.post(torch.cat([*own.values(), u], dim=1)), own)

    def on_common_steps(self, batch: Batch) -> dict[Modality, Packed]:
        """Frames (N, width) of each modality, aligned."""
        frames = [self.frames(batch, m) for m in self.modalities]
        masks = [batch.masks[m] for m in self.modalities]
        if self.word_aligned:
            rows, real = word_by_word(frames, masks)
            parts = torch.split(rows, [x.shape[2] for x in frames], dim=2)
            found = [Packed.of(parts[0], real)]
            found += [found[0].again(part) for part in parts[1:]]
            return dict(zip(self.modalities, found, strict=True))
        found = [Packed.of(x, mask) for x, mask in zip(frames, masks, strict=True)]
        return dict(zip(self.modalities, aligned(found, common_steps(found)), strict=True))
