"""SUGRM on padded batches, with the sparse phased transformer stream by stream, pair by pair."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sedimental.train.layers.grouped import GroupedLinear, GroupedNorm
from sedimental.train.layers.transformer import sinusoids
from sedimental.train.models.shared.hooks import Training
from sedimental.train.models.shared.interface import Batch, Output
from sedimental.train.models.sugrm.label_generator import unimodal_loss
from sedimental.train.models.sugrm.model import SUGRM
from sedimental.train.models.sugrm.sparse_phased_transformer import CIRCLE

from .common import front, linear


class PaddedSUGRM(nn.Module):
    """`model` on every frame and every hidden state of a padded batch."""

    def __init__(self, model: SUGRM) -> None:
        super().__init__()
        assert model.options.sequence == "spt"
        assert model.options.recalibrate
        self.model: Any = model  # the parts of nn.Module are typed as tensors or modules

    def forward(self, batch: Batch) -> Output:
        model = self.model
        masks: dict[str, Tensor] = {m: batch.masks[m] for m in model.modalities}
        features: dict[str, Tensor] = {
            m: linear(model.projections[m], batch.features[m])
            if m in model.projections
            else batch.features[m]
            for m in model.modalities
        }
        features = self._recalibrated(features, masks)
        vectors = self._vectors(features, masks)
        feature, prediction = model.fusion(torch.cat(vectors, dim=1))
        made = [model.heads[m](vectors[model.modalities.index(m)]) for m in model.tasks]
        if not (self.training and model.memory.begun):
            return Output(prediction)
        labels = model.memory.of(batch.index)
        known = torch.stack([batch.masks[m].any(dim=1) for m in model.tasks], dim=1)
        losses = {
            f"unimodal_{m}": unimodal_loss(score, labels[place], batch.labels, known[:, place])
            for place, (m, (_, score)) in enumerate(zip(model.tasks, made, strict=True))
        }
        space = torch.stack([feature, *(own for own, _ in made)], dim=1).detach()
        return Output(prediction, losses, {"space": space, "known": known})

    def begin(self, training: Training) -> None:
        self.model.begin(training)

    def after_step(self, batch: Batch, output: Output, epoch: int) -> None:
        self.model.after_step(batch, output, epoch)

    def _recalibrated(
        self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        part = self.model.recalibration
        real = {m: masks[m].unsqueeze(-1) for m in features}
        means = [
            (x * real[m]).sum(dim=1) / real[m].sum(dim=1).clamp(min=1) for m, x in features.items()
        ]
        joint = torch.relu(part.squeeze(torch.cat(means, dim=1)))
        return {
            m: x * 2 * torch.sigmoid(part.excite[m](joint)).unsqueeze(1)
            for m, x in features.items()
        }

    def _vectors(self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> list[Tensor]:
        """(batch, w) a modality."""
        spt = self.model.sequence
        sizes, names = spt.sizes, spt.streams
        lengths = {m: front(masks[m]) for m in names}
        counts = {m: (n + sizes.stride - 1) // sizes.stride for m, n in lengths.items()}
        streams: dict[str, Tensor] = {}
        read: dict[str, list[Tensor]] = {}
        for place, m in enumerate(names):
            x, rows = features[m], -(-features[m].shape[1] // sizes.stride)
            start = spt.hidden[place] * math.sqrt(sizes.width)
            stream = (start + places(rows, sizes.width, start)).expand(len(x), -1, -1)
            streams[m] = functional.dropout(stream, sizes.embed_dropout, self.training)
            frames = x * math.sqrt(sizes.width) + places(x.shape[1], x.shape[2], x)
            frames = functional.dropout(frames, sizes.embed_dropout, self.training)
            frames = linear(spt.reading.frames[m], spt.reading.norm_frames[m](frames))
            window = windows(rows, lengths[m], sizes.input_window, sizes.stride, 0)
            read[m] = [gathered(half, window) for half in frames.chunk(2, dim=2)]
        for shift in range(sizes.rounds):
            for place, m in enumerate(names):
                layer, x = spt.reading, streams[m]
                queries = one(layer.query, place, norm(layer.norm_query, place, x))
                streams[m] = self._finished(layer, place, x, self._look(queries, *read[m]))
            if spt.crossing is not None:
                streams = self._crossed(streams, counts, shift)
            for place, m in enumerate(names):
                streams[m] = self._refined(place, streams[m], counts[m], shift)
        found = []
        for m in names:
            last = (counts[m] - 1).clamp(min=0)
            vector = spt.norm(streams[m][torch.arange(len(last)), last])
            found.append(vector * (counts[m] > 0).unsqueeze(1))
        return found

    def _crossed(
        self, streams: Mapping[str, Tensor], counts: Mapping[str, Tensor], shift: int
    ) -> dict[str, Tensor]:
        layer = self.model.sequence.crossing
        width, window = layer.sizes.width, layer.sizes.cross_window
        added: dict[str, list[tuple[Tensor, Tensor]]] = {m: [] for m in streams}
        pairs = [(a, b) for a, b in CIRCLE if a in streams and b in streams]
        for pair, names in enumerate(pairs):
            for back, (m, other) in enumerate((names, (names[1], names[0]))):
                x, keys = streams[m], norm(layer.norm_key, pair, streams[other])
                queries = norm(layer.norm_query, pair, x)
                queries = part(layer.project, pair, queries, back * width)
                halves = [
                    part(layer.project, pair, keys, first)
                    for first in ((1 - back) * width, 2 * width)
                ]
                rows = windows(x.shape[1], counts[other], window, 1, shift)
                seen = [gathered(half, rows) for half in halves]
                found = self._finished(layer, pair, x, self._look(queries, *seen))
                added[m].append((found, (counts[other] > 0).view(-1, 1, 1)))
        done: dict[str, Tensor] = {}
        for m, terms in added.items():  # type: ignore[assignment]
            total = torch.stack([x * there for x, there in terms]).sum(dim=0)
            anyone = torch.stack([there for _, there in terms]).any(dim=0)
            done[m] = torch.where(anyone, total, streams[m])
        return done

    def _refined(self, place: int, x: Tensor, counts: Tensor, shift: int) -> Tensor:
        layer = self.model.sequence.refining
        width = layer.sizes.width
        normed = norm(layer.norm_query, place, x)
        queries = part(layer.project, place, normed, 0)
        rows = windows(x.shape[1], counts, layer.sizes.self_window, 1, shift)
        seen = [gathered(part(layer.project, place, normed, k * width), rows) for k in (1, 2)]
        return self._finished(layer, place, x, self._look(queries, *seen))

    def _look(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(batch, L, w), (batch, L, window, w) twice -> (batch, L, w)."""
        heads = self.model.sequence.sizes.heads
        query, key, value = (x.unflatten(-1, (heads, -1)) for x in (queries, keys, values))
        scores = (query.unsqueeze(2) * key).sum(dim=-1) * query.shape[-1] ** -0.5
        shares = torch.softmax(scores, dim=2)  # (batch, L, window, heads)
        found: Tensor = (shares.unsqueeze(-1) * value).sum(dim=2).flatten(2)
        return found

    def _finished(self, layer: Any, group: int, x: Tensor, found: Tensor) -> Tensor:
        sizes = layer.sizes
        x = x + self._drop(one(layer.out, group, found), sizes.residual_dropout)
        inner = torch.relu(one(layer.ff_in, group, norm(layer.norm_inner, group, x)))
        inner = self._drop(inner, sizes.relu_dropout)
        return x + self._drop(one(layer.ff_out, group, inner), sizes.residual_dropout)

    def _drop(self, x: Tensor, share: float) -> Tensor:
        return functional.dropout(x, share, self.training)


def places(count: int, width: int, like: Tensor) -> Tensor:
    return sinusoids(torch.arange(1, count + 1).to(like), width)


def one(layer: GroupedLinear, group: int, x: Tensor) -> Tensor:
    return functional.linear(x, layer.weight[group].T, layer.bias[group, 0])


def part(layer: GroupedLinear, group: int, x: Tensor, first: int) -> Tensor:
    """As many of the outputs from `first` on as `x` is wide."""
    end = first + x.shape[-1]
    return functional.linear(
        x, layer.weight[group, :, first:end].T, layer.bias[group, 0, first:end]
    )


def norm(layer: GroupedNorm, group: int, x: Tensor) -> Tensor:
    weight, bias = layer.weight[group, 0], layer.bias[group, 0]
    return functional.layer_norm(x, x.shape[-1:], weight, bias)


def windows(rows: int, lengths: Tensor, window: int, stride: int, shift: int) -> Tensor:
    """(batch, rows, window): the keys that each query sees."""
    first = (torch.arange(rows).unsqueeze(1) + 1) * stride - window + shift
    return (first + torch.arange(window)) % lengths.clamp(min=1).view(-1, 1, 1)


def gathered(x: Tensor, rows: Tensor) -> Tensor:
    """(batch, keys, w), (batch, L, window) -> (batch, L, window, w)."""
    flat = (torch.arange(len(x)) * x.shape[1]).view(-1, 1, 1) + rows
    return x.flatten(0, 1).index_select(0, flat.flatten()).view(*rows.shape, -1)
