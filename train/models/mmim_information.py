"""What MMIM estimates of mutual information: a conditional Gaussian, an entropy, a contrast.

Shapes: B clips, k the width of a vector, C classes of clips (negative and not negative, where
scores are predicted). `entropy` and `contrast` look at all clips of a batch (`hooks.AmongClips`).
"""

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

MOST = 5.0
"""Bound of a log-variance, on either side."""
LOG_2PI = math.log(2 * math.pi)


class Conditional(nn.Module):
    """q(y | x): a Gaussian whose mean and variances, one an entry of y, are learned from x."""

    def __init__(self, given: int, told: int, reference: bool = False) -> None:
        """For x of width `given` and y of width `told`; as many inner units as the wider has.

        `reference`: as many as y has, no bound on log-variances, and only what they weigh distances
        by in the likelihood, as in MMSA.
        """
        super().__init__()
        inner, self.reference = told if reference else max(given, told), reference
        self.mean = nn.Sequential(nn.Linear(given, inner), nn.ReLU(), nn.Linear(inner, told))
        self.spread = nn.Sequential(nn.Linear(given, inner), nn.ReLU(), nn.Linear(inner, told))
        if not reference:
            self.spread.append(nn.Tanh())

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """log q(y | x), (B, given) and (B, told) -> (B,) float32."""
        log_variance = self.spread(x).float()
        if not self.reference:
            log_variance = MOST * log_variance
        distance = (y - self.mean(x)).float().square()
        parts: Tensor = distance * torch.exp(-log_variance)
        if not self.reference:
            parts = parts + log_variance + LOG_2PI
        return -0.5 * parts.sum(dim=-1)

    def as_it_is(self, x: Tensor, y: Tensor) -> Tensor:
        """The same, without a gradient for the weights."""
        weights = {name: weight.detach() for name, weight in self.named_parameters()}
        found: Tensor = functional_call(self, weights, (x, y))
        return found


class ClassMemory(nn.Module):
    """The latest vectors of each class, from batches before this one; they lie in buffers."""

    rows: Tensor
    """(C, slots, k) vectors, the oldest first, then anything."""
    held: Tensor
    """(C,) int64: how many there are."""

    def __init__(self, classes: int, slots: int, width: int) -> None:
        """Room for `slots` vectors of each class."""
        super().__init__()
        self.register_buffer("rows", torch.zeros(classes, slots, width))
        self.register_buffer("held", torch.zeros(classes, dtype=torch.int64))

    @property
    def real(self) -> Tensor:
        """(C, slots) bool: which are vectors."""
        return torch.arange(self.rows.shape[1], device=self.held.device) < self.held.unsqueeze(1)

    def forget(self) -> None:
        """Nothing is held."""
        self.rows.zero_()
        self.held.zero_()

    def take(self, vectors: Tensor, members: Tensor) -> None:
        """A batch's vectors (B, k), by class: `members` (B, C) bool."""
        slots = self.rows.shape[1]
        for kind, (count, mine) in enumerate(zip(self.held.tolist(), members.T, strict=True)):
            new = vectors[mine].to(self.rows.dtype)
            latest = torch.cat([self.rows[kind, :count], new])[-slots:]
            self.rows[kind, : len(latest)] = latest
            self.held[kind] = len(latest)


def entropy(vectors: Tensor, members: Tensor, memory: ClassMemory, ridge: float) -> Tensor:
    """H(Y) of `vectors` (B, k) by a Gaussian a class, () float32: the mean of the classes' own.

    `members` (B, C) bool says which clips are of which class; the vectors that `memory` holds
    count as well, without gradients. `ridge` on the diagonal of a covariance keeps it regular
    however few clips there are. A class of fewer than two takes no part; without any other, the
    entropy is zero.
    """
    exact, width = vectors.float(), vectors.shape[1]
    now, before = members.T.float(), memory.real.float()  # (C, B), (C, slots)
    with torch.autocast(vectors.device.type, enabled=False):
        known = torch.cat([now, before], dim=1)  # (C, B + slots)
        rows = torch.cat([exact.expand(len(now), -1, -1), memory.rows], dim=1)
        count = known.sum(dim=1)
        shared = count.clamp(min=1)[:, None, None]
        mean = known.unsqueeze(1) @ rows / shared  # (C, 1, k)
        centred = (rows - mean) * known.unsqueeze(2)
        regular = ridge * torch.eye(width, dtype=exact.dtype, device=exact.device)
        covariance = centred.transpose(1, 2) @ centred / shared + regular
        _, log_det = torch.linalg.slogdet(covariance)
    enough = count > 1
    own = torch.where(enough, 0.5 * (width * (1 + LOG_2PI) + log_det), 0)
    return own.sum() / enough.sum().clamp(min=1)


def contrast(predicted: Tensor, vectors: Tensor, there: Tensor) -> Tensor:
    """Noise-contrastive loss of predictions and vectors, (B, k) each -> () float32.

    The mean over clips of -log s_ii / sum over j of s_ij, with s_ij = exp(cos(prediction of i,
    vector of j)). Clips that are not `there` (B,) are neither asked nor offered.
    """
    with torch.autocast(vectors.device.type, enabled=False):
        asked = functional.normalize(predicted.float(), dim=-1, eps=1e-6)
        offered = functional.normalize(vectors.float(), dim=-1, eps=1e-6)
        scores = asked @ offered.T
    scores = scores.masked_fill(~there, torch.finfo(scores.dtype).min)
    own = torch.log_softmax(scores, dim=1).diagonal()
    return -torch.where(there, own, 0).sum() / there.sum().clamp(min=1)


def members_of(labels: Tensor, classes: int) -> Tensor:
    """(B,) -> (B, C) bool: by class number, or of two kinds by the sign of a score.

    >>> members_of(torch.tensor([-0.5, 0.0]), 2).tolist()
    [[True, False], [False, True]]
    """
    kinds = (labels >= 0).long() if labels.is_floating_point() else labels
    return functional.one_hot(kinds, classes).bool()
