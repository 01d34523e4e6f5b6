"""SUGRM: Hwang and Kim, "Self-Supervised Unimodal Label Generation Strategy Using Recalibrated
Modality Representations for Multimodal Sentiment Analysis", Findings of EACL 2023.

Written from the papers alone. Symbols, with B clips, T_s frames of modality s, d_s their width,
w the width of the common space:

    F_s^i  (B, T_s, d_s)  cached features of one layer, or of several mixed by learned weights
    S_s    (B, d_s)       their mean over real frames
    Z      (B, sum(d) / reduction)  what all modalities say together
    E_s    (B, d_s)       excitation; frames are multiplied by 2 sigmoid(E_s)
    F_s    (B, w)         last hidden state of the sparse phased transformer (`sugrm_spt`)
    F*     (B, w)         feature of the fusion (m) or of one modality, in the common space
    ŷ      (B,)           score of the fusion or of one modality
    y_s    (B,)           generated label (`sugrm_labels`)

The loss is |ŷ_m - y_m| + sum over s of tanh|y_s - y_m| * |ŷ_s - y_s|, a mean over the batch.

Departures, and choices where paper and released code differ:

- The paper scales no input; [train] standardises them if ``input_scaling`` does not say "none".
- Padding takes no part: means are over real frames, windows wrap modulo the clip's true length,
  and the last hidden state is that of the clip's last real frames. The released code sees padding
  everywhere; at full length both are the same function. Frames that are not real inside a clip
  (no face) are passed over; the others keep their positions.
- A clip without frames of a modality: its vector F_s is zero, it takes no part in cross attention,
  has no loss for that modality, and its label stays.
- A head is Linear, ReLU, dropout, Linear, Linear, and F* is the output of the second Linear, as
  released; the paper has one Linear and ReLU.
- Input attention has no shift, and attention no dropout (an option), as released; Table 7's value
  for the latter never reached the model.
- Self-attention has one norm for queries and keys. The released layer holds a second one, which it
  never uses; the published counts include its 64 weights a modality.
- The residual of cross attention is added once a partner, as released.
- Label generator: generated labels are kept within ±H and a label of 0 counts as positive, as
  released. Means over clips labelled ±H count every clip once (the released code enters early
  batches several times); what happens without such clips is in `extremes`. 6 and ±3 are 2H and
  ±H, with H the largest label.
- Labels change after a step from epoch 2 on; as the unimodal loss is 0 while y_s = y_m, unimodal
  heads begin to learn in epoch 3, as released. `labels_from` is ours.
- Classes are ours: the fused head has logits and cross-entropy; a modality's head and generated
  label are a score a class, 1 or -1 at first, each by the rule above.
- Table 4's Transformer and LSTM are described in `ablations`; its rows on Self-MM are options of
  `self_mm`.
- Text enters as cached features, or by a live encoder: the paper fine-tunes BERT with the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ....cache.spec import MODALITIES, Modality
from ....config import Fraction, Positive
from ...layers.linear import Linear
from ...layers.losses import Distance
from ...layers.packed import Packed
from ..shared.hooks import EncoderRecipe, Group, Recipe, Training
from ..shared.interface import Batch, InputShape, Output, shaped
from ..shared.layer_mix import LayerMixes
from .ablations import MultimodalTransformer, PlainLSTM
from .label_generator import Generator, LabelMemory, unimodal_loss
from .sparse_phased_transformer import SequenceEncoder, Sizes, SparsePhasedTransformer

Rate = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Options:
    """[train.sugrm]; the defaults are the paper's for CMU-MOSEI (Table 7), `PRESETS` has others."""

    width: Positive = 32
    """Width w of hidden states and of the common space (embed size)."""
    heads: Positive = 4
    """Attention heads; they share `width`."""
    rounds: Positive = 4
    """Times that input, cross and self attention are repeated, with the same weights."""
    stride: Positive = 5
    """Frames that one hidden state stands for."""
    input_window: Positive = 17
    """Frames that a hidden state sees in input attention."""
    cross_window: Positive = 9
    """Hidden states of another modality that it sees in cross attention."""
    self_window: Positive = 7
    """Hidden states of its own modality that it sees in self attention."""
    output_dropout: Fraction = 0.1
    """Share of units dropped in the heads."""
    embed_dropout: Fraction = 0.2
    """Share dropped of frames and hidden states before the first layer."""
    relu_dropout: Fraction = 0.1
    """Share dropped inside feed-forward layers."""
    residual_dropout: Fraction = 0.1
    """Share dropped of what a layer adds."""
    attention_dropout: Fraction = 0.0
    """Share of attention weights dropped."""
    unimodal_tasks: tuple[Modality, ...] = MODALITIES
    """Modalities with a score and a generated label of their own (Table 3); those that a run does
    not use are passed over."""
    unimodal_loss: Distance = "l1"
    """Distance in the unimodal tasks; Table 8 takes the same as in the multimodal one, `loss`."""
    labels: Generator = "sugrm"
    """`sugrm`: distances in the common space; `self_mm`: Self-MM's generator (Table 4)."""
    labels_from: Annotated[int, Field(ge=2)] = 2
    """First epoch that moves labels. Until features of opposite clips lie apart, they move to the
    wrong side: where the fusion learns slowly, as on frozen features, a later epoch is better."""
    sequence: Literal["spt", "transformer", "lstm"] = "spt"
    """What turns frames into one vector (Table 4): the sparse phased transformer, MulT's
    crossmodal Transformers (TE), or an LSTM a modality."""
    recalibrate: bool = True
    """Whether modalities recalibrate each other (Table 4)."""
    reduction: Positive = 4
    """Inputs for one unit of the recalibration's bottleneck."""
    project: Positive | None = None
    """Width to which every frame is first projected; unset: none, as in the paper. With encoders
    1024 wide, nine tenths of all weights are in the recalibration."""
    sequence_rate: Rate = 0.5
    """Learning rate of the sequence encoder, times the run's: 5e-4 of 1e-3."""
    sequence_decay: Decay = 1e-3
    """Weight decay of the sequence encoder."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(
                f"heads = {self.heads} do not share width = {self.width} evenly. "
                "Take a width that is a multiple of the heads."
            )
        if len(set(self.unimodal_tasks)) < len(self.unimodal_tasks):
            raise ValueError("unimodal_tasks names a modality twice. Name each once.")


PRESETS: Mapping[str, Options] = {
    "mosei": Options(),
    "mosi": Options(
        heads=8,
        output_dropout=0.3,
        embed_dropout=0.3,
        relu_dropout=0.3,
        residual_dropout=0.3,
        sequence_rate=0.05,
    ),
}
"""The paper's two corpora (Table 7)."""

RECIPES: Mapping[str, Recipe] = {
    "mosei": Recipe(
        learning_rate=1e-3,
        batch_size=32,
        epochs=100,
        patience=8,
        weight_decay=1e-2,
        warmup=0.0,
        schedule="constant",
        accumulate=4,
        source="SUGRM, Table 7; patience, decay, accumulation as released; epochs unlimited there",
    ),
    "mosi": Recipe(
        learning_rate=1e-2,
        batch_size=32,
        epochs=100,
        patience=8,
        weight_decay=1e-3,
        warmup=0.0,
        schedule="constant",
        accumulate=4,
        source="SUGRM, Table 7; patience, decay, accumulation as released; epochs unlimited there",
    ),
}
"""By corpus."""
RECIPE = RECIPES["mosei"]
ENCODER = EncoderRecipe(5e-5, 1e-3, source="SUGRM, Table 7; decay as released")
"""Of text, where it is live; for both corpora."""


def sizes_of(options: Options) -> Sizes:
    """What the sequence encoder needs of them."""
    return Sizes(**{f.name: getattr(options, f.name) for f in fields(Sizes)})


class Recalibration(nn.Module):
    """Modality recalibration (squeeze and excitation): each modality's features are weighted by
    what all modalities say (section 3.2.1)."""

    def __init__(self, widths: Mapping[Modality, int], reduction: int) -> None:
        """For frames of these widths."""
        super().__init__()
        total = sum(widths.values())
        self.modalities = tuple(widths)
        bottleneck = max(1, total // reduction)
        self.squeeze = nn.Linear(total, bottleneck)
        self.excite = nn.ModuleDict({m: nn.Linear(bottleneck, size) for m, size in widths.items()})

    def forward(self, F: Mapping[Modality, Packed]) -> dict[Modality, Packed]:
        """Frames (N_s, its width) a modality -> the same, recalibrated."""
        S = [F[m].mean() for m in self.modalities]
        Z = torch.relu(self.squeeze(torch.cat(S, dim=-1)))
        gates = {m: 2 * torch.sigmoid(self.excite[m](Z)) for m in F}
        return {m: x.like(x.rows * gates[m].index_select(0, x.clip)) for m, x in F.items()}


class Head(nn.Module):
    """A vector -> its feature F* in the common space, and a score."""

    def __init__(self, inputs: int, options: Options) -> None:
        """For vectors of length `inputs`."""
        super().__init__()
        self.space = nn.Sequential(
            nn.Linear(inputs, options.width),
            nn.ReLU(),
            nn.Dropout(options.output_dropout),
            nn.Linear(options.width, options.width),
        )
        self.score = nn.Linear(options.width, options.classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, inputs) -> (batch, width), (batch[, classes])."""
        feature = self.space(x)
        return feature, shaped(self.score(feature))


class SUGRM(nn.Module):
    """Multimodal score, and unimodal ones that learn from labels the model makes itself."""

    one_label = True
    """Labels are generated between clips of either sign, on one scale."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For the modalities of `inputs`, any of them."""
        super().__init__()
        self.options = options
        self.modalities = tuple(m for m in MODALITIES if m in inputs)
        self.tasks = tuple(m for m in self.modalities if m in options.unimodal_tasks)
        self.mixes = LayerMixes(inputs)
        widths = {m: options.project or inputs[m].width for m in self.modalities}
        self.projections = nn.ModuleDict(
            {m: Linear(inputs[m].width, widths[m]) for m in self.modalities if options.project}
        )
        self.recalibration = (
            Recalibration(widths, options.reduction) if options.recalibrate else None
        )
        encoders = {
            "spt": SparsePhasedTransformer,
            "transformer": MultimodalTransformer,
            "lstm": PlainLSTM,
        }
        self.sequence = encoders[options.sequence](widths, sizes_of(options))
        self.fusion = Head(len(self.modalities) * options.width, options)
        self.heads = nn.ModuleDict({m: Head(options.width, options) for m in self.tasks})
        self.memory = LabelMemory(
            self.tasks,
            options.width,
            options.labels,
            options.labels_from,
            classes=options.classes,
        )

    def forward(self, batch: Batch) -> Output:
        """Scores; ``unimodal_<modality>`` losses in training, once `begin` was called.

        Extras: ``score_<modality>`` (batch,), a unimodal task's score; ``label_<modality>``
        (batch,), its generated label, NaN for clips that are not trained on; in training also
        ``space`` (batch, 1 + tasks, width), the features F*, fusion first, and ``known``
        (batch, tasks) bool.
        """
        features = {m: self._frames(m, batch) for m in self.modalities}
        if self.recalibration is not None:
            features = self.recalibration(features)
        encode: SequenceEncoder = self.sequence
        vectors = encode(features)  # (modalities, batch, width)
        feature, prediction = self.fusion(vectors.transpose(0, 1).flatten(1))
        made = [self.heads[m](vectors[self.modalities.index(m)]) for m in self.tasks]
        scores = {m: score for m, (_, score) in zip(self.tasks, made, strict=True)}
        extras = {f"score_{m}": score.detach() for m, score in scores.items()}
        common: dict[str, Tensor] = {"fused": feature.detach()}
        common |= {m: own.detach() for m, (own, _) in zip(self.tasks, made, strict=True)}
        if not self.memory.begun or not self.tasks:
            return Output(prediction, extras=extras, representations=common)
        labels = self.memory.of(batch.index)  # (tasks, batch[, classes])
        extras |= {f"label_{m}": y for m, y in zip(self.tasks, labels, strict=True)}
        if not self.training:
            return Output(prediction, extras=extras, representations=common)
        known = torch.stack([batch.masks[m].any(dim=1) for m in self.tasks], dim=1)
        space = torch.stack([feature, *(own for own, _ in made)], dim=1).detach()
        losses = {
            f"unimodal_{m}": unimodal_loss(
                scores[m], y, batch.labels, known[:, place], self.options.unimodal_loss
            )
            for place, (m, y) in enumerate(zip(self.tasks, labels, strict=True))
        }
        return Output(prediction, losses, extras | {"space": space, "known": known}, common)

    def begin(self, training: Training) -> None:
        """Every unimodal label is the multimodal one."""
        self.memory.begin(training)

    def forget(self) -> None:
        """No clip has a generated label."""
        self.memory.forget()

    def after_step(self, batch: Batch, output: Output, epoch: int) -> None:
        """From epoch 2 on, new labels for the batch's clips."""
        if self.tasks:
            space, known = output.extras["space"], output.extras["known"]
            self.memory.after_step(batch.index, space.transpose(0, 1), known.T, epoch)

    def groups(self) -> Sequence[Group]:
        """The sequence encoder, which learns at a rate of its own, and all else."""
        sequence = tuple(self.sequence.parameters())
        own = {id(weight) for weight in sequence}
        return (
            Group(tuple(p for p in self.parameters() if id(p) not in own)),
            Group(sequence, self.options.sequence_rate, self.options.sequence_decay),
        )

    def outputs(self) -> Mapping[str, Tensor]:
        """``layers_<modality>`` (layers,) of every weighted input, summing to one, and
        ``label_quantiles_<modality>`` (epochs, 5) of the labels generated up to these weights."""
        trails = {f"label_quantiles_{m}": rows for m, rows in self.memory.trajectory().items()}
        return {**self.mixes.weights, **trails}

    def _frames(self, m: Modality, batch: Batch) -> Packed:
        """(N, width) of one modality, its layers mixed, projected if asked."""
        frames = Packed.of(self.mixes.mixed(m, batch.features[m]), batch.masks[m])
        return frames.map(self.projections[m]) if m in self.projections else frames
