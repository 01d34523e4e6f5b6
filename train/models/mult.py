"""Multimodal Transformer: Tsai, Bai, Liang, Kolter, Morency and Salakhutdinov, "Multimodal
Transformer for Unaligned Multimodal Language Sequences", ACL 2019, arXiv:1906.00295.

Written without any code of it. Symbols, with B clips, T_m frames of modality m, d the common width
and M modalities:

    X̂_m      (B, T_m, d)            frames after a convolution over time
    Z_{n→m}  (B, T_m, d)            frames of m, after D blocks that read those of n
    Z_m      (B, T_m, (M - 1) d)    all Z_{n→m} side by side, after a transformer over themselves
    s_m      (B, (M - 1) d)         Z_m at the last real frame, exactly 0 for a modality not there
    ŷ        (B,)                   linear in s + MLP(s), s all s_m side by side

Departures, and choices where the paper is silent:

- Residuals go past the norms, x + f(LN(x)), as in the transformers that the field took over from
  MulT; the paper's equations add the normed x.
- The convolution's kernel is 3 for every modality, without bias (the paper: 1 or 3 for text).
- Frames are multiplied by sqrt(d) before positions are added, and before the last transformer too.
- Blocks read the other modality as it was convolved, with a norm of its own in every block.
- Of one modality alone there is nothing to read: the last transformer takes X̂_m, and s_m is d wide.
  Frames whose clip lacks the other modality read nothing, and go on.
- The paper has one dropout for a block: it acts on attention weights, inside the feed-forward and
  behind both. The last transformer has its own depth, which the paper does not tell.
- No step of the learning rate: the paper's table has none.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ...cache.spec import MODALITIES, Modality
from ...config import Fraction, Positive
from ..layers.convolution import TemporalConvolution
from ..layers.dropout import Dropout
from ..layers.packed import Packed
from ..layers.transformer import CrossmodalEncoder, SequenceEncoder, with_positions, xavier_init
from .shared.baseline import Baseline, reference_recipe
from .shared.hooks import Recipe
from .shared.interface import Batch, InputShape, Output


@dataclass(frozen=True)
class Options:
    """[train.mult]; the defaults are the paper's for CMU-MOSI, other corpora's are `PRESETS`."""

    width: Positive = 40
    """Common width d; a multiple of `heads`."""
    heads: Positive = 10
    """Attention heads of every transformer."""
    layers: Positive = 4
    """Crossmodal blocks D of each pair of modalities."""
    memory_layers: Positive = 3
    """Layers of the transformer behind them, one a modality."""
    text_dropout: Fraction = 0.2
    """Share dropped of the features of text."""
    dropout: Fraction = 0.2
    """Share dropped in the transformers."""
    inner_dropout: Fraction | None = None
    """Of it, the share inside the feed-forward; unset: `dropout`."""
    output_dropout: Fraction = 0.1
    """Share dropped within the residual layers before the head."""
    kernels: tuple[Positive, Positive, Positive] = (3, 3, 3)
    """Frames that the convolutions of text, audio and vision see; odd numbers."""
    attention_dropout: tuple[Fraction, Fraction, Fraction] | None = None
    """Share dropped of attention weights where text, audio and vision are read, text's also in the
    transformers behind; unset: `dropout`."""
    embedding_dropout: Fraction = 0.0
    """Share dropped of what every transformer begins with."""
    reference: bool = False
    """As the reference toolkit: clips lose kernel - 1 frames in the convolutions, frames see as
    many later ones as two sequences differ in length, blocks norm both by one norm, and there are
    no positions."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""

    def __post_init__(self) -> None:
        """Raises ValueError where width and heads do not go together."""
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads = {self.heads}.")
        if not all(kernel % 2 for kernel in self.kernels):
            raise ValueError(f"kernels = {list(self.kernels)}: a kernel has to be odd.")


def _reference(
    width: int,
    heads: int,
    layers: int,
    text: float,
    residual: float,
    out: float,
    kernels: tuple[int, int, int],
    attention: tuple[float, float, float],
    embedding: float,
    own: int = 4,
) -> Options:
    return Options(
        width=width,
        heads=heads,
        layers=layers,
        memory_layers=own,
        text_dropout=text,
        dropout=residual,
        inner_dropout=0.0,
        output_dropout=out,
        kernels=kernels,
        attention_dropout=attention,
        embedding_dropout=embedding,
        reference=True,
    )


PRESETS: Mapping[str, Options] = {
    "mosi": Options(),
    "mosei": Options(heads=8, text_dropout=0.3, dropout=0.1),
    "sims": Options(width=50, layers=2),
    "mmsa-mosi": _reference(50, 10, 4, 0.5, 0.0, 0.5, (5, 5, 5), (0.3, 0.2, 0.0), 0.2),
    "mmsa-mosei": _reference(30, 6, 4, 0.3, 0.0, 0.5, (5, 1, 3), (0.4, 0.0, 0.0), 0.0),
    "mmsa-sims": _reference(50, 10, 2, 0.3, 0.2, 0.1, (5, 1, 1), (0.2, 0.1, 0.0), 0.1, own=3),
}
"""By corpus; under ``mmsa-…`` what the reference toolkit builds. Its dropout inside the
feed-forward is 0 everywhere, that of residuals with CH-SIMS 0.2."""


def _recipe(rate: float, batch: int, epochs: int, clip: float | None, source: str) -> Recipe:
    return Recipe(
        learning_rate=rate,
        batch_size=batch,
        epochs=epochs,
        patience=8,
        clip_norm=clip,
        warmup=0.0,
        schedule="constant",
        source=source,
    )


def _reference_recipe(rate: float, batch: int, plateau: int) -> Recipe:
    return reference_recipe(
        rate, batch, accumulate=8, whole_groups=True, clip_value=0.6, plateau=plateau
    )


_PAPER = "MulT, table of hyperparameters in its appendix; patience is the field's"
RECIPE = _recipe(1e-3, 128, 100, 0.8, _PAPER)
RECIPES: Mapping[str, Recipe] = {
    "mosi": RECIPE,
    "mosei": _recipe(1e-3, 16, 20, 1.0, _PAPER),
    "sims": _recipe(2e-3, 16, 100, None, "MMSA's configuration; epochs are ours"),
    "mmsa-mosi": _reference_recipe(2e-3, 16, 5),
    "mmsa-mosei": _reference_recipe(5e-4, 4, 20),
    "mmsa-sims": _reference_recipe(2e-3, 16, 10),
}


class MulT(Baseline):
    """Every modality reads every other one, then itself; the last frames decide."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For any modalities of `inputs`."""
        super().__init__(inputs)
        d, heads, share = options.width, options.heads, options.dropout
        exact, embedded = options.reference, options.embedding_dropout
        inner = share if options.inner_dropout is None else options.inner_dropout
        kernels = dict(zip(MODALITIES, options.kernels, strict=True))
        attention = options.attention_dropout or (share, share, share)
        reads = dict(zip(MODALITIES, attention, strict=True))
        self.exact = exact
        self.text_dropout = Dropout(options.text_dropout)
        self.convolutions = nn.ModuleDict(
            {
                m: TemporalConvolution(inputs[m].width, d, kernels[m], shrinking=exact)
                for m in self.modalities
            }
        )
        self.readers = nn.ModuleDict(
            {
                f"{m}_reads_{n}": xavier_init(
                    CrossmodalEncoder(
                        d, heads, options.layers, reads[n], share, embedded, exact, inner
                    )
                )
                for m in self.modalities
                for n in self.modalities
                if n != m
            }
        )
        own = d * max(1, len(self.modalities) - 1)
        depth, read = options.memory_layers, reads["text"]
        self.memories = nn.ModuleDict(
            {
                m: SequenceEncoder(own, heads, depth, read, share, embedded, exact, inner)
                for m in self.modalities
            }
        )
        together = own * len(self.modalities)
        self.residual = nn.Sequential(
            nn.Linear(together, together),
            nn.ReLU(),
            Dropout(options.output_dropout),
            nn.Linear(together, together),
        )
        self.head = nn.Linear(together, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores."""
        frames = {m: self.convolutions[m](self._packed(batch, m)) for m in self.modalities}
        if len(frames) > 1:
            frames = self._crossed(frames)
        own = {m: self.memories[m](one).last() for m, one in frames.items()}
        last = torch.cat(list(own.values()), dim=1)
        return self.answer(last + self.residual(last), own)

    def _packed(self, batch: Batch, m: Modality) -> Packed:
        packed = Packed.of(self.frames(batch, m), batch.masks[m])
        return packed.map(self.text_dropout) if m == "text" else packed

    def _crossed(self, frames: Mapping[Modality, Packed]) -> dict[Modality, Packed]:
        """X̂_m (N_m, d) of each modality -> all its Z_{n→m} side by side, (N_m, (M - 1) d)."""
        start = {m: with_positions(x, not self.exact) for m, x in frames.items()}
        return {
            m: x.like(
                torch.cat(
                    [self.readers[f"{m}_reads_{n}"](x, start[n]).rows for n in start if n != m],
                    dim=1,
                )
            )
            for m, x in start.items()
        }
