"""A sparsely gated mixture of experts: Shazeer et al., arXiv:1701.06538, as in GLoMo.

Shapes: B clips, s experts of which k speak for a clip.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from .whole_batch import alone

Mixing = Literal["linear", "log"]
TINY = 1e-10
"""Keeps a coefficient of variation finite where every expert is idle."""
LEAST_NOISE = 0.01
"""Deviation of the gate's noise where its own weights ask for none."""


def variation(shares: Tensor) -> Tensor:
    """(experts,) -> (): squared coefficient of variation, with the unbiased variance."""
    if len(shares) == 1:
        return shares.new_zeros(())
    squared: Tensor = shares.var() / (shares.mean().square() + TINY)
    return squared


class Experts(nn.Module):
    """Sparsely gated mixture of experts (Eq. 5 to 7), after Shazeer et al. (arXiv:1701.06538).

    An expert is Linear, ReLU, Linear. All of them are computed and the unchosen multiplied by an
    exact zero: a few small experts as one batched product are faster than any sorting of clips.
    """

    def __init__(self, inputs: int, width: int, experts: int, chosen: int, mixing: Mixing) -> None:
        """`chosen` of `experts` speak for a clip of `inputs` numbers."""
        super().__init__()
        self.chosen = chosen
        self.mixing = mixing
        self.gate = nn.Parameter(torch.zeros(inputs, experts))
        self.noise = nn.Parameter(torch.zeros(inputs, experts))
        self.inner = nn.Parameter(torch.empty(experts, inputs, width))
        self.inner_bias = nn.Parameter(torch.empty(experts, 1, width))
        self.outer = nn.Parameter(torch.empty(experts, width, width))
        self.outer_bias = nn.Parameter(torch.empty(experts, 1, width))
        self.total: Callable[[Tensor], Tensor] = alone
        for weight, bias in ((self.inner, self.inner_bias), (self.outer, self.outer_bias)):
            bound = 1 / math.sqrt(weight.shape[1])  # as `nn.Linear`
            nn.init.uniform_(weight, -bound, bound)
            nn.init.uniform_(bias, -bound, bound)

    def redraw(self, deviation: float) -> None:
        """First weights of the experts anew: normal of this deviation, biases zero."""
        for weight, bias in ((self.inner, self.inner_bias), (self.outer, self.outer_bias)):
            nn.init.normal_(weight, std=deviation)
            nn.init.zeros_(bias)

    def forward(self, local: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, inputs), (B,) -> mixture (B, width), gates (B, experts), imbalance ().

        The imbalance is Eq. 7 without omega, over the clips that are `real`.
        """
        logits, load = self._choice(local)
        gates = torch.softmax(logits, dim=1)  # the unchosen are at -inf: exactly zero
        everyone = local.expand(len(self.inner), -1, -1)
        hidden = torch.baddbmm(self.inner_bias, everyone, self.inner).relu()
        answers = torch.baddbmm(self.outer_bias, hidden, self.outer)  # (experts, B, width)
        if self.mixing == "linear":  # Eq. 6
            mixed = (gates.t().unsqueeze(2) * answers).sum(dim=0)
        else:  # log of the mixture of exponentials, in a form that cannot overflow
            shares = torch.log_softmax(logits, dim=1)
            mixed = torch.logsumexp(answers + shares.t().unsqueeze(2), dim=0)
        counted = real.unsqueeze(1).to(gates.dtype)
        load = (gates > 0).to(gates.dtype) if load is None else load
        importance = self.total((gates * counted).sum(dim=0))
        load = self.total((load * counted).sum(dim=0))
        return mixed, gates, variation(importance) + variation(load)

    def _choice(self, local: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (B, experts), -inf for the unchosen, and each expert's chance to be chosen.

        Scoring knows no chance, nor does a mixture of all: then the load is counted.
        """
        clean = local @ self.gate
        logits, deviation = clean, None
        if self.training:
            deviation = functional.softplus(local @ self.noise) + LEAST_NOISE
            logits = clean + torch.randn_like(clean) * deviation
        # stable: among equals, as all are at first, the lowest numbers win on every device
        values, order = logits.sort(dim=1, descending=True, stable=True)
        out = torch.ones_like(logits, dtype=torch.bool).scatter(1, order[:, : self.chosen], False)
        kept = logits.masked_fill(out, -math.inf)
        if deviation is None or self.chosen == logits.shape[1]:
            return kept, None
        # to be chosen an expert must beat the best of the others but k - 1
        last_in, first_out = values[:, self.chosen - 1, None], values[:, self.chosen, None]
        rival = torch.where(out, last_in, first_out)
        return kept, torch.special.ndtr((clean - rival) / deviation)
