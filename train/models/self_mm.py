"""Self-MM: Yu, Xu, Yuan and Wu, "Learning Modality-Specific Representations with Self-Supervised
Multi-Task Learning for Multimodal Sentiment Analysis", AAAI 2021, arXiv:2102.04830.

Written from what the paper says and the facts known of its settings. Symbols, with B clips, T_s
frames of modality s:

    X_s  (B, T_s, width)  cached features of one layer, or of several mixed by learned weights
    F_s  (B, width_s)     vector of a modality: [CLS] of text, the end state of an LSTM for others
    F*_m (B, width*_m)    fusion feature: ReLU(Linear([F_t; F_a; F_v]))
    F*_s (B, width*_s)    feature of one modality, ReLU(Linear(F_s)), in a space of its own
    ŷ    (B,)             score of the fusion (m) or of one modality: Linear(F*)
    y_s  (B,)             generated label (`sugrm_labels`)

The loss is |ŷ_m - y_m| + sum over s of tanh|y_s - y_m| * |ŷ_s - y_s|, a mean over the batch.

Departures, and choices where the paper is silent:

- Text enters as cached features, or by a live encoder, as in the paper. On frozen layers [CLS] says
  little: `text = "mean"` takes the mean of all tokens.
- Padding and frames that are not real are passed over. A clip without frames of a modality: F_s is
  zero, it has no loss for that modality, and its label stays.
- Generated labels are kept within ±H, with H the largest label; a clip labelled 0 has no part in
  the centres, as in MMSA's configuration (`exclude_zero`). Centres are those that features had at
  their clips' last steps, the batch's own before this step. Spaces of different widths share
  one bank, padded with zeros: no distance changes.
- ``recalibrate``, ``sequence`` and ``labels`` are the rows of SUGRM's Table 4 on Self-MM; sizes of
  what they bring are SUGRM's for CMU-MOSEI, which tells none for this use.
- Labels change from epoch 2 on, and the unimodal heads learn from epoch 3 on: the loss is 0 while
  y_s = y_m. `labels_from` is ours.
- Classes are ours, as in SUGRM: the fused head has logits and cross-entropy; a modality's head and
  generated label are a score a class, 1 or -1 at first.
- The share of units dropped is ours, and so is the weight decay, which is none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ...cache.spec import MODALITIES, Modality
from ...config import Count, Fraction, Positive
from ..layers.dropout import Dropout
from ..layers.packed import Packed
from .shared.baseline import dense, reference_recipe
from .shared.hooks import EncoderRecipe, Group, Recipe, Training
from .shared.interface import Batch, InputShape, Output, shaped
from .shared.layer_mix import layer_weights
from .shared.utterance import EndState, Pick, Tokens, end_state_encoders
from .sugrm.label_generator import Generator, LabelMemory, unimodal_loss
from .sugrm.model import Options as SUGRMOptions
from .sugrm.model import Recalibration, sizes_of
from .sugrm.sparse_phased_transformer import SparsePhasedTransformer

Rate = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Options:
    """[train.self_mm]; the defaults are MMSA's for CMU-MOSI, `PRESETS` has other corpora."""

    text: Pick = "first"
    """The vector of a text: its `first` token, [CLS], or the `mean` of all."""
    audio_hidden: Positive = 16
    """Units of the LSTM of audio."""
    vision_hidden: Positive = 32
    """Units of the LSTM of vision."""
    fusion_width: Positive = 128
    """Width of the fusion feature."""
    text_width: Positive = 32
    """Width of the text feature."""
    audio_width: Positive = 16
    """Width of the audio feature."""
    vision_width: Positive = 32
    """Width of the vision feature."""
    dropout: Fraction = 0.1
    """Share dropped of the vectors that the heads of text and audio read."""
    fusion_dropout: Fraction | None = None
    """Share dropped of what the fusion reads; unset: `dropout`."""
    vision_dropout: Fraction | None = None
    """Share dropped of the vector that vision's head reads; unset: `dropout`."""
    audio_out: Count = 0
    """Length of audio's vector, which a linear layer makes of the LSTM's state; 0: the state."""
    vision_out: Count = 0
    """The same of vision."""
    head_layers: Annotated[int, Field(ge=1, le=2)] = 1
    """Layers of each head before the score, the first of which makes the feature."""
    unimodal_tasks: tuple[Modality, ...] = MODALITIES
    """Modalities with a score and a generated label of their own; those that a run does not use
    are passed over."""
    exclude_zero: bool = True
    """Whether clips labelled 0 have no part in the centres; else they count as positive."""
    recalibrate: bool = False
    """SUGRM's Table 4: whether modalities recalibrate each other's frames first (its MRM)."""
    sequence: Literal["lstm", "spt"] = "lstm"
    """The same table: SUGRM's sparse phased transformer in the place of the LSTMs. It reads text,
    too; the vector of text stays its own."""
    labels: Generator = "self_mm"
    """The same table: who generates labels, Self-MM or SUGRM, whose rule needs one space: then all
    features are `text_width` wide."""
    labels_from: Annotated[int, Field(ge=2)] = 2
    """First epoch that moves labels, as in SUGRM."""
    audio_rate: Rate = 5.0
    """Learning rate of audio's LSTM, times the run's: 5e-3 of 1e-3."""
    vision_rate: Rate = 5.0
    """The same for vision's."""
    audio_decay: Annotated[float, Field(ge=0)] | None = None
    """Weight decay of audio's LSTM; unset: the run's."""
    vision_decay: Annotated[float, Field(ge=0)] | None = None
    """The same of vision's."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""

    def __post_init__(self) -> None:
        if len(set(self.unimodal_tasks)) < len(self.unimodal_tasks):
            raise ValueError("unimodal_tasks names a modality twice. Name each once.")


_REFERENCE = Options(
    fusion_dropout=0.0, vision_dropout=0.0, audio_out=16, vision_out=32, head_layers=2
)
PRESETS: Mapping[str, Options] = {
    "mosi": Options(),
    "mosei": Options(vision_rate=0.1),
    "sims": Options(),
    "mmsa-mosi": _REFERENCE,
    "mmsa-mosei": replace(
        _REFERENCE,
        dropout=0.0,
        fusion_dropout=0.1,
        vision_rate=0.1,
        audio_decay=0.0,
        vision_decay=0.0,
    ),
    "mmsa-sims": replace(
        _REFERENCE, vision_hidden=64, text_width=64, audio_decay=0.01, vision_decay=0.01
    ),
}
"""By corpus; sizes are those of CMU-MOSI, but under ``mmsa-…``, which is all that the reference
toolkit builds."""


def _recipe(batch_size: int) -> Recipe:
    return Recipe(
        learning_rate=1e-3,
        batch_size=batch_size,
        epochs=100,
        patience=8,
        warmup=0.0,
        schedule="constant",
        accumulate=4,
        source="MMSA's configuration of Self-MM (2025); epochs unlimited there; accumulation is "
        "that for CMU-MOSI",
    )


RECIPES: Mapping[str, Recipe] = {
    "mosi": _recipe(16),
    "mosei": _recipe(32),
    "sims": _recipe(32),
    "mmsa-mosi": reference_recipe(1e-3, 16, 1e-3, accumulate=4, whole_groups=True),
    "mmsa-mosei": reference_recipe(1e-3, 32, 1e-2, accumulate=4, whole_groups=True),
    "mmsa-sims": reference_recipe(1e-3, 32, 1e-3, accumulate=4, whole_groups=True),
}
RECIPE = RECIPES["mosi"]
ENCODER = EncoderRecipe(5e-5, source="MMSA's configuration of Self-MM (2025); the decay is ours")
ENCODERS: Mapping[str, EncoderRecipe] = {
    f"mmsa-{corpus}": EncoderRecipe(5e-5, 1e-3, source="the reference toolkit's configuration")
    for corpus in ("mosi", "mosei", "sims")
}
"""Of text, where it is live; for all corpora."""


class Head(nn.Module):
    """A vector -> its feature F* and a score."""

    def __init__(self, inputs: int, width: int, dropout: float, layers: int, classes: int) -> None:
        """For vectors of length `inputs`; the feature is `width` long."""
        super().__init__()
        self.space = nn.Sequential(Dropout(dropout), nn.Linear(inputs, width), nn.ReLU())
        self.further = dense([width] * layers, 0.0)
        self.score = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, inputs) -> (batch, width), (batch[, classes])."""
        feature = self.space(x)
        return feature, shaped(self.score(self.further(feature)))


class SelfMM(nn.Module):
    """Multimodal score, and unimodal ones that learn from labels the model makes itself."""

    one_label = True
    """Labels are generated between clips of either sign, on one scale."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For the modalities of `inputs`, any of them."""
        super().__init__()
        self.options = options
        self.modalities = tuple(m for m in MODALITIES if m in inputs)
        self.tasks = tuple(m for m in self.modalities if m in options.unimodal_tasks)
        hidden: dict[Modality, int] = {
            "audio": options.audio_hidden,
            "vision": options.vision_hidden,
        }
        widths = {
            "text": options.text_width,
            "audio": options.audio_width,
            "vision": options.vision_width,
        }
        fusion_width = options.fusion_width
        if options.labels == "sugrm":
            widths, fusion_width = dict.fromkeys(widths, options.text_width), options.text_width
        out: dict[Modality, int] = {"audio": options.audio_out, "vision": options.vision_out}
        self.encoders, sizes = end_state_encoders(inputs, options.text, hidden, out)
        frames = {m: inputs[m].width for m in self.modalities}
        like_sugrm = SUGRMOptions()
        self.recalibration = (
            Recalibration(frames, like_sugrm.reduction) if options.recalibrate else None
        )
        self.sequence: SparsePhasedTransformer | None = None
        if options.sequence == "spt":
            self.sequence = SparsePhasedTransformer(frames, sizes_of(like_sugrm))
            for m in self.modalities:
                if m != "text":
                    del self.encoders[m].lstm
                    self.encoders[m].register_module("project", None)
                    sizes[m] = like_sugrm.width
        drops = {"fusion": options.fusion_dropout, "vision": options.vision_dropout}
        share = {k: options.dropout if v is None else v for k, v in drops.items()}
        how = options.head_layers, options.classes
        self.fusion = Head(sum(sizes.values()), fusion_width, share["fusion"], *how)
        self.heads = nn.ModuleDict(
            {m: Head(sizes[m], widths[m], share.get(m, options.dropout), *how) for m in self.tasks}
        )
        self.widest = max([fusion_width, *(widths[m] for m in self.tasks)])
        self.memory = LabelMemory(
            self.tasks,
            self.widest,
            options.labels,
            options.labels_from,
            options.exclude_zero,
            options.classes,
        )

    def forward(self, batch: Batch) -> Output:
        """Scores; ``unimodal_<modality>`` losses in training, once `begin` was called.

        Extras: ``score_<modality>`` (batch,), a unimodal task's score; ``label_<modality>``
        (batch,), its generated label, NaN for clips that are not trained on; in training also
        ``space`` (batch, 1 + tasks, widest), the features F*, fusion first, and ``known``
        (batch, tasks) bool.
        """
        vectors = self._vectors(batch)
        feature, prediction = self.fusion(torch.cat([*vectors.values()], dim=-1))
        made = {m: self.heads[m](vectors[m]) for m in self.tasks}
        extras = {f"score_{m}": score.detach() for m, (_, score) in made.items()}
        seen = {"fused": feature.detach()} | {m: own.detach() for m, (own, _) in made.items()}
        if not self.memory.begun or not self.tasks:
            return Output(prediction, extras=extras, representations=seen)
        labels = dict(zip(self.tasks, self.memory.of(batch.index), strict=True))
        extras |= {f"label_{m}": y for m, y in labels.items()}
        if not self.training:
            return Output(prediction, extras=extras, representations=seen)
        known = {m: batch.masks[m].any(dim=1) for m in self.tasks}
        losses = {
            f"unimodal_{m}": unimodal_loss(score, labels[m], batch.labels, known[m])
            for m, (_, score) in made.items()
        }
        extras["space"] = torch.stack([self._widened(x) for x in seen.values()], dim=1)
        extras["known"] = torch.stack([*known.values()], dim=1)
        return Output(prediction, losses, extras, seen)

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
        """The LSTMs of audio and of vision, each at a rate of its own, and all else.

        In the place of LSTMs, the sparse phased transformer at the rate that SUGRM has for it.
        """
        options = self.options
        rates = {"audio": options.audio_rate, "vision": options.vision_rate}
        decays = {"audio": options.audio_decay, "vision": options.vision_decay}
        groups = [
            Group(weights, rates[m], decays[m])
            for m in self.modalities
            if m in rates and (weights := tuple(self.encoders[m].parameters()))
        ]
        if self.sequence is not None:
            spt = SUGRMOptions()
            weights = tuple(self.sequence.parameters())
            groups.append(Group(weights, spt.sequence_rate, spt.sequence_decay))
        own = {id(weight) for group in groups for weight in group.parameters}
        return (Group(tuple(p for p in self.parameters() if id(p) not in own)), *groups)

    def outputs(self) -> Mapping[str, Tensor]:
        """``layers_<modality>`` (layers,) of every weighted input, summing to one, and
        ``label_quantiles_<modality>`` (epochs, 5) of the labels generated up to these weights."""
        trails = {f"label_quantiles_{m}": rows for m, rows in self.memory.trajectory().items()}
        return {**layer_weights(self.encoders), **trails}

    def _vectors(self, batch: Batch) -> dict[Modality, Tensor]:
        """F_s (B, width_s) of each modality."""
        if self.recalibration is None and self.sequence is None:
            return {m: self.encoders[m](batch.features[m], batch.masks[m]) for m in self.modalities}
        encoders, frames = dict[Modality, Tokens | EndState](), dict[Modality, Packed]()
        for m in self.modalities:
            encoder, x = self.encoders[m], batch.features[m]
            assert isinstance(encoder, Tokens | EndState)
            encoders[m] = encoder
            frames[m] = Packed.of(x if encoder.mix is None else encoder.mix(x), batch.masks[m])
        if self.recalibration is not None:
            frames = self.recalibration(frames)
        if self.sequence is None:
            return {m: encoder.of(frames[m]) for m, encoder in encoders.items()}
        streams = dict(zip(self.modalities, self.sequence(frames), strict=True))
        return {m: encoders[m].of(frames[m]) if m == "text" else x for m, x in streams.items()}

    def _widened(self, feature: Tensor) -> Tensor:
        """(batch, width) -> (batch, widest), zeros behind."""
        return functional.pad(feature, (0, self.widest - feature.shape[-1]))
