"""The LSTM and the GRU over rows are PyTorch's, sequence by sequence."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sedimental.train.layers.lstm import GRU, LSTM, LSTMCells
from sedimental.train.layers.packed import Packed

LENGTHS = [5, 0, 1, 40, 3, 38]


def packed(rows: Tensor) -> Packed:
    return Packed(rows, torch.tensor(LENGTHS), max(LENGTHS))


@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("width", [3, 50])  # less than the gates of 4 * 6, and more
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_states_and_gradients_are_those_of_each_sequence_alone(
    kind: type[LSTM | GRU], width: int, dtype: torch.dtype
) -> None:
    near = 1e-5 if dtype == torch.float32 else 1e-12
    generator = torch.Generator().manual_seed(0)
    layer = kind(width, 6).to(dtype)
    rows = torch.randn(sum(LENGTHS), width, generator=generator, dtype=dtype)
    out = 12 if layer.bidirectional else 6
    towards = torch.randn(len(rows), out, generator=generator, dtype=dtype)
    found = []
    for together in (True, False):
        own = rows.clone().requires_grad_()
        layer.zero_grad()
        if together:
            states = layer(packed(own)).rows
        else:
            parts = own.split(LENGTHS)
            axis = 0 if layer.batch_first else 1
            plain: Any = nn.LSTM.forward if kind is LSTM else nn.GRU.forward
            alone = [
                plain(layer, part.unsqueeze(axis))[0].squeeze(axis) for part in parts if len(part)
            ]
            states = torch.cat(alone)
        torch.autograd.backward(states, towards)
        found.append([states, own.grad, *(weight.grad for weight in layer.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=near, atol=near)


def test_cell_states_and_their_gradients_are_those_of_the_library_s_cell() -> None:
    generator = torch.Generator().manual_seed(0)
    layer, cell = LSTMCells(7, 6).double(), nn.LSTMCell(7, 6).double()
    for one, other in zip(layer.parameters(), cell.parameters(), strict=True):
        other.data.copy_(one.data)
    rows = torch.randn(sum(LENGTHS), 7, generator=generator, dtype=torch.float64)
    towards = torch.randn(2, len(rows), 6, generator=generator, dtype=torch.float64)
    hidden, cells = layer(packed(rows))
    literal = list[tuple[Tensor, Tensor]]()
    for clip in rows.split(LENGTHS):
        state = (rows.new_zeros(6), rows.new_zeros(6))
        for row in clip:
            state = cell(row, state)
            literal.append(state)
    for k, found in enumerate((hidden.rows, cells.rows)):
        torch.testing.assert_close(found, torch.stack([both[k] for both in literal]))
    torch.autograd.backward([hidden.rows, cells.rows], list(towards))
    sums = [(both[k] * towards[k, n]).sum() for n, both in enumerate(literal) for k in (0, 1)]
    torch.stack(sums).sum().backward()
    for one, other in zip(layer.parameters(), cell.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("width", [3, 50])
def test_mixed_precision_stays_near(kind: type[LSTM | GRU], width: int) -> None:
    layer = kind(width, 6)
    rows = torch.randn(sum(LENGTHS), width, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(packed(rows)).rows
    torch.testing.assert_close(mixed.float(), layer(packed(rows)).rows, rtol=0, atol=0.05)
    torch.autograd.backward(mixed.sum())
    assert all(weight.grad is not None for weight in layer.parameters())


def test_no_frames_at_all() -> None:
    nothing = Packed(torch.zeros(0, 3), torch.zeros(4, dtype=torch.int64), 1)
    assert LSTM(3, 6)(nothing).rows.shape == (0, 6)
    assert GRU(3, 6)(nothing).rows.shape == (0, 12)
