"""Sparse Phased Transformer: Cheng et al., "Multimodal Phased Transformer for Sentiment Analysis",
EMNLP 2021, in the form in which SUGRM uses it (`sugrm`; its departures are listed there).

A stream of hidden states a modality, one for every `stride` frames, reads the modality's frames
(input attention), the other streams (cross attention) and itself (self attention), `rounds` times
with one set of weights. A query sees a short window of keys only: query i, counted from 0, sees

    (i + 1) * stride - window + shift + k,   k = 0 … window - 1,   modulo the clip's keys

where the shift is the round's number for cross and self attention and 0 for input attention.
Letters: S streams, P pairs of streams, B clips, L places of the longest clip's stream, w width.
Layers of all streams, or of all pairs, run as one product: `GroupedLinear`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ....cache.spec import Modality
from ...layers.buckets import like_length
from ...layers.dropout import drop
from ...layers.grouped import GroupedLinear, GroupedNorm
from ...layers.linear import Linear
from ...layers.packed import Packed
from ...layers.transformer import sinusoids
from ...layers.window_attention import WindowIndex, attend_windows, take

CIRCLE: tuple[tuple[Modality, Modality], ...] = (
    ("audio", "text"),
    ("text", "vision"),
    ("vision", "audio"),
)
"""Pairs of streams; each has one set of weights for both directions."""
CALL = 256
"""Hidden states of a clip that take as long as a further group of clips (see `grouping`)."""


@dataclass(frozen=True)
class Sizes:
    """What every layer of the transformer knows; the fields are those of SUGRM's `Options`."""

    width: int
    heads: int
    rounds: int
    stride: int
    input_window: int
    cross_window: int
    self_window: int
    embed_dropout: float
    relu_dropout: float
    residual_dropout: float
    attention_dropout: float


class Layer(nn.Module):
    """What the three phases have in common: pre-norm residual attention and feed-forward."""

    def __init__(self, groups: int, sizes: Sizes) -> None:
        """`groups` sets of weights."""
        super().__init__()
        width = sizes.width
        self.sizes = sizes
        self.norm_query = GroupedNorm(groups, width)
        self.out = GroupedLinear(groups, width, width)
        self.norm_inner = GroupedNorm(groups, width)
        self.ff_in = GroupedLinear(groups, width, 4 * width)
        self.ff_out = GroupedLinear(groups, 4 * width, width)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, row: Tensor) -> Tensor:
        """What the queries `row` (n,) find, zero for the others.

        (groups, rows, w), (window, n, w) twice -> (groups, rows, w).
        """
        table = queries.flatten(0, 1)
        dropout = self.sizes.attention_dropout if self.training else 0.0
        found = attend_windows(table.index_select(0, row), keys, values, self.sizes.heads, dropout)
        return found.new_zeros(table.shape).index_copy(0, row, found).view_as(queries)

    def drop(self, x: Tensor, share: float) -> Tensor:
        """`x` with `share` of it dropped, in training."""
        return drop(x, share) if self.training else x

    def finish(self, x: Tensor, found: Tensor) -> Tensor:
        """Add what attention `found` to `x`, then the feed-forward; all (groups, rows, w)."""
        sizes = self.sizes
        x = x + self.drop(self.out(found), sizes.residual_dropout)
        inner = torch.relu(self.ff_in(self.norm_inner(x)))
        inner = self.drop(inner, sizes.relu_dropout)
        return x + self.drop(self.ff_out(inner), sizes.residual_dropout)


class InputLayer(Layer):
    """Input attention: hidden states read their modality's frames, at their own width."""

    def __init__(self, widths: Mapping[Modality, int], sizes: Sizes) -> None:
        """For frames of these widths."""
        super().__init__(len(widths), sizes)
        width = sizes.width
        self.modalities = tuple(widths)
        self.query = GroupedLinear(len(widths), width, width)
        self.norm_frames = nn.ModuleDict({m: nn.LayerNorm(size) for m, size in widths.items()})
        self.frames = nn.ModuleDict({m: Linear(size, 2 * width) for m, size in widths.items()})
        for place, (m, size) in enumerate(widths.items()):
            layer = self.frames[m]
            assert isinstance(layer, Linear)
            # Glorot, as one (w + 2 size, w) matrix of queries, keys and values
            bound = math.sqrt(6 / (2 * width + 2 * size))
            nn.init.uniform_(self.query.weight[place], -bound, bound)
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)

    def read(self, frames: Mapping[Modality, Packed], index: WindowIndex) -> tuple[Tensor, Tensor]:
        """Keys and values in the windows of the hidden states, each (window, n, w), for all rounds.

        The table of keys has the frames of all streams, clip by clip. Windows count real frames;
        positions count all.
        """
        sizes, pairs = self.sizes, list[Tensor]()
        for m in self.modalities:
            X = frames[m]
            places = sinusoids(torch.arange(1, X.frames + 1).to(X.rows), X.rows.shape[1])
            x = X.rows * math.sqrt(sizes.width) + places.index_select(0, X.position)
            x = self.drop(x, sizes.embed_dropout)
            pairs.append(self.frames[m](self.norm_frames[m](x)))
        rows = index.keys(sizes.input_window, sizes.stride)
        keys, values = torch.cat(pairs).chunk(2, dim=1)
        return take(keys, rows), take(values, rows)

    def forward(self, x: Tensor, seen: tuple[Tensor, Tensor], index: WindowIndex) -> Tensor:
        """Hidden states (S, B * L, w) and what `read` gave for `index` -> hidden states."""
        queries = self.query(self.norm_query(x))
        return self.finish(x, self.attend(queries, *seen, index.row))


class CrossLayer(Layer):
    """Cross attention: each stream reads each other one; the results are added.

    A pair's two directions share their weights; in the second, the query and key projections
    change places. A partner without frames adds nothing, and a stream without any partner stays
    as it is.
    """

    def __init__(self, streams: Sequence[Modality], sizes: Sizes) -> None:
        """For two streams or more."""
        places = {m: place for place, m in enumerate(streams)}
        pairs = [(places[a], places[b]) for a, b in CIRCLE if a in places and b in places]
        super().__init__(len(pairs), sizes)
        self.pairs = tuple(pairs)
        self.norm_key = GroupedNorm(len(pairs), sizes.width)
        self.project = GroupedLinear(len(pairs), sizes.width, 3 * sizes.width)

    def windows(self, counts: Tensor, places: int) -> WindowIndex:
        """For streams of `counts` (S, B) hidden states, in the order pair, direction, clip."""
        queries = torch.stack([counts[i] for pair in self.pairs for i in pair])
        keys = torch.stack([counts[j] for i, k in self.pairs for j in (k, i)])
        return WindowIndex.of(queries, keys, places)

    def forward(self, x: Tensor, there: Tensor, index: WindowIndex, shift: int) -> Tensor:
        """Hidden states (S, B * L, w), which clips have any (S, B) -> hidden states."""
        pairs, width, n = len(self.pairs), x.shape[-1], x.shape[1]
        queries = torch.stack([x[i] for pair in self.pairs for i in pair]).view(pairs, 2 * n, width)
        keys = torch.stack([x[j] for i, k in self.pairs for j in (k, i)]).view_as(queries)
        # (P, direction, w, w); the second direction has the two projections the other way round
        both = self.project.weight[..., : 2 * width].reshape(pairs, width, 2, width).transpose(1, 2)
        biases = self.project.bias[..., : 2 * width].reshape(pairs, 2, 1, width)
        q = torch.baddbmm(
            biases.flatten(0, 1),
            self.norm_query(queries).view(2 * pairs, n, width),
            both.flatten(0, 1),
        )
        normed = self.norm_key(keys)
        k = torch.baddbmm(
            biases.flip(1).flatten(0, 1),
            normed.view(2 * pairs, n, width),
            both.flip(1).flatten(0, 1),
        )
        v = self.project.part(normed, 2 * width, 3 * width)
        rows = index.keys(self.sizes.cross_window, shift=shift)
        seen = take(k.view(-1, width), rows), take(v.view(-1, width), rows)
        found = self.finish(queries, self.attend(q.view_as(queries), *seen, index.row))
        return self._add(x, found.view(pairs, 2, there.shape[1], -1, width), there)

    def _add(self, x: Tensor, found: Tensor, there: Tensor) -> Tensor:
        """(S, B * L, w), (P, direction, B, L, w), (S, B) -> (S, B * L, w)."""
        streams = list[Tensor]()
        for stream, own in enumerate(x):
            partners = [
                (found[pair, direction], there[key].view(-1, 1, 1))
                for pair, (i, k) in enumerate(self.pairs)
                for direction, (query, key) in enumerate(((i, k), (k, i)))
                if query == stream
            ]
            total = torch.stack([result * known for result, known in partners]).sum(0)
            anyone = torch.stack([known for _, known in partners]).any(0)
            streams.append(torch.where(anyone, total, own.view_as(total)))
        return torch.stack(streams).view_as(x)


class SelfLayer(Layer):
    """Self attention: each stream reads itself; queries, keys and values share one norm."""

    def __init__(self, streams: int, sizes: Sizes) -> None:
        """For `streams` streams."""
        super().__init__(streams, sizes)
        self.project = GroupedLinear(streams, sizes.width, 3 * sizes.width)

    def forward(self, x: Tensor, index: WindowIndex, shift: int) -> Tensor:
        """Hidden states (S, B * L, w) -> hidden states."""
        width = x.shape[-1]
        three = self.project(self.norm_query(x))
        rows = index.keys(self.sizes.self_window, shift=shift)
        keys, values = take(three.view(-1, 3 * width)[:, width:], rows).chunk(2, dim=2)
        return self.finish(x, self.attend(three[..., :width], keys, values, index.row))


class SparsePhasedTransformer(nn.Module):
    """Frames of every modality -> one vector a clip and modality."""

    def __init__(self, widths: Mapping[Modality, int], sizes: Sizes) -> None:
        """For frames of these widths, any number of modalities."""
        super().__init__()
        self.sizes = sizes
        self.streams = tuple(widths)
        self.hidden = nn.Parameter(nn.init.xavier_uniform_(torch.empty(len(widths), sizes.width)))
        self.reading = InputLayer(widths, sizes)
        self.crossing = CrossLayer(self.streams, sizes) if len(widths) > 1 else None
        self.refining = SelfLayer(len(widths), sizes)
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, frames: Mapping[Modality, Packed]) -> Tensor:
        """(N_m, its width) a modality -> (S, B, w), zero for a clip without frames."""
        streams = list(frames.values())
        if streams[0].rows.device.type != "cpu":
            return self._vectors(frames)
        longest = np.max([x.counts for x in streams], axis=0) // self.sizes.stride
        vectors, order = list[Tensor](), list[Tensor]()
        for group in like_length(longest, streams[0].rows.device, call=CALL):
            order.append(torch.from_numpy(group))
            vectors.append(self._vectors({m: x.take(order[-1]) for m, x in frames.items()}))
        return torch.cat(vectors, dim=1).index_select(1, torch.cat(order).argsort())

    def _vectors(self, frames: Mapping[Modality, Packed]) -> Tensor:
        """The same for some clips, of like length."""
        sizes, width = self.sizes, self.sizes.width
        lengths = torch.stack([frames[m].lengths for m in self.streams])
        counts = (lengths + sizes.stride - 1) // sizes.stride  # hidden states of each clip, (S, B)
        # not from `counts`, as reading them would wait for the device
        places = max(-(-frames[m].longest // sizes.stride) for m in self.streams)
        numbers = torch.arange(1, places + 1).to(self.hidden)
        start = self.hidden.unsqueeze(1) * math.sqrt(width) + sinusoids(numbers, width)
        x = start.unsqueeze(1).expand(-1, lengths.shape[1], -1, -1).flatten(1, 2)
        x = drop(x, sizes.embed_dropout) if self.training else x
        begins = (lengths.flatten().cumsum(0) - lengths.flatten()).view_as(lengths)
        reading = WindowIndex.of(counts, lengths, places, begins)
        crossing = None if self.crossing is None else self.crossing.windows(counts, places)
        refining = WindowIndex.of(counts, counts, places)
        seen = self.reading.read(frames, reading)
        for shift in range(sizes.rounds):
            x = self.reading(x, seen, reading)
            if self.crossing is not None and crossing is not None:
                x = self.crossing(x, counts > 0, crossing, shift)
            x = self.refining(x, refining, shift)
        last = (counts - 1).clamp(min=0).view(*counts.shape, 1, 1).expand(-1, -1, -1, width)
        vectors = x.view(*counts.shape, places, width).gather(2, last).squeeze(2)
        normed: Tensor = self.norm(vectors)
        return normed * (counts > 0).unsqueeze(-1)


SequenceEncoder = Callable[[Mapping[Modality, Packed]], Tensor]
"""Frames of every modality -> (modalities, batch, width): what SUGRM needs of SPT."""
