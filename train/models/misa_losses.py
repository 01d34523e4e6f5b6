"""MISA's losses between spaces: how alike shared vectors are, and how different from private ones.

Both look at a batch as a whole: what they sum over clips goes through `total` (see
`hooks.AcrossClips`). Shapes: M modalities, B clips, d the width; ``there`` (M, B) says which clips
have a modality, and the others take no part.

CMD: Zellinger et al., "Central Moment Discrepancy (CMD) for Domain-Invariant Representation
Learning", ICLR 2017, arXiv:1702.08811.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn import functional

Total = Callable[[Tensor], Tensor]
SHORTEST = 1e-6
"""A centred vector that is no longer has no direction, and is left as good as zero."""


def moments(vectors: Tensor, there: Tensor, order: int, total: Total) -> Tensor:
    """Mean and central moments up to `order` of each modality, (M, B, d) -> (M, order, d).

    A modality that no clip has gets zeros.
    """
    count, mean, centred = _centred(vectors, there, total)
    powers = torch.stack([centred**k for k in range(2, order + 1)], dim=1)  # (M, order - 1, B, d)
    higher = total(powers.sum(dim=2)) / count.clamp(min=1).unsqueeze(2)
    return torch.cat([mean, higher], dim=1)


def similarity(vectors: Tensor, there: Tensor, order: int, total: Total) -> Tensor:
    """Mean over pairs of modalities of their central moment discrepancy; (M, B, d) -> ().

    It is the sum over orders of the distance of two modalities' moments. Entries of `vectors` lie
    in 0..1, an interval of length 1, by whose powers the distances would be divided. A pair of
    which one is in no clip counts as alike.
    """
    one, other = _pairs(len(vectors), vectors.device)
    found = moments(vectors.float(), there, order, total)
    apart: Tensor = vector_norm(found[one] - found[other], dim=-1).sum(dim=1)
    known = total(there.float().sum(dim=1)) > 0
    return (apart * (known[one] & known[other])).mean()


def difference(shared: Tensor, private: Tensor, there: Tensor, total: Total) -> Tensor:
    """How far from orthogonal spaces are; (M, B, d) twice -> ().

    The sum, over each modality's shared and private space and over every two private ones, of the
    squared Frobenius norm of H1ᵀ H2 over its d² entries. Rows of an H are a clip's vector less
    the batch's mean, of length 1.
    """
    count = len(shared)
    one, other = _pairs(count, shared.device)
    spaces = torch.cat([shared, private]).float()
    known = torch.cat([there, there])
    rows = functional.normalize(_centred(spaces, known, total)[2], dim=-1, eps=SHORTEST)
    own = torch.arange(count, device=shared.device)
    first, second = torch.cat([own, count + one]), torch.cat([count + own, count + other])
    with torch.autocast(shared.device.type, enabled=False):
        products = total(rows[first].transpose(1, 2) @ rows[second])  # (pairs, d, d)
    return products.square().mean(dim=(1, 2)).sum()


def _centred(vectors: Tensor, there: Tensor, total: Total) -> tuple[Tensor, Tensor, Tensor]:
    """Clips (M, 1), mean (M, 1, d) and what is left without it (M, B, d), zero where not there."""
    real = there.to(vectors.dtype).unsqueeze(-1)
    count = total(real.sum(dim=1))
    mean = (total((vectors * real).sum(dim=1)) / count.clamp(min=1)).unsqueeze(1)
    return count, mean, (vectors - mean) * real


def _pairs(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Every two of `count`, once: (pairs,) and (pairs,)."""
    first, second = torch.triu_indices(count, count, offset=1, device=device)
    return first, second
