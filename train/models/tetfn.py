"""TETFN: Wang, Guo, Tian, Liu, He and Luo, "TETFN: A Text Enhanced Transformer Fusion Network for
Multimodal Sentiment Analysis", Pattern Recognition 136, 2023.

Written from memory of the paper, without any code of it. Symbols, with B clips, N_m frames of
modality m in all clips, d the common width, CM(q; s) a crossmodal transformer by which frames of q
read those of s:

    X̂_m  (N_m, d)   frames after a convolution over time
    C_n  (N_n, d)   CM(X̂_n; X̂_text): a voice or face that has read the text, one layer
    Z_m  (N_m, d)   CM(X̂_m; C_n), text-enhanced; n the face where m is the voice, and the reverse
    Z_t  (N_t, 2d)  CM(X̂_text; X̂_audio) and CM(X̂_text; X̂_vision) side by side
    F    (B, 4d)    every Z_m after a transformer over itself, at its last frame
    ŷ    (B,)       score of the fusion
    F_m  (B, any)   vector of one modality: a token of text or the mean, the end state of an LSTM
    ŷ_m  (B,)       score of one modality: Linear of its feature F*_m
    y_m  (B,)       its generated label, as Self-MM generates it (`sugrm.label_generator`)

The loss is the task's + Σ_m tanh|y_m - y| |ŷ_m - y_m|, a mean over the batch.

Departures, and choices where the paper is silent:

- Vision is whatever features are cached; the paper has a ViT of its own.
- Convolutions have kernel 3 and no bias. Features F* are as wide for the fusion as for a modality,
  so that distances between them, by which labels are made, have one scale.
- Without text, Z_m = CM(X̂_m; X̂_n); without a third modality, Z_m = CM(X̂_m; X̂_text). Of one
  modality alone there is nothing to read.
- Classes are ours, as in Self-MM: logits of the fusion; of a modality a score and a label a class.
- The rate of the LSTMs is the run's. Sizes, dropout and recipe are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...cache.spec import Modality
from ...config import Fraction, Positive
from ..layers.convolution import TemporalConvolution
from ..layers.dropout import Dropout
from ..layers.packed import Packed
from ..layers.transformer import CrossmodalEncoder, SequenceEncoder, with_positions, xavier_init
from .shared.baseline import Baseline
from .shared.hooks import EncoderRecipe, Recipe, Training
from .shared.interface import Batch, InputShape, Output, shaped
from .shared.utterance import EndState, Pick, Tokens, end_state_encoders
from .sugrm.label_generator import LabelMemory, unimodal_loss


@dataclass(frozen=True)
class Options:
    """[train.tetfn]; all of them ours."""

    text: Pick = "first"
    """The vector of a text for its own score: its `first` token, [CLS], or the `mean` of all."""
    width: Positive = 32
    """Common width d; a multiple of `heads`."""
    heads: Positive = 8
    """Attention heads of every transformer."""
    layers: Positive = 2
    """Layers of crossmodal transformers, but for the one that reads text first."""
    memory_layers: Positive = 2
    """Layers of the transformers over each modality's own frames."""
    hidden: Positive = 32
    """Units of the LSTMs behind the vectors of audio and vision."""
    space: Positive = 64
    """Width of every feature F*."""
    attention_dropout: Fraction = 0.1
    """Share dropped in the transformers."""
    dropout: Fraction = 0.1
    """Share dropped of the vectors that heads read."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""

    def __post_init__(self) -> None:
        """Raises ValueError where width and heads do not go together."""
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads = {self.heads}.")


RECIPE = Recipe(
    learning_rate=1e-3,
    batch_size=32,
    epochs=60,
    patience=8,
    warmup=0.1,
    schedule="cosine",
    clip_norm=1.0,
    source="ours",
)
ENCODER = EncoderRecipe(5e-5, source="ours, as Self-MM's")


class Head(nn.Module):
    """A vector -> its feature F* and a score."""

    def __init__(self, inputs: int, space: int, dropout: float, classes: int) -> None:
        """For vectors of length `inputs`."""
        super().__init__()
        self.feature = nn.Sequential(Dropout(dropout), nn.Linear(inputs, space), nn.ReLU())
        self.score = nn.Linear(space, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, inputs) -> (B, space), (B[, classes])."""
        feature = self.feature(x)
        return feature, shaped(self.score(feature))


class TETFN(Baseline):
    """Voice and face read each other through the text; single modalities have generated labels."""

    one_label = True
    """Labels are generated between clips of either sign, on one scale."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For any modalities of `inputs`."""
        super().__init__(inputs)
        d, heads, share = options.width, options.heads, options.attention_dropout
        names, others = self.modalities, [m for m in self.modalities if m != "text"]
        self.convolutions = nn.ModuleDict(
            {m: TemporalConvolution(inputs[m].width, d) for m in names}
        )

        def reader(layers: int) -> CrossmodalEncoder:
            return xavier_init(CrossmodalEncoder(d, heads, layers, share, share))

        enhanced = len(names) == 3
        self.through_text = nn.ModuleDict({m: reader(1) for m in others if enhanced})
        self.pairs = [(m, n) for m in names for n in names if n != m]
        if enhanced:  # voice and face read text through each other
            self.pairs = [(m, n) for m, n in self.pairs if n != "text"]
        self.readers = nn.ModuleDict(
            {f"{m}_reads_{n}": reader(options.layers) for m, n in self.pairs}
        )
        widths = {m: d * max(1, sum(m == k for k, _ in self.pairs)) for m in names}
        self.memories = nn.ModuleDict(
            {
                m: SequenceEncoder(widths[m], heads, options.memory_layers, share, share, 0.0)
                for m in names
            }
        )
        mixed = {m: InputShape(inputs[m].width) for m in names}
        self.encoders, sizes = end_state_encoders(
            mixed, options.text, dict.fromkeys(others, options.hidden), dict.fromkeys(others, 0)
        )
        how = options.space, options.dropout, options.classes
        self.fusion = Head(sum(widths.values()), *how)
        self.heads = nn.ModuleDict({m: Head(sizes[m], *how) for m in names})
        self.memory = LabelMemory(names, options.space, "self_mm", 2, True, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores; ``unimodal_<modality>`` losses in training, once `begin` was called.

        Extras are those of `self_mm`: scores and generated labels of single modalities, and in
        training what labels are made of.
        """
        names = self.modalities
        X = {m: Packed.of(self.frames(batch, m), batch.masks[m]) for m in names}
        F = torch.cat([z.last() for z in self.crossed(X).values()], dim=1)
        feature, prediction = self.fusion(F)
        own = dict[Modality, tuple[Tensor, Tensor]]()
        for m in names:
            encoder = self.encoders[m]
            assert isinstance(encoder, Tokens | EndState)
            own[m] = self.heads[m](encoder.of(X[m]))
        seen: dict[str, Tensor] = {"fused": feature.detach()}
        seen |= {m: own[m][0].detach() for m in names}
        extras = {f"score_{m}": own[m][1].detach() for m in names}
        losses = dict[str, Tensor]()
        if self.memory.begun:
            labels = dict(zip(names, self.memory.of(batch.index), strict=True))
            extras |= {f"label_{m}": y for m, y in labels.items()}
            if self.training:
                there = {m: X[m].there for m in names}
                losses = {
                    f"unimodal_{m}": unimodal_loss(own[m][1], labels[m], batch.labels, there[m])
                    for m in names
                }
                extras["space"] = torch.stack([*seen.values()], dim=1)
                extras["known"] = torch.stack([*there.values()], dim=1)
        return Output(prediction, losses, extras, seen)

    def crossed(self, X: Mapping[Modality, Packed]) -> dict[Modality, Packed]:
        """Frames of each modality -> Z_m after the transformer over itself."""
        frames = {m: self.convolutions[m](x) for m, x in X.items()}
        start = {m: with_positions(x) for m, x in frames.items()}
        shown = {
            m: with_positions(self.through_text[m](x, start["text"]))
            if m in self.through_text
            else x
            for m, x in start.items()
        }
        Z = dict[Modality, Packed]()
        for m, x in start.items():
            read = [
                # text reads voice and face as they are, these each other as they have read the text
                self.readers[f"{m}_reads_{n}"](x, (start if m == "text" else shown)[n]).rows
                for k, n in self.pairs
                if k == m
            ]
            Z[m] = self.memories[m](x.like(torch.cat(read, dim=1)) if read else frames[m])
        return Z

    def begin(self, training: Training) -> None:
        """Every unimodal label is the multimodal one."""
        self.memory.begin(training)

    def forget(self) -> None:
        """No clip has a generated label."""
        self.memory.forget()

    def after_step(self, batch: Batch, output: Output, epoch: int) -> None:
        """From epoch 2 on, new labels for the batch's clips."""
        space, known = output.extras["space"], output.extras["known"]
        self.memory.after_step(batch.index, space.transpose(0, 1), known.T, epoch)

    def outputs(self) -> Mapping[str, Tensor]:
        """``layers_<modality>`` (layers,) of every weighted input, summing to one, and
        ``label_quantiles_<modality>`` (epochs, 5) of the labels generated up to these weights."""
        trails = {f"label_quantiles_{m}": rows for m, rows in self.memory.trajectory().items()}
        return {**self.mixes.weights, **trails}
