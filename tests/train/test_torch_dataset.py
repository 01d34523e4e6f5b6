"""A store read by somebody else's training loop is what the store holds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sedimental.cache.spec import FeatureSpec
from sedimental.cache.store.clip_features import ClipFeatures
from sedimental.cache.store.store import open_store
from sedimental.cache.store.writer import StoreWriter
from sedimental.errors import StoreError
from sedimental.train.data.torch_dataset import StoreDataset, collate

FRAMES = (3, 1, 5, 2)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    spec = FeatureSpec("audio", "toy", "toy", None, "hub", "00", ("0", "1"), 4)
    writer = StoreWriter.create(tmp_path, spec)
    made = []
    for k, n in enumerate(FRAMES):
        times, valid = np.arange(n, dtype="f4"), np.arange(n) != 1
        values = random.normal(size=(2, n, 4)).astype("f2")
        made.append(ClipFeatures(f"v$_${k}", "s", values, times, times, valid, {}))
    writer.add(made)
    writer.finish({clip.id: "s" for clip in made}, {})
    return writer.path


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_the_clips_of_the_store_padded(store: Path, workers: int) -> None:
    data = StoreDataset(store, layers=[-1, 0])
    loader = DataLoader(data, batch_size=3, collate_fn=collate, num_workers=workers)
    batches, opened, seen = list(loader), open_store(store), list[str]()
    assert [batch["values"].shape for batch in batches] == [(3, 2, 5, 4), (1, 2, 2, 4)]
    for batch in batches:
        for id_, values, mask in zip(batch["id"], batch["values"], batch["mask"], strict=True):
            own = torch.from_numpy(opened.read([-1, 0], [id_]).values.copy())
            assert torch.equal(values[:, : own.shape[1]], own)
            assert not values[:, own.shape[1] :].any()
            assert mask.tolist()[:2] == [True, False][: len(mask)]
            assert not mask[own.shape[1] :].any()
            seen.append(id_)
    assert seen == [f"v$_${k}" for k in range(4)]


def test_some_clips_in_an_order_of_their_own(store: Path) -> None:
    data = StoreDataset(store, clips=["v$_$2", "v$_$0"])
    assert [data[k]["id"] for k in range(len(data))] == ["v$_$2", "v$_$0"]
    assert data[0]["times"].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(StoreError):
        StoreDataset(store, layers=[7])
    with pytest.raises(StoreError):
        StoreDataset(store, clips=["none"])
