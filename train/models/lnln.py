"""LNLN: Zhang, Wang and Yu, "Towards Robust Multimodal Sentiment Analysis with Incomplete Data",
NeurIPS 2024, arXiv:2409.20012 (Language-dominated Noise-resistant Learning Network).

Written from memory of the paper, without any code of it. Symbols, with B clips, n tokens d wide:

    H_m    (B, n, d)  tokens of a modality whose frames are gone in part (as in `almt`)
    w      (B,)       completeness of text: sigmoid of a linear layer of a learned token that a
                      transformer has let read H_l; its truth is the share of frames that are left
    H_p    (B, n, d)  proxy of text: learned tokens that have read H_a and H_v
    H_d    (B, n, d)  corrected text: (1 - w) H_p + w H_l
    D      (B,)       discriminator: which of H_p and H_l its mean token is of
    R_m    (B, n, d)  restored tokens: a transformer of H_m
    ŷ      (B,)       ALMT's levels and crossmodal transformer, guided by H_d

The loss is the task's + `completeness` mean (w - truth)² + `adversarial` L_adv + `restoration`
Σ_m mean (R_m - H_m of the complete clip)²; L_adv is the cross-entropy of D on H_p and H_l, whose
gradient is reversed on its way into the proxy, so that D cannot tell them apart.

In training every clip loses a share of its frames, the same of all modalities, drawn anew from
0 to `most_missing` whenever it is seen; in scoring it is read as it comes, complete or as [train]
`missing_rate` and `sedimental robustness` leave it.

Departures, and choices where the paper is silent:

- A lost frame is zero, as everywhere here (`shared.missing_frames`): also of cached text, where
  the paper has [UNK] tokens before the encoder. A live encoder reads the whole text.
- Tokens of the complete clip, which R_m is held to, learn nothing from that.
- The dominant modality is the first of the run; of one modality alone there is no proxy, and the
  restoration is what is left. A clip that lacks the dominant modality has truth 0.
- What `almt` departs in. Weights of losses, sizes and recipe are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from ...cache.spec import Modality
from ...config import Fraction
from ..layers.dropout import Dropout
from ..layers.packed import Packed
from . import almt
from .almt import GuidedFusion, ModalityTokens, encoder
from .shared.baseline import Baseline
from .shared.interface import Batch, InputShape, Output

Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Options(almt.Options):
    """[train.lnln]; sizes as of `almt`, the rest is ours."""

    most_missing: Fraction = 0.9
    """Largest share of frames that a training clip loses; 0: trained on complete clips."""
    completeness: Weight = 0.5
    """Weight of the error of w."""
    adversarial: Weight = 0.1
    """Weight of the discriminator's loss."""
    restoration: Weight = 0.1
    """Weight of the restored tokens' error."""


RECIPE = replace(almt.RECIPE, source="ours; as of almt")


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        return -grad


def reversed_gradient(x: Tensor) -> Tensor:
    """`x`, whose gradient changes its sign on the way back."""
    turned: Tensor = _Reversed.apply(x)
    return turned


class Correction(nn.Module):
    """H_d: as much of the dominant modality as is complete, and of its proxy as is not."""

    def __init__(self, others: Mapping[Modality, int], options: Options) -> None:
        """Proxies are made of `others`, tokens all, of width d."""
        super().__init__()
        d = options.width
        self.checker = nn.Parameter(0.1 * torch.randn(1, d))
        self.check, self.complete = encoder(options, 1), nn.Linear(d, 1)
        self.proxy = ModalityTokens(others, options)
        self.discriminator = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 1))

    def forward(
        self, dominant: Tensor, H: Mapping[Modality, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(B, n, d) each -> H_d and H_p (B, n, d), w (B,)."""
        asking = self.checker.expand(len(dominant), 1, -1)
        checked: Packed = self.check(Packed.stack(torch.cat([asking, dominant], dim=1)))
        w = torch.sigmoid(self.complete(checked.first()))
        proxy = self.proxy({m: Packed.stack(x) for m, x in H.items()})
        share = w.unsqueeze(2)
        return (1 - share) * proxy + share * dominant, proxy, w.squeeze(1)

    def adversarial(self, dominant: Tensor, proxy: Tensor) -> Tensor:
        """Cross-entropy of the discriminator; the proxy gets its gradient reversed."""
        means = torch.cat([dominant.detach(), reversed_gradient(proxy)]).mean(dim=1)
        said = self.discriminator(means).squeeze(1)
        truth = (torch.arange(len(said), device=said.device) < len(dominant)).to(said.dtype)
        return functional.binary_cross_entropy_with_logits(said, truth)


class LNLN(Baseline):
    """ALMT's fusion, guided by text that is corrected where it is incomplete."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For any modalities of `inputs`; the first of them is the dominant one."""
        super().__init__(inputs)
        self.options, d = options, options.width
        self.dominant, *others = self.modalities
        self.tokens = nn.ModuleDict(
            {m: ModalityTokens({m: inputs[m].width}, options) for m in self.modalities}
        )
        self.correction = Correction(dict.fromkeys(others, d), options) if others else None
        self.fusion = GuidedFusion(tuple(others), options)
        self.restored = nn.ModuleDict({m: encoder(options, 1) for m in self.modalities})
        self.dropout = Dropout(options.dropout)
        self.head = nn.Linear(d, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores, and in training the losses; extra ``completeness`` (batch,), w, where it is."""
        X = {m: Packed.of(self.frames(batch, m), batch.masks[m]) for m in self.modalities}
        seen, left = X, dict[Modality, Tensor]()
        if self.training:
            rate = self.options.most_missing * torch.rand(
                len(batch.labels), device=batch.labels.device
            )
            seen, left = self.incomplete(X, rate)
        H = {m: self.tokens[m]({m: x}) for m, x in seen.items()}
        guide, losses, extras = H[self.dominant], dict[str, Tensor](), dict[str, Tensor]()
        options = self.options
        if self.correction is not None:
            others = {m: x for m, x in H.items() if m != self.dominant}
            guide, proxy, w = self.correction(guide, others)
            extras["completeness"] = w.detach()
            if self.training:
                error = functional.mse_loss(w, left[self.dominant].to(w.dtype))
                losses["completeness"] = options.completeness * error
                adversarial = self.correction.adversarial(H[self.dominant], proxy)
                losses["adversarial"] = options.adversarial * adversarial
        if self.training:
            losses |= self.restoration(X, H)
        fused = self.fusion(guide, H)
        output = self.answer(self.dropout(fused), {m: x.mean(dim=1) for m, x in H.items()})
        return replace(output, losses=losses, extras=extras)

    def incomplete(
        self, X: Mapping[Modality, Packed], rate: Tensor
    ) -> tuple[dict[Modality, Packed], dict[Modality, Tensor]]:
        """Frames of each modality with a share of `rate` (B,) zeroed, and the share (B,) left."""
        seen, left = dict[Modality, Packed](), dict[Modality, Tensor]()
        for m, x in X.items():
            draws = torch.rand(len(x.rows), device=rate.device)
            shown = draws >= rate[x.clip]
            seen[m] = x.like(x.rows * shown.unsqueeze(1))
            left[m] = x.like(shown.unsqueeze(1).float()).mean().squeeze(1)
        return seen, left

    def restoration(
        self, X: Mapping[Modality, Packed], H: Mapping[Modality, Tensor]
    ) -> dict[str, Tensor]:
        """``restoration_<modality>`` of each."""
        found = {}
        for m, x in X.items():
            with torch.no_grad():
                complete = self.tokens[m]({m: x})
            restored: Packed = self.restored[m](Packed.stack(H[m]))
            error = (restored.padded() - complete).square().mean(dim=(1, 2)) * x.there
            found[f"restoration_{m}"] = self.options.restoration * error.mean()
        return found
