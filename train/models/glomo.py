"""GLoMo: Zhuang et al., "GLoMo: Global-Local Modal Fusion for Multimodal Sentiment Analysis",
ACM MM 2024, doi:10.1145/3664647.3681527. (No arXiv version is known to us.)

Symbols, with B clips, L frames of one clip, d the common width, n bins, s experts, c modalities:

    U_m   (B, L, width)  cached features of one layer; of text, several side by side
    X_m^g (B, d)         global: first token (Eq. 1) or maximum over frames (Eq. 3)
    X_m^l (B, n * d)     local: maxima of n bins over the clip's length (Eq. 2, 4)
    X̂_m^l (B, d)         k of s experts' mixture (Eq. 5, 6)
    Z     (B, 2c, d)     all of these after the fusion encoder (Eq. 8)
    W_r   (B, c)         attention over the modalities' global or local part (Eq. 10)
    Z_1, Z_2 (B, d)      fused by grain, and by modality under W_g (Eq. 11, 12)
    ŷ     (B,)           in the labels' unit, not clipped; (B, classes) logits for classes

Departures, and choices where paper and released code differ (design, section 9):

- Experts are mixed linearly as Eq. 6 says; ``mixing = "log"`` is the released mixture, the log of
  the mixed exponentials, here without its overflow and its floor at log(2.2e-16).
- Noise on the gate and the smooth load are those of Shazeer et al.: a normal of mean 0, where the
  released load has mean 0.1.
- As released: "MLP" is one Linear without activation; the fusion encoder has 2 post-norm layers
  with a feed-forward width of 2048 and dropout 0.1; ATTN is a small net over the modalities side
  by side, not a product of queries and keys; the two text layers follow each other in time, the
  first named first, so that with three bins the first sees it alone and the last the other alone,
  and the convolution runs over their seam; bins are flattened channel by channel.
- Released code masks nothing. Here frames that are not real take no part in convolution, attention
  and bins; at full length both are the same function. A gap closes: the frames around it become
  neighbours.
- A clip without real frames of a modality: that modality's representations are left out of
  attention and balance terms and count as zero elsewhere.
- CHERMA's text is one sequence of one layer, by the way of audio and vision, as released.
- AdamW's epsilon is PyTorch's 1e-8; the released runs have the older one of transformers, 1e-6.
- The released model reads features as they are; [train] standardises them, if ``input_scaling``
  does not say "none", as the presets of the corpora do.
- A run on fewer modalities has a fusion of that many; a single one has weight 1 in Eq. 10.
- Where Table 4 does not say how a variant is built: SUM, CON, ATTN_F and MUL replace Eq. 8 to 12
  as a whole; CON and the MLP variants are one Linear to d; "Global" and "Local" keep every equation
  with one grain in it, whose own weights then guide Eq. 12.
- One optimiser for the whole run, the released one begins anew every epoch; the best validation
  loss decides, where the released code chooses nothing. Biases are not decayed, norms are.
- Published settings fine-tune BERT at the same rate; over frozen text a higher rate is needed.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ...cache.spec import MODALITIES, Modality
from ..layers.convolution import TemporalConvolution
from ..layers.dropout import Dropout
from ..layers.experts import Experts
from ..layers.layer_mix import LayerMix
from ..layers.linear import SelfInitialized
from ..layers.packed import Packed
from ..layers.transformer import SequenceEncoder, TransformerLayer
from .glomo_options import ENCODER, ENCODERS, PRESETS, RECIPE, RECIPES, Options
from .shared.hooks import Group
from .shared.interface import Batch, InputShape, Output, shaped
from .shared.layer_mix import layer_weights

GRAINS = ("global", "local")
START = 0.02
"""Deviation of the first weights of every Linear, as in BERT."""

__all__ = ["ENCODER", "ENCODERS", "PRESETS", "RECIPE", "RECIPES", "GLoMo", "Options"]


class Unimodal(nn.Module):
    """Frames of one modality -> its global and its refined local representation (Eqs. 1 to 7)."""

    def __init__(self, modality: Modality, shape: InputShape, options: Options) -> None:
        """For one input of this shape; stacked layers follow each other in time where text is read
        by its token (Eq. 2), and else are one sequence of wider frames."""
        super().__init__()
        d, by_token = options.width, modality == "text" and options.text == "token"
        self.layers = shape.stacked if by_token else 1
        width = shape.width // self.layers
        self.bins, experts = options.of("bins", modality), options.of("experts", modality)
        self.mix = None if shape.layers is None else LayerMix(shape.layers)
        globally, locally = options.grains != "local", options.grains != "global"
        self.first = nn.Linear(width, d) if by_token and globally else None
        self.convolution = None if by_token and not locally else TemporalConvolution(width, d)
        self.context = None if by_token else _context(options)
        self.local: Experts | OneLinear | None = None
        if locally and options.local == "mlp":
            self.local = OneLinear(self.bins * d, d)
        elif locally:
            chosen = min(options.chosen, experts)
            self.local = Experts(self.bins * d, d, experts, chosen, options.mixing)
        self.top = globally and not by_token

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """([B, layers, T, width] or without layers), (B, T) -> (B, grains, d), gates, imbalance.

        The gates (B, experts) are None without experts, and the imbalance () then zero.
        """
        mixed = features if self.mix is None else self.mix(features)
        U = [Packed.of(layer, mask) for layer in mixed.chunk(self.layers, dim=2)]
        real, grains = mask.any(dim=1), list[Tensor]()
        gates, imbalance = None, mixed.new_zeros(())
        if self.first is not None:
            grains.append(self.first(U[0].first()))  # Eq. 1: the first token of the first layer
        if self.convolution is not None:
            X = self.convolution(Packed.concatenate(U))
            if self.context is not None:
                X = self.context(X)
            bins = X.maxima(self.bins)  # Eqs. 2 and 4: (B, n, d)
            if self.top:
                grains.append(bins.amax(dim=1))  # Eq. 3: every frame is in some bin
            if self.local is not None:
                flat = bins.transpose(1, 2).flatten(start_dim=1)
                local, gates, imbalance = self.local(flat, real)  # Eqs. 5 to 7
                grains.append(local)
        return torch.stack(grains, dim=1).masked_fill(~real.view(-1, 1, 1), 0), gates, imbalance


def _context(options: Options) -> SequenceEncoder:
    """TE of Eqs. 3 and 4."""
    return SequenceEncoder(
        options.width,
        options.heads,
        options.encoder_layers,
        options.attention_dropout,
        options.dropout,
        options.embedding_dropout,
    )


class OneLinear(nn.Linear):
    """Table 4's "MLP" in the place of experts."""

    def forward(self, local: Tensor, real: Tensor) -> tuple[Tensor, None, Tensor]:  # type: ignore[override]
        """(B, n * d), (B,) -> (B, d), no gates, no imbalance."""
        return super().forward(local), None, local.new_zeros(())


class ScalarAttention(nn.Module):
    """ATTN of Eq. 10: one weight for each of a few vectors, seen side by side.

    softmax(W2 ReLU(W1 [x_1, …, x_c]) / sqrt(d)); a single vector has weight one and needs no W.
    """

    def __init__(self, count: int, width: int, dropout: float) -> None:
        """For `count` vectors of length `width`."""
        super().__init__()
        self.scorer = (
            nn.Sequential(
                nn.Linear(count * width, width),
                Dropout(dropout),
                nn.ReLU(),
                nn.Linear(width, count),
            )
            if count > 1
            else None
        )

    def forward(self, vectors: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """(B, count, d), (B, count) -> weights (B, count), weighted sum (B, d).

        The weights sum to one over the real vectors and are zero elsewhere.
        """
        shown = vectors * real.unsqueeze(2)
        if self.scorer is None:
            return real.to(vectors.dtype), shown.squeeze(1)
        scores = self.scorer(shown.flatten(start_dim=1)) / math.sqrt(vectors.shape[2])
        scores = scores.masked_fill(~real, torch.finfo(scores.dtype).min)
        weights = torch.softmax(scores, dim=1) * real
        return weights, (weights.unsqueeze(2) * shown).sum(dim=1)


class GuidedFusion(nn.Module):
    """Global-guided fusion (Eqs. 8 to 12) of c modalities with one or both grains r."""

    def __init__(self, modalities: int, grains: Sequence[str], options: Options) -> None:
        """`grains` names the representations of each modality, in order."""
        super().__init__()
        d, drop = options.width, options.fusion_dropout
        self.grains, self.out = tuple(grains), 2 * d
        self.encoder = nn.ModuleList(
            TransformerLayer(d, options.heads, options.fusion_feedforward, drop, drop, False)
            for _ in range(options.fusion_layers)
        )
        self.modality = nn.ModuleList(nn.Linear(len(grains) * d, d) for _ in range(modalities))
        self.attention = nn.ModuleDict(
            {grain: ScalarAttention(modalities, d, options.dropout) for grain in grains}
        )
        self.merge = nn.Linear(len(grains) * d, d)
        known = options.guide in (*grains, "attention", "mlp")
        self.guide = options.guide if known else grains[0]
        self.mixup: ScalarAttention | nn.Linear | None = None
        if self.guide == "attention":
            self.mixup = ScalarAttention(modalities, d, options.dropout)
        elif self.guide == "mlp":
            self.mixup = nn.Linear(modalities * d, d)

    def forward(self, X: Tensor, real: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """(B, c, grains, d), (B, c) -> [Z_1, Z_2] (B, 2 d) and W_r (B, c) of each grain."""
        tokens = Packed.of(X.flatten(1, 2), real.repeat_interleave(len(self.grains), dim=1))
        for layer in self.encoder:
            tokens = layer(tokens)
        Z = tokens.unpacked().view_as(X)  # Eq. 8
        Z_m = torch.stack([f(Z[:, m].flatten(1)) for m, f in enumerate(self.modality)], dim=1)  # 9
        W, Z_r = dict[str, Tensor](), list[Tensor]()
        for r, grain in enumerate(self.grains):
            W[grain], fused = self.attention[grain](Z[:, :, r], real)  # Eq. 10
            Z_r.append(fused)
        Z_1 = self.merge(torch.cat(Z_r, dim=1))  # Eq. 11
        if self.mixup is None:
            Z_2 = (W[self.guide].unsqueeze(2) * Z_m).sum(dim=1)  # Eq. 12
        elif isinstance(self.mixup, ScalarAttention):
            _, Z_2 = self.mixup(Z_m, real)
        else:
            Z_2 = self.mixup((Z_m * real.unsqueeze(2)).flatten(start_dim=1))
        return torch.cat([Z_1, Z_2], dim=1), W


class PlainFusion(nn.Module):
    """Table 4's other fusions: all representations alike, whatever modality or grain."""

    def __init__(self, count: int, options: Options) -> None:
        """For `count` representations of a clip."""
        super().__init__()
        d, self.kind, self.out = options.width, options.fusion, options.width
        self.merge: nn.Linear | ScalarAttention | None = None
        if self.kind == "concatenate":
            self.merge = nn.Linear(count * d, d)
        elif self.kind == "attention":
            self.merge = ScalarAttention(count, d, options.dropout)

    def forward(self, X: Tensor, real: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """(B, c, grains, d), (B, c) -> (B, d), and no weights."""
        there, X = real.repeat_interleave(X.shape[2], dim=1), X.flatten(1, 2)
        if isinstance(self.merge, ScalarAttention):
            return self.merge(X, there)[1], {}
        if self.merge is not None:
            return self.merge(X.flatten(start_dim=1)), {}
        if self.kind == "sum":
            return X.sum(dim=1), {}
        return X.masked_fill(~there.unsqueeze(2), 1).prod(dim=1), {}


class GLoMo(nn.Module):
    """Global and local representations of each modality, fused under the global ones' lead."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For the modalities of `inputs`."""
        super().__init__()
        self.balance = options.balance
        self.modalities = tuple(m for m in MODALITIES if m in inputs)
        self.grains = GRAINS if options.grains == "both" else (options.grains,)
        self.encoders = nn.ModuleDict({m: Unimodal(m, inputs[m], options) for m in self.modalities})
        count = len(self.modalities)
        self.fusion: GuidedFusion | PlainFusion
        if options.fusion == "guided":
            self.fusion = GuidedFusion(count, self.grains, options)
        else:
            self.fusion = PlainFusion(count * len(self.grains), options)
        self.head = nn.Linear(self.fusion.out, options.classes)
        if options.first_weights == "normal":
            self._redraw()

    def _redraw(self) -> None:
        """Linear layers as the released model begins: convolutions and attention keep theirs."""
        for part in self.modules():
            if isinstance(part, Experts):
                part.redraw(START)
            elif isinstance(part, nn.Linear) and not isinstance(part, SelfInitialized):
                nn.init.normal_(part.weight, std=START)
                nn.init.zeros_(part.bias)

    def forward(self, batch: Batch) -> Output:
        """Scores (B,) or logits (B, classes).

        Losses: ``balance_<modality>`` (Eq. 7). Extras: ``weights_global`` and ``weights_local``
        (B, modalities in use) of Eq. 10, ``experts_<modality>`` (B, experts), the gates of Eq. 5.
        """
        found, losses, extras = [], dict[str, Tensor](), dict[str, Tensor]()
        for m in self.modalities:
            grains, gates, imbalance = self.encoders[m](batch.features[m], batch.masks[m])
            found.append(grains)
            if gates is not None:
                losses[f"balance_{m}"] = self.balance * imbalance
                extras[f"experts_{m}"] = gates.detach()
        real = torch.stack([batch.masks[m].any(dim=1) for m in self.modalities], dim=1)
        fused, weights = self.fusion(torch.stack(found, dim=1), real)
        extras |= {f"weights_{grain}": w.detach() for grain, w in weights.items()}
        own: dict[str, Tensor] = {"fused": fused.detach()}
        own |= {m: x.flatten(1).detach() for m, x in zip(self.modalities, found, strict=True)}
        return Output(shaped(self.head(fused)), losses, extras, own)  # Eq. 13

    def groups(self) -> Sequence[Group]:
        """Biases and layer weights are not decayed."""
        plain, decayed = list[nn.Parameter](), list[nn.Parameter]()
        for name, weight in self.named_parameters():
            (plain if "bias" in name or "mix.logits" in name else decayed).append(weight)
        return (Group(tuple(decayed)), Group(tuple(plain), weight_decay=0.0))

    def outputs(self) -> Mapping[str, Tensor]:
        """``layers_<modality>`` (layers,) of every weighted input, summing to one."""
        return layer_weights(self.encoders)
