"""Multimodal Factorization Model: Tsai, Liang, Zadeh, Morency and Salakhutdinov, "Learning
Factorized Multimodal Representations", ICLR 2019, arXiv:1806.06176.

Written from memory of the paper, without any code of it. Reads modalities on common steps. Symbols,
with B clips, N steps of all clips:

    z_y  (B, latent)    of all modalities, by MFN (`mfn`): a linear layer of its last states
    z_m  (B, latent)    of one modality, by an LSTM: a linear layer of its last state
    f_y  (B, factor)    G_y(z_y), what tells the label
    f_m  (B, factor)    G_m(z_m), what only this modality has
    X̂_m  (N, width_m)   F_m(f_m, f_y): an LSTM that reads both at every step, and a linear layer
    ŷ    (B,)           D(f_y)

The loss is the task's + Σ_m `reconstruction` |X_m - X̂_m|² + `prior` MMD([z_y, all z_m], N(0, I)),
the paper's Wasserstein objective.

Departures, and choices where the paper is silent:

- MMD has a Gaussian kernel exp(-|z - z'|² / latent entries). Means over the prior are taken exactly
  rather than over draws of it: the loss has no noise of its own.
- Squared errors are means over steps and entries. A modality that a clip lacks is not restored.
- What `mfn` departs in. Sizes, weights, dropout and recipe are ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ...cache.spec import Modality
from ...config import Positive
from ..layers.dropout import Dropout
from ..layers.linear import Linear
from ..layers.lstm import LSTM
from ..layers.packed import Packed
from ..layers.whole_batch import alone
from . import mfn
from .mfn import MFN
from .shared.interface import Batch, InputShape, Output

Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Options(mfn.Options):
    """[train.mfm]; all of them ours."""

    latent: Positive = 32
    """Entries of each z."""
    factor: Positive = 32
    """Width of each factor f."""
    decoder: Positive = 32
    """Units of the LSTM that restores a modality, and of that which reads it alone."""
    reconstruction: Weight = 0.1
    """Weight of the squared error of restored frames."""
    prior: Weight = 0.1
    """Weight of the distance of latents from the prior."""


RECIPE = mfn.RECIPE


def factors(inputs: int, out: int, dropout: float) -> nn.Sequential:
    """A net G."""
    return nn.Sequential(nn.Linear(inputs, out), nn.ReLU(), Dropout(dropout), nn.Linear(out, out))


def discrepancy(z: Tensor, gather: Callable[[Tensor], Tensor]) -> Tensor:
    """Squared MMD of the rows of z (B, d) and N(0, I), kernel exp(-|a - b|² / d) -> ().

    `gather` has the rows of all processes that share the batch. With s = d / 2 the means over the
    prior are (s / (1 + s))^(d / 2) exp(-|z|² / (2 + 2 s)) and (s / (2 + s))^(d / 2).
    """
    z = gather(z.float())
    d = z.shape[1]
    s = d / 2
    lengths = z.square().sum(dim=1)
    apart = (lengths[:, None] + lengths - 2 * z @ z.T).clamp(min=0)
    with_prior = float((s / (1 + s)) ** s) * torch.exp(-lengths / (2 + 2 * s))
    prior = float((s / (2 + s)) ** s)
    return torch.exp(-apart / d).mean() - 2 * with_prior.mean() + prior


class Restoration(nn.Module):
    """F_m: frames of one modality out of its own and the common factor."""

    def __init__(self, factor: int, hidden: int, width: int) -> None:
        """Frames of length `width`."""
        super().__init__()
        self.lstm = LSTM(2 * factor, hidden)
        self.out = Linear(hidden, width)

    def forward(self, both: Tensor, like: Packed) -> Packed:
        """(B, 2 * factor), as many steps as `like` has -> (N, width)."""
        states: Packed = self.lstm(like.like(both.index_select(0, like.clip)))
        return states.map(self.out)


class MFM(MFN):
    """Factors that tell the label, and factors that restore each modality."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For any modalities of `inputs`."""
        super().__init__(options, inputs)
        self.options, self.gather = options, alone
        self.latent = nn.Linear(self.fusion.out, options.latent)
        factor, share = options.factor, options.dropout
        self.common = factors(options.latent, factor, share)
        self.encoders, self.latents, self.private, self.restored = (
            nn.ModuleDict() for _ in range(4)
        )
        for m in self.modalities:
            width = inputs[m].width
            self.encoders[m] = LSTM(width, options.decoder)
            self.latents[m] = nn.Linear(options.decoder, options.latent)
            self.private[m] = factors(options.latent, factor, share)
            self.restored[m] = Restoration(factor, options.decoder, width)
        self.post = nn.Sequential(nn.Linear(factor, factor), nn.ReLU(), Dropout(share))
        self.head = nn.Linear(factor, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores, and in training what is restored of every modality, and the prior's loss."""
        X = self.on_common_steps(batch)
        own, u = self.fusion(X)
        z_y = self.latent(torch.cat([*own.values(), u], dim=1))
        f_y = self.common(z_y)
        output = self.answer(self.post(f_y), own)
        if not self.training:
            return output
        z = {m: self.latents[m](self.encoders[m](x).last()) for m, x in X.items()}
        losses = {}
        for m, x in X.items():
            both = torch.cat([self.private[m](z[m]), f_y], dim=1)
            missed = self.restored[m](both, x).rows - x.rows
            error = x.like(missed.square().mean(dim=1, keepdim=True)).mean().squeeze(1)
            there = batch.masks[m].any(dim=1)
            losses[f"reconstruction_{m}"] = self.options.reconstruction * (error * there).mean()
        latents = torch.cat([z_y, *z.values()], dim=1)
        losses["prior"] = self.options.prior * discrepancy(latents, self.gather)
        return replace(output, losses=losses)
