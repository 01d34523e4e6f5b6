"""`Packed` against lists of clips: every way in, on and out."""

import pytest
import torch
from torch import Tensor

from sedimental.train.layers.packed import Packed
from sedimental.train.layers.padded_mode import padded_mode

LENGTHS = [3, 0, 5, 1]


def clips(seed: int = 0, lengths: list[int] = LENGTHS) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 2, generator=generator) for n in lengths]


def packed(parts: list[Tensor]) -> Packed:
    lengths = torch.tensor([len(part) for part in parts])
    return Packed(torch.cat(parts), lengths, max(1, int(lengths.max())))


def same(found: Packed, wanted: list[Tensor]) -> None:
    assert found.lengths.tolist() == [len(part) for part in wanted]
    assert found.longest >= max(1, *map(len, wanted))
    for own, part in zip(found.rows.split(found.lengths.tolist()), wanted, strict=True):
        torch.testing.assert_close(own, part)


def test_gaps_close_and_everything_finds_its_way_back() -> None:
    x = torch.randn(3, 4, 2)
    mask = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]]).bool()
    found = Packed.of(x, mask)
    same(found, [x[k, mask[k]] for k in range(3)])
    assert found.clip.tolist() == [0, 0, 0, 2]
    assert found.step.tolist() == [0, 1, 2, 0]
    assert found.position.tolist() == [0, 2, 3, 1]
    assert found.there.tolist() == [True, False, True]
    torch.testing.assert_close(found.unpacked(), x * mask.unsqueeze(2))
    assert torch.equal(found.again(2 * x).rows, 2 * found.rows)
    torch.testing.assert_close(found.padded()[0], x[0, mask[0]])
    assert found.mask.sum(dim=1).tolist() == [3, 0, 1]


def test_sequences_side_by_side_and_one_after_the_other() -> None:
    one, other = clips(0), clips(1, [2, 4, 0, 3])
    same(Packed.batch([packed(one), packed(other)]), one + other)
    both = [torch.cat(pair) for pair in zip(one, other, strict=True)]
    same(Packed.concatenate([packed(one), packed(other)]), both)
    doubled = Packed.batch([packed(one), packed(one)])
    for half in doubled.split(2):
        same(half, one)
    stacked = torch.randn(3, 4, 2)
    same(Packed.stack(stacked), list(stacked))
    torch.testing.assert_close(Packed.stack(stacked).padded(), stacked)


def test_some_frames_and_some_clips() -> None:
    parts = clips()
    same(packed(parts).kept(packed(parts).step != 0), [part[1:] for part in parts])
    same(packed(parts).take(torch.tensor([2, 0, 1])), [parts[2], parts[0], parts[1]])
    turned = packed(parts).map(lambda rows: rows[packed(parts).backwards])
    same(turned, [part.flip(0) for part in parts])


def test_one_vector_of_each_clip() -> None:
    parts, zero = clips(), torch.zeros(2)
    found = packed(parts)
    for pool, literal in (
        (found.first(), lambda part: part[0]),
        (found.last(), lambda part: part[-1]),
        (found.mean(), lambda part: part.mean(dim=0)),
        (found.maxima()[:, 0], lambda part: part.amax(dim=0)),
    ):
        wanted = torch.stack([literal(part) if len(part) else zero for part in parts])  # type: ignore[no-untyped-call]
        torch.testing.assert_close(pool, wanted)


@pytest.mark.parametrize("call", [0, 512])
def test_attended_is_a_softmax_over_each_clip(call: int) -> None:
    parts, scores = clips(), clips(3)
    found = packed(parts).attended(torch.cat(scores), call)
    for own, part, score in zip(found, parts, scores, strict=True):
        if len(part):
            torch.testing.assert_close(own, torch.softmax(score, dim=0).T @ part)
    assert found.isfinite().all()


def test_padded_mode_gives_the_same_vectors() -> None:
    x, score = torch.randn(3, 5, 2), torch.randn(3, 5, 4)
    mask = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()
    wanted = Packed.of(x, mask)
    with padded_mode():
        found = Packed.of(x, mask)
        assert len(found.rows) == 15
        torch.testing.assert_close(found.mean(), wanted.mean())
        torch.testing.assert_close(found.unpacked(), wanted.unpacked())
        pooled = found.attended(found.again(score).rows)
    torch.testing.assert_close(pooled, wanted.attended(wanted.again(score).rows))


def test_what_is_computed_of_lengths_is_shared_and_follows_no_other() -> None:
    found = packed(clips())
    assert found.like(found.rows * 2).buckets() is found.buckets()
    assert found.like(found.rows * 2).number == found.number
    assert packed(clips()).number != found.number
    again = Packed.batch([found, found.like(-found.rows)])
    assert Packed.batch([found.like(found.rows + 1), found]).number == again.number
