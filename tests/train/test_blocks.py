"""Shared parts do what their plain counterparts do."""

import pytest
import torch
from torch import nn

from sedimental.train.layers.linear import IMAGES, Linear
from sedimental.train.layers.packed import Packed


@pytest.mark.parametrize("rows", [0, 1, IMAGES - 1, IMAGES, 3 * IMAGES + 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_frame_linear_is_linear(rows: int, dtype: torch.dtype) -> None:
    fast, plain = Linear(7, 5).to(dtype), nn.Linear(7, 5).to(dtype)
    plain.load_state_dict(fast.state_dict())
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, 7, dtype=dtype, generator=generator)
    towards = torch.randn(rows, 5, dtype=dtype, generator=generator)
    found = []
    for layer in (fast, plain):
        own = x.clone().requires_grad_()
        out = layer(own)
        torch.autograd.backward(out, towards)
        assert own.grad is not None
        found.append([out, own.grad, *(p.grad for p in layer.parameters())])
    for one, other in zip(*found, strict=True):
        assert one is not None
        assert other is not None
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_layers_see_real_frames_only() -> None:
    mask = torch.tensor([[True, False, True], [False, False, False]])
    seen = []

    def layer(frames: torch.Tensor) -> torch.Tensor:
        seen.append(frames)
        return frames[:, :1] + 1

    frames = torch.arange(12.0).view(2, 3, 2)
    out = Packed.of(frames, mask).map(layer).unpacked()
    assert torch.equal(seen[0], torch.tensor([[0.0, 1.0], [4.0, 5.0]]))
    assert out.tolist() == [[[1.0], [0.0], [5.0]], [[0.0], [0.0], [0.0]]]
