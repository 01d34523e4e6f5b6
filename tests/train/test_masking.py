"""Feature masking hides spans, never more than asked, never everything."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sedimental.train.data.spec_augment import hide
from sedimental.train.models.shared.interface import Batch

shares = st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0])
masks = st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=1, max_size=6)


def batch_of(mask: list[list[bool]], width: int, layers: int | None = None) -> Batch:
    real = torch.tensor(mask)
    shape = (*real.shape, width) if layers is None else (len(real), layers, 9, width)
    return Batch({"audio": torch.ones(shape)}, {"audio": real}, torch.zeros(len(real)), real[:, 0])


def hidden(before: Batch, time: float, width: float, seed: int) -> torch.Tensor:
    after = hide(before, time, width, torch.Generator().manual_seed(seed))
    assert torch.equal(after.masks["audio"], before.masks["audio"])
    return after.features["audio"] == 0


@settings(max_examples=60)
@given(masks, st.integers(1, 12), shares, shares, st.integers(0, 99))
def test_never_more_than_asked_and_never_all(
    mask: list[list[bool]], width: int, time: float, share: float, seed: int
) -> None:
    batch = batch_of(mask, width)
    gone = hidden(batch, time, share, seed)
    for clip, real in zip(gone, batch.masks["audio"], strict=True):
        whole_columns = clip.all(dim=0)
        assert whole_columns.sum() <= min(share * width + 1e-6, width - 1)
        frames = (clip | whole_columns)[:, ~whole_columns].all(dim=1)
        assert not frames[~real].any()  # padding is not worth hiding
        assert frames.sum() <= max(0, min(time * real.sum() + 1e-6, real.sum() - 1))
        among = frames[real].int()
        assert among.diff().clamp(min=0).sum() + among[:1].sum() <= 1  # one span of real frames


def test_layers_share_their_spans() -> None:
    gone = hidden(batch_of([[True] * 9] * 4, 10, layers=3), 0.5, 0.5, seed=4)
    assert torch.equal(gone[:, 0], gone[:, 1])
    assert torch.equal(gone[:, 0], gone[:, 2])
    assert gone.any()
    assert not gone.all()


def test_lengths_range_from_none_to_the_largest() -> None:
    gone = hidden(batch_of([[True] * 9] * 400, 10), 0.34, 0.0, seed=1).all(dim=2).sum(dim=1)
    assert set(gone.tolist()) == {0, 1, 2, 3}
    places = hidden(batch_of([[True] * 9] * 400, 10), 0.34, 0.0, seed=1).all(dim=2).any(dim=0)
    assert places.all()  # every frame is hidden in some clip


def test_same_generator_same_spans() -> None:
    batch = batch_of([[True] * 9] * 8, 10)
    assert torch.equal(hidden(batch, 0.5, 0.5, 7), hidden(batch, 0.5, 0.5, 7))
    assert not torch.equal(hidden(batch, 0.5, 0.5, 7), hidden(batch, 0.5, 0.5, 8))
