"""Graph Memory Fusion Network: Zadeh, Liang, Poria, Cambria and Morency, "Multimodal Language
Analysis in the Wild: CMU-MOSEI Dataset and Interpretable Dynamic Fusion Graph", ACL 2018.

MFN (`mfn`) with a dynamic fusion graph in the place of its attention. Written from memory of the
paper, without any code of it. Symbols, with N steps of all clips, G the width of a vertex:

    v_m  (N, G)  vertex of one modality: what its cell states of two steps say
    v_j  (N, G)  vertex of several: D_j of all w_ij v_i side by side, i any part of j
    w    (N, E)  efficacies, sigmoid(D_w([all v_m])), one for every edge i -> j and i -> t
    t    (N, G)  D_t of all w_it v_i side by side, i every vertex: what the memory sees

Departures, and choices where the paper is silent:

- A vertex of one modality is Linear and ReLU of its states, for widths differ here; every D is
  Linear, ReLU, dropout, Linear. Sizes and dropout are ours.
- What `mfn` departs in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

from ...cache.spec import Modality
from ...config import Positive
from ..layers.linear import Linear
from . import mfn
from .mfn import MFN, net


@dataclass(frozen=True)
class Options(mfn.Options):
    """[train.graph_mfn]; all of them ours."""

    vertex: Positive = 32
    """Width G of a vertex."""


RECIPE = mfn.RECIPE
Vertex = tuple[Modality, ...]


def vertices(modalities: tuple[Modality, ...]) -> list[Vertex]:
    """Every subset but the empty one, small ones first.

    >>> vertices(("text", "audio"))
    [('text',), ('audio',), ('text', 'audio')]
    """
    sizes = range(1, len(modalities) + 1)
    return [vertex for size in sizes for vertex in combinations(modalities, size)]


class DynamicFusionGraph(nn.Module):
    """t of the cell states: a graph of modalities, pairs and the triple, its edges weighted."""

    def __init__(self, sizes: Mapping[Modality, int], options: mfn.Options) -> None:
        """For cell states of these `sizes`; `options` are a `graph_mfn.Options`."""
        super().__init__()
        assert isinstance(options, Options)
        self.out = width = options.vertex
        self.order = vertices(tuple(sizes))
        self.parts = {j: [i for i in self.order if set(i) < set(j)] for j in self.order}
        inner, share = options.inner, options.dropout
        self.single = nn.ModuleDict({m: Linear(2 * n, width) for m, n in sizes.items()})
        self.several = nn.ModuleDict(
            {
                "_".join(j): net(len(parts) * width, inner, width, share)
                for j, parts in self.parts.items()
                if parts
            }
        )
        edges = sum(map(len, self.parts.values())) + len(self.order)
        self.efficacies = net(len(sizes) * width, inner, edges, share)
        self.output = net(len(self.order) * width, inner, width, share)

    def forward(self, states: Mapping[Modality, Tensor]) -> Tensor:
        """(N, 2 d_m) of each modality -> (N, G)."""
        v = dict[Vertex, Tensor]()
        for m, c in states.items():
            v[(m,)] = torch.relu(self.single[m](c))
        w = torch.sigmoid(self.efficacies(torch.cat(list(v.values()), dim=1)))
        edges = iter(w.unsqueeze(2).unbind(dim=1))  # (N, 1) each
        for j, parts in self.parts.items():
            if parts:
                v[j] = self.several["_".join(j)](
                    torch.cat([next(edges) * v[i] for i in parts], dim=1)
                )
        t: Tensor = self.output(torch.cat([next(edges) * v[i] for i in self.order], dim=1))
        return t


class GraphMFN(MFN):
    """MFN whose memory sees a graph of its modalities."""

    attention = DynamicFusionGraph
