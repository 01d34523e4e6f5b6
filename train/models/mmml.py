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
- Hidden states enter as they are; [train] standardises them (a live encoder's frame by frame) if
  ``input_scaling`` does not say "none", as the pipelines of this paper do.
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
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ...cache.spec import MODALITIES, Modality
from ..layers.linear import Linear
from ..layers.losses import loss_where
from ..layers.packed import Packed
from ..layers.post_norm import PostNormAttention, PostNormFeedForward
from ..layers.transformer import TransformerLayer
from ..layers.whole_batch import alone
from .mmml_options import ENCODER, PRESETS, RECIPE, RECIPES, SMALL, Options
from .shared.interface import Batch, InputShape, Output, shaped
from .shared.layer_mix import LayerMixes

__all__ = ["ENCODER", "MMML", "PRESETS", "RECIPE", "RECIPES", "SMALL", "Options"]


class Side(nn.Module):
    """What a cross-modal encoder layer does to one of its two modalities (section 3.2)."""

    def __init__(self, d: int, options: Options) -> None:
        """Cross attention, self attention, feed-forward: the last two can be left out."""
        super().__init__()
        self.cross = PostNormAttention(d, options.heads, options.dropout)
        self.own = PostNormAttention(d, options.heads, options.dropout)
        self.feedforward = PostNormFeedForward(d, options.expansion * d, options.dropout)
        if not options.self_attention:
            del self.own
        if not options.feedforward:
            del self.feedforward
        self.options = options

    def forward(self, f: Packed, other: Packed, tokens_only: bool) -> Packed:
        """(N, d) seeing (M, d) -> (N, d); with `tokens_only` the first frame's alone, (B, d)."""
        if self.options.self_attention:  # which reads all frames, whoever is asked for
            f = self.cross(f, other)
            f = self.own(tokens(f) if tokens_only else f, f)
        else:
            f = self.cross(tokens(f) if tokens_only else f, other)
        return self.feedforward(f) if self.options.feedforward else f


class CrossModalLayer(nn.Module):
    """Both modalities at once: each attends to the other as it came in."""

    def __init__(self, d: int, options: Options) -> None:
        """Weights of each direction are its own."""
        super().__init__()
        self.sides = nn.ModuleList([Side(d, options) for _ in range(2)])

    def forward(self, a: Packed, b: Packed, tokens_only: bool = False) -> tuple[Packed, Packed]:
        """(N_m, d) of each -> the same; with `tokens_only`, (B, d) of each."""
        one, other = self.sides
        return one(a, b, tokens_only), other(b, a, tokens_only)


class Restoring(nn.Module):
    """Transformer over fused and original frames side by side (section 3.4), one modality."""

    def __init__(self, d: int, options: Options) -> None:
        """For frames of width `d`: twice that wide."""
        super().__init__()
        inner, share = options.restoring_feedforward, options.restoring_dropout
        self.token = nn.Parameter(torch.randn(1, 1, 2 * d))
        self.layers = nn.ModuleList(
            TransformerLayer(2 * d, options.heads, inner, share, share, norm_first=False)
            for _ in range(options.restoring_layers)
        )
        self.register_load_state_dict_pre_hook(_join_projections)  # type: ignore[no-untyped-call]

    def forward(self, fused: Packed, original: Packed) -> Tensor:
        """(N, d) twice -> (B, 2 d) of its own [CLS]."""
        x = with_token(self.token, original.like(torch.cat([fused.rows, original.rows], dim=1)))
        for layer in self.layers:
            x = layer(x)
        return x.first()


def _join_projections(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Weights of runs whose attention had its projections apart, under their names of today."""
    for k in range(99):
        old, new = f"{prefix}attentions.{k}.", f"{prefix}layers.{k}."
        fed = f"{prefix}feedforwards.{k}."
        if f"{old}query.weight" not in state:
            return
        for end in ("weight", "bias"):
            three = [state.pop(f"{old}{name}.{end}") for name in ("query", "key", "value")]
            state[f"{new}projections.{end}"] = torch.cat(three)
            state[f"{new}attended.{end}"] = state.pop(f"{old}out.{end}")
            state[f"{new}norms.0.{end}"] = state.pop(f"{old}norm.{end}")
            state[f"{new}feedforward.0.{end}"] = state.pop(f"{fed}inner.{end}")
            state[f"{new}feedforward.3.{end}"] = state.pop(f"{fed}out.{end}")
            state[f"{new}norms.1.{end}"] = state.pop(f"{fed}norm.{end}")


def tokens(frames: Packed) -> Packed:
    """The first frame of every clip, as a sequence of its own."""
    return Packed.stack(frames.first().unsqueeze(1))


def with_token(token: Tensor, frames: Packed) -> Packed:
    """(1, 1, d) before the frames of every clip."""
    return Packed.concatenate([Packed.stack(token.expand(len(frames.lengths), -1, -1)), frames])


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
        two, network = len(self.modalities) == 2, options.variation != "vectors"
        widths = {m: options.width or inputs[m].width for m in self.modalities}
        if network and len(set(widths.values())) > 1:
            raise ValueError(
                f"mmml: {' and '.join(widths)} are {' and '.join(map(str, widths.values()))} wide; "
                "say to which width they are to be projected with train.mmml.width."
            )
        d = widths[self.modalities[0]]
        if two and network and d % options.heads:
            raise ValueError(f"mmml: width {d} is not a multiple of heads = {options.heads}.")
        self.mixes = LayerMixes({m: inputs[m] for m in self.modalities})
        self.projections = nn.ModuleDict(
            {m: Linear(inputs[m].width, n) for m, n in widths.items() if inputs[m].width != n}
        )
        apart = 2 if options.context == "separate" else 1
        self.scored = options.multi_loss or not two
        self.with_vectors = self.scored or options.variation in ("concatenation", "vectors")
        pooled = "text" in self.modalities and self.with_vectors
        self.pooler = nn.Linear(d, d) if pooled else None  # text comes first
        self.heads = nn.ModuleDict()
        for m in self.modalities if self.scored else ():
            head = nn.Linear(apart * widths[m], options.classes)
            self.heads[m] = nn.Sequential(nn.Dropout(options.dropout), head)
        if two:
            self._build_fusion(widths, d, apart)

    def _build_fusion(self, widths: Mapping[Modality, int], d: int, apart: int) -> None:
        options, together = self.options, sum(widths.values())
        if options.variation != "vectors":
            self.tokens = nn.ParameterDict(
                {m: nn.Parameter(torch.randn(1, 1, d)) for m in self.modalities}
            )
            self.layers = nn.ModuleList(
                [CrossModalLayer(d, options) for _ in range(options.layers)]
            )
        if options.variation == "concatenation":
            self.joints = nn.ModuleDict({m: nn.Linear(2 * d, d) for m in widths})
            self.joint_dropout = nn.Dropout(options.dropout)
        if options.variation == "transformer":
            self.restoring = nn.ModuleDict({m: Restoring(d, options) for m in self.modalities})
            together = 4 * d
        inner = {  # hidden layers of the fused head, as released
            (1, False): (options.head, options.head_inner),
            (1, True): (options.head, options.head, options.head_inner),
            (2, False): (options.head,),
            (2, True): (options.head, options.head_inner),
        }[apart, options.variation == "vectors"]
        head: list[nn.Module] = [nn.Dropout(options.dropout)]
        for before, after in pairwise([apart * together, *inner]):
            head += [nn.Linear(before, after), nn.ReLU()]
        self.head = nn.Sequential(*head, nn.Linear(inner[-1], options.classes))

    @property
    def previous_clips(self) -> int:
        """How many clips before each clip are read."""
        if self.options.context == "none":
            return 0
        return max(self._before(m) for m in self.modalities)

    def _before(self, m: Modality) -> int:
        return self.options.context_text if m == "text" else self.options.context_audio

    def forward(self, batch: Batch) -> Output:
        """Scores; ``score_<modality>`` (batch, …) among the extras, its loss among the losses."""
        vectors: dict[Modality, list[Tensor]] = {m: [] for m in self.modalities}
        fused = list[Tensor]()
        for clips in self._passes(batch):
            f = {m: Packed.concatenate(own) for m, own in clips.items()}
            u = {m: self._vector(m, clips[m], f[m]) for m in f} if self.with_vectors else {}
            for m, vector in u.items():
                vectors[m].append(vector)
            if len(f) == 2:
                fused.append(torch.cat(self._fused(f, u), dim=-1))
        u = {m: torch.cat(own, dim=-1) for m, own in vectors.items() if own}
        scores = {m: shaped(self.heads[m](u[m])) for m in self.heads if m in u}
        there = {m: batch.masks[m].any(dim=1) for m in self.modalities}
        losses = dict[str, Tensor]()
        if fused:
            together = torch.cat(fused, dim=-1)
            prediction = self._alone(shaped(self.head(together)), scores, there)
            losses = {m: self._loss(m, score, batch, there[m]) for m, score in scores.items()}
        else:
            together, prediction = u[self.modalities[0]], scores[self.modalities[0]]
        return Output(
            prediction=prediction,
            losses=losses,
            extras={f"score_{m}": score.detach() for m, score in scores.items()},
            representations={
                "fused": together.detach(),
                **{m: own.detach() for m, own in u.items()},
            },
        )

    def outputs(self) -> Mapping[str, Tensor]:
        """``layers_<modality>`` (layers,) of every weighted input, summing to one."""
        return self.mixes.weights

    def _passes(self, batch: Batch) -> list[dict[Modality, list[Packed]]]:
        """For each pass through the network, the clips that each modality's stream is made of."""
        now = {m: self._frames(batch, m) for m in self.modalities}
        if self.options.context == "none":
            return [{m: [x] for m, x in now.items()}]
        before = {  # the oldest first
            m: [self._frames(b, m) for b in reversed(batch.previous[: self._before(m)])]
            for m in self.modalities
        }
        if self.options.context == "concatenate":
            return [{m: [*before[m], x] for m, x in now.items()}]
        nothing = {m: [x.kept(torch.zeros_like(x.step, dtype=torch.bool))] for m, x in now.items()}
        return [{m: [x] for m, x in now.items()}, {m: before[m] or nothing[m] for m in now}]

    def _frames(self, batch: Batch, m: Modality) -> Packed:
        frames = Packed.of(self.mixes.mixed(m, batch.features[m]), batch.masks[m])
        return frames.map(self.projections[m]) if m in self.projections else frames

    def _vector(self, m: Modality, clips: Sequence[Packed], f: Packed) -> Tensor:
        """u_m (B, d), zero for a clip without frames."""
        if m != "text" or self.pooler is None:
            return f.mean()
        first = [clip.kept(clip.step == 0) for clip in clips]
        seen = f if self.options.text == "mean" else Packed.concatenate(first)
        return torch.tanh(self.pooler(seen.mean())) * f.there.unsqueeze(1)

    def _fused(self, f: Mapping[Modality, Packed], u: Mapping[Modality, Tensor]) -> list[Tensor]:
        """What the fused head reads of each modality: (B, d), or restored by a Transformer 2 d."""
        variation = self.options.variation
        if variation == "vectors":
            return list(u.values())
        a, b = (with_token(self.tokens[m], x) for m, x in f.items())
        for number, layer in enumerate(self.layers, start=1):
            # of the last layer nothing but the tokens is read, where nothing is restored
            a, b = layer(a, b, variation != "transformer" and number == len(self.layers))
        pairs = list(zip(f, (a, b), strict=True))
        if variation == "transformer":
            return [self.restoring[m](x.kept(x.step > 0), f[m]) for m, x in pairs]
        if variation == "concatenation":
            both = {m: self.joint_dropout(torch.cat([x.rows, u[m]], dim=-1)) for m, x in pairs}
            return [torch.relu(self.joints[m](x)) for m, x in both.items()]
        return [a.rows, b.rows]

    def _alone(
        self, fused: Tensor, scores: Mapping[Modality, Tensor], there: Mapping[Modality, Tensor]
    ) -> Tensor:
        """The fused score; of a clip that has one modality only, that one's."""
        for m, score in scores.items():
            (other,) = (n for n in self.modalities if n != m)
            only = there[m] & ~there[other]
            fused = torch.where(only.view(-1, *[1] * (fused.dim() - 1)), score, fused)
        return fused

    def _loss(self, m: Modality, score: Tensor, batch: Batch, there: Tensor) -> Tensor:
        """Of one modality, over the clips that have it, against its own labels if there are any."""
        labels, options = batch.labels, self.options
        if m in batch.targets:
            labels = torch.where(batch.targets[m].isnan(), labels, batch.targets[m])
        return options.unimodal_weight * loss_where(
            there, score, labels, options.unimodal_loss, self.total
        )
