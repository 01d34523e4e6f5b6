"""Multimodal Multi-Loss Fusion Network: Wu, Gong, Koo and Hirschberg, "Multimodal Multi-loss Fusion
Network for Sentiment Analysis", NAACL 2024, arXiv:2308.00264.

Written from the paper and the facts known of its released code; the fusion network, on cached
layers of the two encoders or behind live ones. Symbols, with B clips, T_m frames of modality m, d
the common width:

    f_m  (B, 1 + T_m, d)  a learned [CLS] vector, then the frames
    u_m  (B, d)           utterance vector: tanh(Linear(<s>)) of text, mean of the frames of others
    ŷ_m  (B,)             score of one modality, from u_m
    ŷ    (B,)             score of the fused [CLS] vectors; the loss is the sum over all scores

Departures, and choices where the paper is silent:

- L1 as released, where the paper says L2: `unimodal_loss` here and ``loss`` in [train].
- One optimizer; the released code makes it anew every epoch.
- The utterance vector of text is a trained Linear + tanh on ``<s>``: RoBERTa checkpoints have no
  pooler weights, so a cached ``pooler_output`` would be noise.
- Frames are masked by their true number; the released code reads it off attention maps.
- Encoders of different or unwanted widths are first projected (`width`); the paper has one width.
- The transformer variation prepends a [CLS] of width 2d of its own and has no Linear before the
  head: so the released sizes come out.
- The paper encodes the text of two clips before in one pass, and so does a live encoder; cached, it
  is the frames of each. With context = "concatenate" their ``<s>`` vectors are averaged.
- Live encoders are the paper's but for these: no LayerDrop and no masking of audio frames in
  training; Chinese RoBERTa's own pooler is not taken over; audio is masked, not padded to 6 s.
- A clip that lacks one of the two modalities gets the other's own score, as the paper proposes for
  its subnets. Two streams are what the network has: of three modalities, vision is left out as in
  the paper; in a pair it takes the place of the one that is missing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ...cache.spec import MODALITIES, Modality
from ...config import Fraction, Positive
from ..layers.length_buckets import CPU, frames_to_read, like_length
from ..layers.linear import FrameLinear, mean_frame, on_real_frames
from ..layers.losses import Distance, task_loss
from .mmml_parts import CrossModalLayer, Restoring, joined_clips, with_token
from .shared.hooks import EncoderRecipe, Recipe, alone
from .shared.interface import Batch, InputShape, Output, shaped
from .shared.layer_mix import LayerMixes

CALL = 128
"""Frames that take as long as a further group of clips (see `grouping`)."""
Count = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Options:
    """[train.mmml]; the defaults are the paper's for CMU-MOSI and CMU-MOSEI; `PRESETS` has more."""

    width: Positive | None = None
    """Common width d, a multiple of `heads`; unset: that of the inputs (they must be equal)."""
    layers: Positive = 5
    """Cross-modal encoder layers."""
    heads: Positive = 12
    """Attention heads; the paper has 16 at width 1024."""
    expansion: Positive = 4
    """Inner units of a feed-forward network, times d."""
    self_attention: bool = True
    """Table 8: whether a layer has self attention."""
    feedforward: bool = True
    """Table 8: whether a layer has feed-forward networks."""
    dropout: Fraction = 0.3
    """Share dropped of what a sub-layer adds, of attention weights, and before the heads."""
    variation: Literal["fused", "concatenation", "transformer", "vectors"] = "fused"
    """Section 3.4: [CLS] vectors alone; with the utterance vectors; with a Transformer over fused
    and original frames. `vectors` is Table 3's baseline: utterance vectors, no fusion network."""
    restoring_layers: Positive = 3
    """Transformer layers of that variation; 2 for CH-SIMS."""
    restoring_feedforward: Positive = 2048
    """Width of their feed-forward."""
    head: Positive = 768
    """Units of the first hidden layer of the fused head."""
    head_inner: Positive = 512
    """Units of its second hidden layer."""
    multi_loss: bool = True
    """Section 3.3: whether each modality has a score and a loss of its own."""
    unimodal_loss: Distance = "l1"
    """Distance of those scores and their labels."""
    unimodal_weight: Weight = 1.0
    """Alpha of the single modalities; the fused score has 1."""
    context: Literal["none", "concatenate", "separate"] = "none"
    """Section 3.5: whether the clips before join the clip's frames, or are fused apart."""
    context_text: Count = 2
    """Clips before of which text is read."""
    context_audio: Count = 1
    """The same for audio (and vision)."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


SMALL = Options(
    width=64, layers=1, heads=4, expansion=2, head=64, head_inner=32, restoring_feedforward=128
)
PRESETS: Mapping[str, Options] = {
    "mosi": Options(),
    "mosei": Options(),
    "sims": Options(restoring_layers=2),
    "frozen": SMALL,
}
"""By corpus, for encoders 768 wide; `frozen` is for frozen features, which 96 million weights would
learn by heart."""


def _recipe(rate: float) -> Recipe:
    return Recipe(
        learning_rate=rate,
        batch_size=16,
        epochs=100,
        patience=8,
        weight_decay=0.01,
        warmup=0.0,
        schedule="constant",
        optimizer="adamw",
        source="MMML, appendix A.1; no limit of epochs is told",
    )


ENCODER = EncoderRecipe(1e-5, 0.01, spare=False, source="MMML, appendix A.1; decay as released")
"""Of text and audio, where they are live: one rate and one decay for every weight."""
RECIPE = _recipe(1e-5)
RECIPES: Mapping[str, Recipe] = {name: _recipe(1e-5) for name in ("mosi", "mosei", "sims")} | {
    "frozen": _recipe(1e-3)
}


class MMML(nn.Module):
    """Cross-modal fusion of two modalities, each with a score of its own."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For one or two modalities of `inputs`; vision beside both others is not looked at.

        Raises ValueError if widths and heads do not go together.
        """
        super().__init__()
        self.options = options
        self.total: Callable[[Tensor], Tensor] = alone
        self.modalities = tuple(m for m in MODALITIES if m in inputs)[:2]
        two = len(self.modalities) == 2
        widths = {inputs[m].width for m in self.modalities}
        if options.width is None and len(widths) > 1:
            raise ValueError(
                f"mmml: {' and '.join(self.modalities)} are "
                f"{' and '.join(str(inputs[m].width) for m in self.modalities)} wide; "
                "say to which width they are to be projected with train.mmml.width."
            )
        d = options.width or widths.pop()
        if two and d % options.heads:
            raise ValueError(f"mmml: width {d} is not a multiple of heads = {options.heads}.")
        self.mixes = LayerMixes({m: inputs[m] for m in self.modalities})
        self.projections = nn.ModuleDict()
        for m in self.modalities:
            if inputs[m].width != d:
                self.projections[m] = FrameLinear(inputs[m].width, d)
        apart = 2 if options.context == "separate" else 1
        self.scored = options.multi_loss or not two
        self.with_vectors = self.scored or options.variation in ("concatenation", "vectors")
        self.pooler = nn.Linear(d, d) if "text" in self.modalities and self.with_vectors else None
        self.heads = nn.ModuleDict()
        if self.scored:
            for m in self.modalities:
                head = nn.Linear(apart * d, options.classes)
                self.heads[m] = nn.Sequential(nn.Dropout(options.dropout), head)
        if two:
            self._build_fusion(d, apart)

    def _build_fusion(self, d: int, apart: int) -> None:
        options, per_modality = self.options, d
        if options.variation != "vectors":
            self.tokens = nn.ParameterDict(
                {m: nn.Parameter(torch.randn(1, 1, d)) for m in self.modalities}
            )
            self.layers = nn.ModuleList(
                [CrossModalLayer(d, options) for _ in range(options.layers)]
            )
        if options.variation == "concatenation":
            self.joints = nn.ModuleDict({m: nn.Linear(2 * d, d) for m in self.modalities})
        if options.variation == "transformer":
            self.restoring = nn.ModuleDict({m: Restoring(d, options) for m in self.modalities})
            per_modality = 2 * d
        widths = [2 * apart * per_modality, options.head]
        if apart == 1 and options.variation == "vectors":
            widths.append(options.head)
        if apart == 1:
            widths.append(options.head_inner)
        head: list[nn.Module] = [nn.Dropout(options.dropout)]
        for before, after in pairwise(widths):
            head += [nn.Linear(before, after), nn.ReLU()]
        self.head = nn.Sequential(*head, nn.Linear(widths[-1], options.classes))

    @property
    def previous_clips(self) -> int:
        """How many clips before each clip are read."""
        if self.options.context == "none":
            return 0
        return max(self._before(m) for m in self.modalities)

    def forward(self, batch: Batch) -> Output:
        """Scores; ``score_<modality>`` (batch, …) among the extras, its loss among the losses."""
        options = self.options
        now = {m: self._frames(batch, m) for m in self.modalities}
        before = {
            m: [self._frames(b, m) for b in reversed(batch.previous[: self._before(m)])]
            for m in (self.modalities if options.context != "none" else ())
        }
        if options.context == "separate":
            empty = {m: [(x[:, :1] * 0, mask[:, :1] & False)] for m, (x, mask) in now.items()}
            passes = [{m: [now[m]] for m in now}, {m: before[m] or empty[m] for m in now}]
        else:
            passes = [{m: [*before.get(m, ()), now[m]] for m in now}]
        vectors: dict[Modality, list[Tensor]] = {m: [] for m in now}
        fused = []
        for parts in passes:
            streams = {m: joined_clips(parts[m]) for m in parts}
            if self.with_vectors:
                for m in parts:
                    vectors[m].append(self._vector(m, parts[m], *streams[m]))
            if len(now) == 2:
                own = {m: vectors[m][-1] for m in now if vectors[m]}
                fused.append(self._fused(streams, own))
        own = {m: torch.cat(v, dim=-1) for m, v in vectors.items() if v}
        scores = {
            m: shaped(self.heads[m](own[m])) for m in (self.modalities if self.scored else ())
        }
        there = {m: batch.masks[m].any(dim=1) for m in self.modalities}
        if not fused:
            together = own[self.modalities[0]]
            prediction = scores[self.modalities[0]]
        else:
            together = torch.cat(fused, dim=-1)
            prediction = shaped(self.head(together))
            prediction = self._alone(prediction, scores, there)
        losses = self._losses(batch, scores, there) if fused else {}
        kept: dict[str, Tensor] = {"fused": together.detach()}
        return Output(
            prediction=prediction,
            losses=losses,
            extras={f"score_{m}": score.detach() for m, score in scores.items()},
            representations=kept | {m: vector.detach() for m, vector in own.items()},
        )

    def outputs(self) -> Mapping[str, Tensor]:
        """``layers_<modality>`` (layers,) of every weighted input, summing to one."""
        return self.mixes.weights

    def _before(self, modality: Modality) -> int:
        own = self.options
        return own.context_text if modality == "text" else own.context_audio

    def _frames(self, batch: Batch, m: Modality) -> tuple[Tensor, Tensor]:
        """(B, T, d) and mask (B, T) of one modality."""
        x = self.mixes.mixed(m, batch.features[m])
        if m in self.projections:
            x = on_real_frames(self.projections[m], x, batch.masks[m])
        return x.masked_fill(~batch.masks[m].unsqueeze(-1), 0), batch.masks[m]

    def _vector(
        self, m: Modality, clips: Sequence[tuple[Tensor, Tensor]], frames: Tensor, mask: Tensor
    ) -> Tensor:
        """u_m (B, d), zero for a clip without frames."""
        if m != "text" or self.pooler is None:
            return mean_frame(frames, mask)
        first = [(x[torch.arange(len(x)), real.int().argmax(dim=1)], real) for x, real in clips]
        tokens = torch.stack([x for x, _ in first], dim=1)
        there = torch.stack([real.any(dim=1) for _, real in first], dim=1)
        vector = torch.tanh(self.pooler(mean_frame(tokens, there)))
        return vector * there.any(dim=1, keepdim=True)

    def _fused(
        self,
        streams: Mapping[Modality, tuple[Tensor, Tensor]],
        vectors: Mapping[Modality, Tensor],
    ) -> Tensor:
        """(B, 2 d) or, restored by a Transformer, (B, 4 d)."""
        if self.options.variation == "vectors":
            return torch.cat([vectors[m] for m in self.modalities], dim=-1)
        if next(iter(streams.values()))[0].device.type != "cpu":
            return self._fused_group(streams, vectors)
        ends = torch.stack([frames_to_read(mask) for _, mask in streams.values()])
        lengths = ends.sum(dim=0).numpy()
        done, order = list[Tensor](), list[Tensor]()
        for group in like_length(lengths, CPU, call=CALL):
            clips = torch.from_numpy(group)
            order.append(clips)
            own = {
                m: (x[:, : max(1, longest)].index_select(0, clips), mask[clips, : max(1, longest)])
                for (m, (x, mask)), longest in zip(
                    streams.items(), ends[:, clips].amax(dim=1).tolist(), strict=True
                )
            }
            spoken = {m: vector.index_select(0, clips) for m, vector in vectors.items()}
            done.append(self._fused_group(own, spoken))
        return torch.cat(done).index_select(0, torch.cat(order).argsort())

    def _fused_group(
        self,
        streams: Mapping[Modality, tuple[Tensor, Tensor]],
        vectors: Mapping[Modality, Tensor],
    ) -> Tensor:
        """The same for some clips, of like length."""
        names, variation = self.modalities, self.options.variation
        pairs = [with_token(self.tokens[m], *streams[m]) for m in names]
        masks = [mask for _, mask in pairs]
        found: Sequence[Tensor] = [x for x, _ in pairs]
        for number, layer in enumerate(self.layers, start=1):
            # of the last layer nothing but the tokens is read, where nothing is restored
            first = variation != "transformer" and number == len(self.layers)
            found = layer(found, masks, first)
        if variation == "transformer":
            done = [
                self.restoring[m](x[:, 1:], *streams[m]) for m, x in zip(names, found, strict=True)
            ]
        elif variation == "concatenation":
            done = [
                torch.relu(self.joints[m](torch.cat([x[:, 0], vectors[m]], dim=-1)))
                for m, x in zip(names, found, strict=True)
            ]
        else:
            done = [x[:, 0] for x in found]
        return torch.cat(done, dim=-1)

    def _alone(
        self, fused: Tensor, scores: Mapping[Modality, Tensor], there: Mapping[Modality, Tensor]
    ) -> Tensor:
        """The fused score; of a clip that has one modality only, that one's."""
        if not scores:
            return fused
        a, b = self.modalities
        for one, other in ((a, b), (b, a)):
            only = there[one] & ~there[other]
            only = only.view(-1, *[1] * (fused.dim() - 1))
            fused = torch.where(only, scores[one], fused)
        return fused

    def _losses(
        self, batch: Batch, scores: Mapping[Modality, Tensor], there: Mapping[Modality, Tensor]
    ) -> dict[str, Tensor]:
        """Weighted losses of the single modalities, over the clips that have them."""
        losses: dict[str, Tensor] = {}
        for m, score in scores.items():
            labels = batch.labels
            if m in batch.targets:
                labels = torch.where(batch.targets[m].isnan(), labels, batch.targets[m])
            losses[m] = self.options.unimodal_weight * self._loss(score, labels, there[m])
        return losses

    def _loss(self, score: Tensor, labels: Tensor, there: Tensor) -> Tensor:
        """Mean over the clips that are `there`, without asking the device how many; 0 for none."""
        if labels.is_floating_point():
            reached = torch.where(there, score, labels)  # at no distance
            loss = task_loss(reached, labels, self.options.unimodal_loss)
        else:
            each = functional.cross_entropy(score, labels, reduction="none")
            loss = (each * there).mean()
        clips, reached = self.total(torch.stack([torch.ones_like(there), there]).sum(dim=1))
        scaled: Tensor = loss * clips / reached.clamp(min=1)
        return scaled
