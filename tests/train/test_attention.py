"""Attention among frames without padding, and its dropout, against PyTorch's own."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sedimental.train.layers import attention
from sedimental.train.layers.attention import attend, attention_buckets, cross_attention
from sedimental.train.layers.dropout import Dropout, kept
from sedimental.train.layers.packed import Packed


def packed(rows: Tensor, lengths: list[int]) -> Packed:
    return Packed(rows, torch.tensor(lengths), max(lengths))


def test_dropout_drops_its_share() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for share in (0.1, 0.3, 0.5, 0.9):
            keep, scale = kept((401, 503), share, torch.device("cpu"))
            assert keep.float().mean().item() == pytest.approx(1 - share, abs=0.005)
            assert scale == pytest.approx(1 / (1 - share), rel=1e-3)
        dropped = Dropout(0.25).train()(torch.ones(1000, 100))
        assert dropped.mean().item() == pytest.approx(1, abs=0.01)
        assert not Dropout(1.0).train()(torch.ones(5)).any()
    assert torch.equal(Dropout(0.5).eval()(torch.ones(5)), torch.ones(5))
    assert torch.equal(Dropout(0.0).train()(torch.ones(5)), torch.ones(5))


def test_attention_with_dropout_is_attention() -> None:
    """So small a share drops nothing, and the two ways agree."""
    query, key, value = torch.randn(3, 4, 2, 6, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(6) < torch.tensor([[6], [1], [4], [5]])
    plain = attend(query, key, value, mask, 0.0)
    torch.testing.assert_close(attend(query, key, value, mask, 1e-9), plain)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        many = torch.stack([attend(query, key, value, mask, 0.5) for _ in range(3000)])
    torch.testing.assert_close(many.mean(dim=0), plain, rtol=0, atol=0.15)


def test_gradients_are_those_of_pytorchs_attention() -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(6) < torch.tensor([[6], [1], [4], [5]])
    three = torch.randn(3, 4, 2, 6, 5, generator=generator, dtype=torch.float64)
    towards = torch.randn(4, 2, 6, 5, generator=generator, dtype=torch.float64)
    found = []
    for keys in (mask, None):
        for way in ("ours", "theirs"):
            own = three.clone().requires_grad_()
            if way == "ours":
                mixed = attend(*own, keys, 0.0)  # type: ignore[call-arg]
            else:
                shown = None if keys is None else keys[:, None, None]
                mixed = functional.scaled_dot_product_attention(*own, attn_mask=shown)  # type: ignore[misc]
            torch.autograd.backward(mixed, towards)
            found.append((mixed, own.grad))
        torch.testing.assert_close(found[-2], found[-1], rtol=1e-12, atol=1e-12)


def test_what_is_dropped_is_dropped_in_the_gradient_too() -> None:
    """The way back goes by the same weights: against differences, with the same draws."""
    generator = torch.Generator().manual_seed(0)
    three = torch.randn(3, 2, 2, 4, 3, generator=generator, dtype=torch.float64)
    mask = torch.arange(4) < torch.tensor([[4], [3]])

    def dropped(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return attend(query, key, value, mask, 0.4)

    assert torch.autograd.gradcheck(dropped, tuple(x.requires_grad_() for x in three.clone()))


@pytest.mark.parametrize("most", [1, 60, 2**18])
def test_sequences_meet_their_own_keys(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows without padding, in buckets of any size: as sequence by sequence."""
    monkeypatch.setattr(attention, "MOST", most)
    generator = torch.Generator().manual_seed(0)
    queries, keys = [3, 0, 5, 2, 5], [4, 2, 1, 0, 6]
    query = torch.randn(sum(queries), 8, generator=generator)
    key_value = torch.randn(sum(keys), 16, generator=generator)
    here, there = packed(query, queries), packed(key_value, keys)
    assert len(attention_buckets(here, there, 2)) == (1 if most == 2**18 else 3)
    found = cross_attention(here, there, 2, 0.0)
    parts = query.split(queries), key_value.split(keys)
    for own, q, kv in zip(found.split(queries), *parts, strict=True):
        if len(q) and len(kv):
            split = (x.unflatten(1, (2, -1)).transpose(0, 1) for x in (q, *kv.chunk(2, dim=1)))
            wanted = functional.scaled_dot_product_attention(*split).transpose(0, 1).flatten(1)
            torch.testing.assert_close(own, wanted)
        else:
            assert not own.any()
