"""The Efficient Multimodal Transformer of `emt_dlfr`: strategies of fusion by promotion units.

Symbols, with M modalities, L layers and width d:

    H_m^l  (N_m, d)     frames of modality m after layer l
    G^l    (B, M, d)    global context: an utterance vector a modality
    H_{n→m}, G_{m→…}    promoted versions, of which a pooling makes one (Eq. 9)

Equation numbers are those of Sun et al. (see `emt_dlfr`).
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from ...layers.packed import Packed
from .options import Options
from .promotion_unit import Promotion, promoted

Made = TypeVar("Made")


class Pooling(nn.Module):
    """Several promoted versions of one thing -> one; by attention it is Eq. 9."""

    def __init__(self, kind: str, candidates: int, width: int) -> None:
        """For `candidates` versions of length `width`; a single version is taken as it is."""
        super().__init__()
        self.kind = kind if candidates > 1 else "average"
        if self.kind == "attention":
            self.inner, self.score = nn.Linear(width, width), nn.Linear(width, 1)
        elif self.kind == "mlp":
            self.map = nn.Linear(candidates * width, width)

    def forward(self, versions: Tensor) -> tuple[Tensor, Tensor | None]:
        """(n, candidates, width) -> (n, width) and the attention (n, candidates), if there is."""
        if self.kind == "attention":
            scores = self.score(torch.tanh(self.inner(versions))).squeeze(-1)
            shares = torch.softmax(scores, dim=1)
            return (shares.unsqueeze(1) @ versions).squeeze(1), shares
        if self.kind == "mlp":
            return self.map(versions.flatten(1)), None
        return versions.mean(dim=1), None


@dataclass(frozen=True)
class Fused:
    """What a fusion strategy leaves."""

    context: Tensor
    """(batch, modalities * width): the inter-modal representation g."""
    frames: Sequence[Packed]
    """(N_m, width) of each modality, promoted."""
    pooling: Tensor | None = None
    """(batch, modalities): whose version of the context the last pooling chose, with OAGL."""


def several(make: Callable[[], Made], count: int, shared: bool) -> list[Made]:
    """`count` times what `make` gives; the same one each time, if it is `shared`."""
    return [make()] * count if shared else [make() for _ in range(count)]


class Fusion(nn.Module):
    """L layers of promotion, with three-level sharing of units (Table 9).

    ``units`` and ``pools`` hold every distinct one once. `layers` has, layer by layer, a pair of
    units for each place, a modality or with OOLL a pair of them: the first promotes frames, the
    second is promoted by them. `pooled` has each layer's poolings.
    """

    def __init__(self, options: Options, modalities: int) -> None:
        """Between `modalities` modalities."""
        super().__init__()
        self.serial = options.update == "serial"
        self.modalities, self.width = modalities, options.width
        self.layers = several(
            lambda: several(
                lambda: several(lambda: Promotion(options), 2, options.share_mpu),
                self.places,
                options.share_modalities,
            ),
            options.depth,
            options.share_layers,
        )
        self.units = nn.ModuleList(
            dict.fromkeys(unit for layer in self.layers for pair in layer for unit in pair)
        )
        self.pooled = several(lambda: self.poolings(options), options.depth, options.share_layers)
        self.pools = nn.ModuleList(dict.fromkeys(pool for own in self.pooled for pool in own))

    @property
    def places(self) -> int:
        """Pairs of units in a layer."""
        return self.modalities

    def poolings(self, options: Options) -> list[Pooling]:
        """Of one layer; frame by frame, unless a strategy says otherwise."""
        return [Pooling(options.pooling, self.modalities, self.width)]

    @abstractmethod
    def forward(self, H: Sequence[Packed], G: Tensor, promote: bool) -> Fused:
        """Frames (N_m, width) of each modality, G (batch, modalities, width).

        `promote`: whether the promoted frames are read afterwards; else those of the last layer
        are computed only where the context needs them.
        """

    def exchange(
        self, units: Sequence[Sequence[Promotion]], H: list[Packed], C: Packed, needed: bool
    ) -> list[Packed]:
        """Each modality and the common sequence C promote each other.

        The common sequence's versions; `H` changes in place, where anyone reads it (`needed`).
        Serially, frames are promoted first and promote the common sequence as they then are
        (section 5.2.1).
        """
        forth = [(unit, x, C) for (unit, _), x in zip(units, H, strict=True)]
        if self.serial:
            H[:] = promoted(forth)
        back = [(unit, C, x) for (_, unit), x in zip(units, H, strict=True)]
        if self.serial or not needed:
            return promoted(back)
        both = promoted(forth + back)
        H[:] = both[: len(H)]
        return both[len(H) :]


class OneToAllGlobalLocal(Fusion):
    """OAGL, Eq. 8: the common sequence is one utterance vector a modality."""

    def poolings(self, options: Options) -> list[Pooling]:
        """Of one layer: of all utterance vectors together."""
        return [Pooling(options.pooling, self.modalities, self.modalities * self.width)]

    def forward(self, H: Sequence[Packed], G: Tensor, promote: bool) -> Fused:
        """As in `Fusion`."""
        H, C, shares = list(H), Packed.stack(G), None
        for number, (units, (pool,)) in enumerate(zip(self.layers, self.pooled, strict=True), 1):
            versions = self.exchange(units, H, C, promote or number < len(self.layers))
            flat = torch.stack([version.rows.view(len(G), -1) for version in versions], dim=1)
            g, shares = pool(flat)  # Eq. 9
            C = C.like(g.view(-1, self.width))
        return Fused(C.rows.view(len(G), -1), H, shares)


class OneToAllLocalLocal(Fusion):
    """OALL, Eq. 7: the common sequence is all frames of all modalities."""

    def forward(self, H: Sequence[Packed], G: Tensor, promote: bool) -> Fused:
        """As in `Fusion`; nobody reads G."""
        H, C = list(H), Packed.concatenate(H)
        owner = Packed.concatenate(
            [x.like(torch.full_like(x.rows[:, :1], m)) for m, x in enumerate(H)]
        ).rows.squeeze(1)
        for number, (units, (pool,)) in enumerate(zip(self.layers, self.pooled, strict=True), 1):
            versions = self.exchange(units, H, C, promote or number < len(self.layers))
            C = C.like(pool(torch.stack([version.rows for version in versions], dim=1))[0])
        means = [C.kept(owner == m).mean() for m in range(self.modalities)]
        return Fused(torch.cat(means, dim=1), H)


class OneToOneLocalLocal(Fusion):
    """OOLL, Eq. 6: every pair of modalities promotes each other's frames."""

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every two modalities."""
        return [(m, n) for n in range(self.modalities) for m in range(n)]

    @property
    def places(self) -> int:
        """Pairs of units in a layer."""
        return len(self.pairs)

    def poolings(self, options: Options) -> list[Pooling]:
        """Of one layer: a modality's versions, frame by frame, are promoted by each other one."""
        return several(
            lambda: Pooling(options.pooling, self.modalities - 1, self.width),
            self.modalities,
            options.share_modalities,
        )

    def forward(self, H: Sequence[Packed], G: Tensor, promote: bool) -> Fused:
        """As in `Fusion`; nobody reads G."""
        for units, pools in zip(self.layers, self.pooled, strict=True):
            pairs = list(zip(self.pairs, units, strict=True))
            forth = [(unit, H[m], H[n]) for (m, n), (unit, _) in pairs]
            first = promoted(forth) if self.serial else [H[m] for m, _ in self.pairs]
            back = [(u, H[n], x) for ((_, n), (_, u)), x in zip(pairs, first, strict=True)]
            found = first + promoted(back) if self.serial else promoted(forth + back)
            versions: list[list[Tensor]] = [[] for _ in H]
            for p, (m, n) in enumerate(self.pairs):
                versions[m].append(found[p].rows)
                versions[n].append(found[len(pairs) + p].rows)
            H = [
                x.like(pool(torch.stack(own, dim=1))[0])
                for x, pool, own in zip(H, pools, versions, strict=True)
            ]
        return Fused(torch.cat([x.mean() for x in H], dim=1), H)


FUSIONS: dict[str, type[Fusion]] = {
    "oagl": OneToAllGlobalLocal,
    "oall": OneToAllLocalLocal,
    "ooll": OneToOneLocalLocal,
}
"""By option `fusion`."""
