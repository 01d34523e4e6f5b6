"""The recurrence of an LSTM over rows, with its backward pass written out.

The library's LSTM multiplies padding too, and cannot start from gates whose product with the input
has been made. Here each step is as long as there are clips that have it, and the backward pass has
one product a step: derivatives of the gates are made for all steps at once.
"""

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from .packed import Packed


def steps_first(frames: Packed) -> tuple[Tensor, list[int]]:
    """Rows in the order in which a recurrence needs them: all first frames, the clip with most
    frames first, then all second ones; and how many frames each step has."""

    def make() -> tuple[Tensor, list[int]]:
        lengths = frames.counts
        longest = np.argsort(-lengths, kind="stable")
        first = (np.cumsum(lengths) - lengths)[longest]
        steps = np.arange(lengths.max(initial=0))[:, None]
        there = steps < lengths[longest]
        order = torch.from_numpy((first + steps)[there]).to(frames.rows.device)
        return order, there.sum(axis=1).tolist()

    return frames.once("steps first", make)


def recurrence(frames: Packed, gates: Tensor, weight: Tensor) -> tuple[Packed, Packed]:
    """Hidden states h and cells c (N, H) of each frame, from zero, of the LSTM whose `gates`
    (N, 4 * H) are what the input adds to them, biases too, and whose `weight` (4 * H, H) is that of
    the state before; gates stand as in `nn.LSTM`: i, f, g, o.

        c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g)        h_t = sigmoid(o) tanh(c_t)
    """
    order, sizes = steps_first(frames)
    with torch.autocast(gates.device.type, enabled=False):
        hidden, cells = _Recurrence.apply(gates.index_select(0, order), weight, sizes)
    blank = torch.empty_like(hidden)
    return (
        frames.like(blank.index_copy(0, order, hidden)),
        frames.like(blank.index_copy(0, order, cells)),
    )


class _Recurrence(torch.autograd.Function):
    """`recurrence` of rows in the order of `steps_first`."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, gates: Tensor, weight: Tensor, sizes: list[int]
    ) -> tuple[Tensor, Tensor]:
        """(N, 4 * H), (4 * H, H), steps -> (N, H) twice."""
        size = weight.shape[1]
        gates, back = gates.clone(), weight.T.contiguous()
        hidden, cells, curved = (gates.new_empty(len(gates), size) for _ in range(3))
        h = c = gates.new_zeros(sizes[0] if sizes else 0, size)
        parts = (torch.split(x, sizes) if sizes else () for x in (gates, hidden, cells, curved))
        for now, h_now, c_now, tanh_c in zip(*parts, strict=True):
            n = len(now)
            now.addmm_(h[:n], back)
            now[:, : 2 * size].sigmoid_()
            now[:, 2 * size : 3 * size].tanh_()
            now[:, 3 * size :].sigmoid_()
            i, f, g, o = now.chunk(4, dim=1)
            torch.mul(f, c[:n], out=c_now).addcmul_(i, g)
            torch.tanh(c_now, out=tanh_c)
            torch.mul(o, tanh_c, out=h_now)
            h, c = h_now, c_now
        ctx.save_for_backward(gates, weight, hidden, cells, curved)
        ctx.sizes = sizes  # type: ignore[attr-defined]
        return hidden, cells

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, to_hidden: Tensor, to_cells: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        """(N, H) twice -> gradients of the gates and of the weight."""
        gates, weight, hidden, cells, curved = ctx.saved_tensors  # type: ignore[attr-defined]
        sizes: list[int] = ctx.sizes  # type: ignore[attr-defined]
        size = weight.shape[1]
        first = sizes[0] if sizes else 0
        h_before, c_before = _before(hidden, sizes), _before(cells, sizes)
        i, f, g, o = gates.chunk(4, dim=1)
        by_cell = torch.empty_like(gates)  # of each gate, by c_t in three parts, by h_t in one
        for part, (outer, gate, bound) in zip(
            by_cell.chunk(4, dim=1),
            ((g, i, False), (c_before, f, False), (i, g, True), (curved, o, False)),
            strict=True,
        ):
            slope = 1 - gate * gate if bound else gate - gate * gate
            torch.mul(outer, slope, out=part)
        cell_by_hidden = o * (1 - curved * curved)
        back_h = back_c = gates.new_zeros(0, size)
        end = len(gates)
        for step in range(len(sizes) - 1, -1, -1):
            begin, later = end - sizes[step], len(back_h)
            h, c = to_hidden[begin:end], to_cells[begin:end]
            if later:
                h = torch.cat([h[:later] + back_h, h[later:]])
                c = torch.cat([c[:later] + back_c, c[later:]])
            c = torch.addcmul(c, h, cell_by_hidden[begin:end])
            now = by_cell[begin:end]
            now[:, : 3 * size].view(-1, 3, size).mul_(c.unsqueeze(1))
            now[:, 3 * size :].mul_(h)
            back_h, back_c = now @ weight, c * f[begin:end]
            end = begin
        return by_cell, by_cell[first:].T @ h_before[first:], None


def _before(states: Tensor, sizes: list[int]) -> Tensor:
    """The state before each of these (N, H), zero before a clip's first."""
    if not sizes:
        return states
    parts = [part[:n] for part, n in zip(torch.split(states, sizes)[:-1], sizes[1:], strict=True)]
    return torch.cat([states.new_zeros(sizes[0], states.shape[1]), *parts])
