"""The Efficient Multimodal Transformer of `emt_dlfr`: strategies of fusion by promotion units.

Frames are kept as rows, one after the other and without padding, for everything that sees one
frame at a time; they are padded only where frames look at each other. Equation numbers are those
of Sun et al. (see `emt_dlfr`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...layers.row_layout import Layout
from .options import Options
from .promotion_unit import Plan, Promotion


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
    frames: tuple[Tensor, ...]
    """Rows (n_m, width) of each modality, promoted."""
    pooling: Tensor | None
    """(batch, modalities): whose version of the context the last pooling chose, with OAGL."""


@dataclass(frozen=True)
class Request:
    """What is asked of a unit: a target to be promoted by a source, rows and layout of each."""

    unit: int
    target: Tensor
    here: Layout
    source: Tensor
    there: Layout


class Plans(dict[tuple[tuple[Layout, Layout], ...], Plan]):
    """The plans of one pass, by the layouts they are for; every layer has the same."""


class Fusion(nn.Module):
    """L layers of promotion by one of three strategies (Eqs. 6 to 8), with three-level sharing.

    Every distinct unit is held once, in ``units``; sharing is who uses which.
    """

    def __init__(self, options: Options, modalities: int) -> None:
        """Between `modalities` modalities."""
        super().__init__()
        self.strategy, self.depth = options.fusion, options.depth
        self.serial = options.update == "serial"
        self.modalities, self.width, self.heads = modalities, options.width, options.heads
        self.pairs = [(m, n) for n in range(modalities) for m in range(n)]
        pairwise = self.strategy == "ooll"
        layers = 1 if options.share_layers else self.depth
        places = len(self.pairs) if pairwise else modalities
        self.strides = (
            0 if options.share_layers else 1,
            0 if options.share_modalities else 1,
            0 if options.share_mpu else 1,
        )
        self.shape = (
            layers,
            1 if options.share_modalities else places,
            1 if options.share_mpu else 2,
        )
        self.units = nn.ModuleList(
            Promotion(options) for _ in range(self.shape[0] * self.shape[1] * self.shape[2])
        )
        # OOLL pools the versions of each modality, the others the versions of one common thing
        self.pools_a_layer = modalities if pairwise and not options.share_modalities else 1
        candidates = modalities - 1 if pairwise else modalities
        width = modalities * self.width if self.strategy == "oagl" else self.width
        self.pools = nn.ModuleList(
            Pooling(options.pooling, candidates, width) for _ in range(layers * self.pools_a_layer)
        )

    def forward(
        self, frames: Sequence[Tensor], layouts: Sequence[Layout], context: Tensor, promote: bool
    ) -> Fused:
        """Rows (n_m, width) and layout of each modality, G (batch, modalities, width).

        `promote`: whether the promoted frames are read afterwards; else those of the last layer
        are computed only where the context needs them.
        """
        if self.strategy == "oagl":
            return self._global_local(list(frames), layouts, context, promote)
        if self.strategy == "oall":
            return self._all_local(list(frames), layouts, promote)
        return self._one_local(list(frames), layouts)

    def unit(self, layer: int, place: int, back: int) -> int:
        """Number of the unit that promotes frames (`back` = 0), or by frames (1), at `place`: a
        modality or, with OOLL, a pair."""
        at = [stride * i for stride, i in zip(self.strides, (layer, place, back), strict=True)]
        return (at[0] * self.shape[1] + at[1]) * self.shape[2] + at[2]

    def promoted(self, requests: Sequence[Request], plans: Plans) -> list[Tensor]:
        """Rows of each request's target, promoted; requests to one unit are answered together."""
        answers: dict[int, Tensor] = {}
        for number in dict.fromkeys(request.unit for request in requests):
            own = [k for k, request in enumerate(requests) if request.unit == number]
            pairs = tuple((requests[k].here, requests[k].there) for k in own)
            if pairs not in plans:
                plans[pairs] = Plan.of(pairs, self.heads)
            plan = plans[pairs]
            target = torch.cat([requests[k].target for k in own])
            source = torch.cat([requests[k].source for k in own])
            rows = self.units[number](target, source, plan).split(plan.sizes)
            answers |= dict(zip(own, rows, strict=True))
        return [answers[k] for k in range(len(requests))]

    def pool(
        self, layer: int, place: int, versions: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """One of `versions`, each (n, width), and the attention (n, candidates)."""
        place = place if self.pools_a_layer > 1 else 0
        number = self.strides[0] * layer * self.pools_a_layer + place
        pooled: tuple[Tensor, Tensor | None] = self.pools[number](torch.stack(list(versions), 1))
        return pooled

    def _exchange(
        self,
        layer: int,
        frames: list[Tensor],
        layouts: Sequence[Layout],
        common: Tensor,
        there: Layout,
        promote: bool,
        plans: Plans,
    ) -> list[Tensor]:
        """Each modality and the common sequence promote each other; `frames` changes in place.

        The common sequence's versions, (n, width) each. Serially, frames are promoted first and
        promote the common sequence as they then are (section 5.2.1).
        """
        count = len(frames)
        forth, back = list[Request](), list[Request]()
        for m, layout in enumerate(layouts):
            there_m = self.unit(layer, m, 0)
            forth.append(Request(there_m, frames[m], layout, common, there))
        if self.serial:
            frames[:] = self.promoted(forth, plans)
            forth = []
        elif not promote and layer + 1 == self.depth:
            forth = []
        for m, layout in enumerate(layouts):
            back.append(Request(self.unit(layer, m, 1), common, there, frames[m], layout))
        found = self.promoted(forth + back, plans)
        if forth:
            frames[:] = found[:count]
        return found[-count:]

    def _global_local(
        self, frames: list[Tensor], layouts: Sequence[Layout], context: Tensor, promote: bool
    ) -> Fused:
        """OAGL, Eq. 8: the common sequence is one utterance vector a modality."""
        batch = len(context)
        there = Layout.filled(batch, self.modalities, context.device)
        common, shares, plans = context.flatten(0, 1), None, Plans()
        for layer in range(self.depth):
            versions = self._exchange(layer, frames, layouts, common, there, promote, plans)
            flat, shares = self.pool(layer, 0, [version.view(batch, -1) for version in versions])
            common = flat.view(-1, self.width)
        return Fused(common.view(batch, -1), tuple(frames), shares)

    def _all_local(self, frames: list[Tensor], layouts: Sequence[Layout], promote: bool) -> Fused:
        """OALL, Eq. 7: the common sequence is all frames of all modalities."""
        there = Layout.of(torch.cat([layout.mask for layout in layouts], dim=1))
        padded = [layout.pad(rows) for rows, layout in zip(frames, layouts, strict=True)]
        common, plans = there.pick(torch.cat(padded, dim=1)), Plans()
        for layer in range(self.depth):
            versions = self._exchange(layer, frames, layouts, common, there, promote, plans)
            common, _ = self.pool(layer, 0, versions)
        ends = torch.tensor([layout.mask.shape[1] for layout in layouts]).cumsum(0)
        column = there.source % int(ends[-1])
        owner = torch.bucketize(column, ends.to(column.device), right=True)
        means = []
        for m, layout in enumerate(layouts):
            own = (owner == m).nonzero().squeeze(1)
            means.append(layout.mean(common.index_select(0, own)))
        return Fused(torch.cat(means, dim=1), tuple(frames), None)

    def _one_local(self, frames: list[Tensor], layouts: Sequence[Layout]) -> Fused:
        """OOLL, Eq. 6: every pair of modalities promotes each other's frames."""
        plans, count = Plans(), len(self.pairs)
        for layer in range(self.depth):
            forth = [
                Request(self.unit(layer, p, 0), frames[m], layouts[m], frames[n], layouts[n])
                for p, (m, n) in enumerate(self.pairs)
            ]
            first = self.promoted(forth, plans) if self.serial else []
            back = [
                Request(
                    self.unit(layer, p, 1),
                    frames[n],
                    layouts[n],
                    first[p] if self.serial else frames[m],
                    layouts[m],
                )
                for p, (m, n) in enumerate(self.pairs)
            ]
            found = first + self.promoted(back if self.serial else forth + back, plans)
            versions: list[list[Tensor]] = [[] for _ in layouts]
            for p, (m, n) in enumerate(self.pairs):
                versions[m].append(found[p])
                versions[n].append(found[count + p])
            frames = [self.pool(layer, m, several)[0] for m, several in enumerate(versions)]
        means = [layout.mean(rows) for rows, layout in zip(frames, layouts, strict=True)]
        return Fused(torch.cat(means, dim=1), tuple(frames), None)
