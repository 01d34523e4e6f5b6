"""Batches are gathers: they must equal padding done the slow way, scaled as numpy would."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sedimental.cache.manifest import Clip, Manifest
from sedimental.cache.spec import SPLITS, Modality, Split
from sedimental.cache.store.store import Ragged
from sedimental.errors import RunError
from sedimental.train.data import load as loading
from sedimental.train.data.dataset import Corpus, Source, Table
from sedimental.train.data.load import arrange
from sedimental.train.data.standardize import measure

CPU = torch.device("cpu")
WIDTH = 3


def table_of(splits: list[Split], labels: list[float | None] | None = None) -> Table:
    marks = labels or [float(k) for k in range(len(splits))]
    clips = [
        Clip(id=f"v$_${k}", video_id="v", clip_id=str(k), split=s, label=marks[k])
        for k, s in enumerate(splits)
    ]
    return Table.of(Manifest("toy", root=Path(), clips=tuple(clips)))


def ragged_of(
    lengths: list[int], layers: int, clips: list[str], seed: int = 0, dtype: str = "float16"
) -> Ragged:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    values = np.random.default_rng(seed).normal(5, 2, (layers, offsets[-1], WIDTH))
    return Ragged(values.astype(dtype), offsets, tuple(clips))


SIX: list[Split] = ["train", "train", "train", "valid", "test", "test"]
IDS = [f"v$_${k}" for k in range(6)]


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 5), min_size=6, max_size=6).filter(any),
    held=st.permutations(range(6)).flatmap(lambda p: st.integers(1, 6).map(lambda n: p[:n])),
    index=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    weighted=st.booleans(),
    scaling=st.sampled_from(["none", "standardize"]),
    wide=st.booleans(),
    seed=st.integers(0, 9),
)
def test_gather_equals_naive_padding(
    lengths: list[int],
    held: list[int],
    index: list[int],
    weighted: bool,
    scaling: str,
    wide: bool,
    seed: int,
) -> None:
    """Whatever clips the store holds in whatever order, with invalid frames among them."""
    sizes = [lengths[k] for k in held]
    if not sum(sizes):
        return
    ragged = ragged_of(sizes, 2, [IDS[k] for k in held], seed)
    valid = np.random.default_rng(seed).random(sum(sizes)) > 0.3
    raw = ragged.values.astype(np.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "WIDEN_BELOW", 2**30 if wide else 0)
        source = arrange(table_of(SIX), ragged, valid, weighted, scaling, CPU)
    assert source.values.dtype == (torch.float32 if wide else torch.float16)
    features, mask = source.gather(torch.tensor(index), CPU)

    clips = {k: slice(*ragged.offsets[p : p + 2]) for p, k in enumerate(held)}
    train = [np.arange(len(valid))[clips[k]] for k in held if SIX[k] == "train"]
    rows = np.concatenate([*train, np.zeros(0, np.int64)])
    rows = rows[valid[rows]]
    if scaling == "standardize" and len(rows):
        mean, spread = raw[:, rows].mean(axis=1), raw[:, rows].std(axis=1)
        raw = (raw - mean[:, None]) / np.where(spread < 1e-6, 1, spread)[:, None]
    longest = max(1, *(lengths[k] if k in held else 0 for k in index))
    assert mask.shape == (len(index), longest)
    for b, k in enumerate(index):
        here = clips.get(k, slice(0, 0))
        n = here.stop - here.start
        assert mask[b].tolist() == [*valid[here].tolist(), *[False] * (longest - n)]
        wanted = np.zeros((2, longest, WIDTH))
        wanted[:, :n] = raw[:, here] * valid[here][:, None]
        if not weighted:  # joined along width
            wanted = np.concatenate(list(wanted), axis=-1)
        np.testing.assert_allclose(features[b].numpy(), wanted, atol=2e-4)


def test_stacked_and_weighted_shapes() -> None:
    for weighted, width, layers in ((False, 2 * WIDTH, None), (True, WIDTH, 2)):
        ragged = ragged_of([2] * 6, 2, IDS)
        source = arrange(table_of(SIX), ragged, np.ones(12, bool), weighted, "none", CPU)
        assert (source.shape.width, source.shape.layers) == (width, layers)


def test_scaling_is_numpys_and_keeps_its_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sedimental.train.data.standardize.CHUNK", 7)
    random = np.random.default_rng(0)
    # a mean that is large beside the deviation, as some features of deep layers have it
    values = random.normal([1e4, 0, -3], [1e-1, 1, 5], (2, 100, 3)).astype(np.float32)
    rows = np.flatnonzero(random.random(100) > 0.4)
    found = measure(torch.from_numpy(values), torch.from_numpy(rows))
    chosen = values[:, rows].astype(np.float64)
    np.testing.assert_allclose(found.mean, chosen.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.deviation, chosen.std(axis=1), rtol=1e-6)


def test_a_constant_feature_is_not_blown_up() -> None:
    values = torch.full((1, 50, 2), 0.1)
    found = measure(values, torch.arange(50))
    assert torch.equal(found.deviation, torch.ones(1, 2))
    assert found.apply_(values).abs().max() < 1e-6
    none = measure(values, torch.arange(0))
    assert (float(none.mean.sum()), float(none.deviation.sum())) == (0, 2)


def corpus_of(present: dict[Modality, list[int]]) -> Corpus:
    """Six clips; of each modality the store holds these, all but the last frame valid."""
    table = table_of(SIX)
    sources: dict[Modality, Source] = {}
    for m, held in present.items():
        ragged = ragged_of([2] * len(held), 1, [IDS[k] for k in held])
        valid = np.ones(2 * len(held), bool)
        sources[m] = arrange(table, ragged, valid, False, "none", CPU)
    return Corpus(table, sources, torch.from_numpy(table.labels).float())


def test_a_clip_without_features_stays_in_the_test_split() -> None:
    data = corpus_of({"text": [0, 3], "audio": [1, 3, 4]}).select(("text", "audio"))
    assert {s: r.tolist() for s, r in data.rows.items()} == {
        "train": [0, 1],  # clip 2 has nothing to learn from
        "valid": [3],
        "test": [4, 5],  # clip 5 has nothing, and is scored all the same
    }
    assert data.coverage == {
        "train": {"clips": 2, "text": 1, "audio": 1, "unlabelled": 0, "without_features": 1},
        "valid": {"clips": 1, "text": 1, "audio": 1, "unlabelled": 0, "without_features": 0},
        "test": {"clips": 2, "text": 0, "audio": 1, "unlabelled": 0, "without_features": 1},
    }
    batch = data.batch(torch.tensor([5, 1]))
    assert batch.masks["text"].tolist() == [[False], [False]]
    assert batch.masks["audio"].tolist() == [[False, False], [True, True]]
    assert batch.labels.tolist() == [5.0, 1.0]
    assert batch.index.tolist() == [5, 1]


def test_a_subset_nothing_was_extracted_for() -> None:
    corpus = corpus_of({"text": [0, 3], "audio": [4]})
    assert list(corpus.select(("text",)).sources) == ["text"]
    with pytest.raises(RunError, match="No training clip has features of audio"):
        corpus.select(("audio",))


def test_a_clip_all_of_whose_frames_are_invalid_counts_as_without() -> None:
    ragged = ragged_of([2, 2, 3], 1, IDS[:3])
    valid: NDArray[Any] = np.array([1, 0, 0, 0, 0, 0, 1], bool)
    source = arrange(table_of(SIX), ragged, valid, False, "none", CPU)
    assert source.present.tolist() == [True, False, True, False, False, False]


def test_unlabelled_clips_are_left_out_and_counted() -> None:
    splits: list[Split] = [*SIX, "train", "test"]
    table = table_of(splits, [0.0, None, 2.0, 3.0, 4.0, None, 6.0, None])
    assert table.ids == tuple(f"v$_${k}" for k in (0, 2, 3, 4, 6))
    assert table.labels.tolist() == [0, 2, 3, 4, 6]
    assert table.unlabelled == {"train": 1, "valid": 0, "test": 2}
    assert [table.rows(s).tolist() for s in SPLITS] == [[0, 1, 4], [2], [3]]


def test_an_empty_split_is_told() -> None:
    with pytest.raises(RunError, match=r"toy: the valid split has no labelled clip \(1 without"):
        table_of(["train", "valid", "test"], [0.0, None, 1.0])


def test_the_clips_before_come_along() -> None:
    """Two videos; one clip has no features, one no label, one lies in another split."""
    videos, splits = "vvvvww", ["train", "train", "train", "valid", "test", "train"]
    clips = [
        Clip(
            id=f"{v}$_${k}",
            video_id=v,
            clip_id=str(k),
            split=s,  # type: ignore[arg-type]
            label=None if k == 9 else float(k),
            context=tuple(f"{u}$_${j}" for j, u in enumerate(videos[:k]) if u == v),
        )
        for k, (v, s) in enumerate(zip(videos, splits, strict=True))
    ]
    table = Table.of(Manifest("toy", root=Path(), clips=tuple(clips)))
    assert table.previous is not None
    assert table.previous.tolist() == [[-1, -1], [0, -1], [1, 0], [-1, -1], [-1, -1], [-1, -1]]
    held = [c.id for k, c in enumerate(clips) if k != 1]
    ragged = ragged_of([1, 2, 3, 1, 2], 1, held)
    source = arrange(table, ragged, np.ones(9, bool), False, "none", CPU)
    data = Corpus(table, {"text": source}, torch.from_numpy(table.labels).float()).select(["text"])
    batch = data.batch(torch.tensor([2, 0, 1, 4]), previous=3)
    nearest, further, none = batch.previous
    assert nearest.masks["text"].sum(dim=1).tolist() == [0, 0, 1, 0]  # clip 1 has no features
    assert further.masks["text"].sum(dim=1).tolist() == [1, 0, 0, 0]
    assert not none.masks["text"].any()
    alone = data.batch(torch.tensor([0]))
    torch.testing.assert_close(further.features["text"][0, :1], alone.features["text"][0])
    assert nearest.features["text"].shape[0] == nearest.size == 4
    assert not nearest.features["text"][[0, 1, 3]].any()
    assert not batch.previous[0].previous


def test_labels_of_single_modalities_come_along() -> None:
    clips = [
        Clip(f"v$_${k}", "v", str(k), s, label=0.5, label_T=float(k), label_A=1.0 if k else None)
        for k, s in enumerate(SPLITS)
    ]
    table = Table.of(Manifest("toy", root=Path(), clips=tuple(clips)))
    assert list(table.targets) == ["text", "audio"]
    source = arrange(table, ragged_of([1] * 3, 1, IDS[:3]), np.ones(3, bool), False, "none", CPU)
    targets = {m: torch.from_numpy(v).float() for m, v in table.targets.items()}
    data = Corpus(table, {"text": source}, torch.zeros(3), targets).select(["text"])
    batch = data.batch(torch.tensor([2, 0]))
    assert batch.targets["text"].tolist() == [2, 0]
    assert batch.targets["audio"].isnan().tolist() == [False, True]


def test_classes_are_numbers_in_the_order_of_their_names() -> None:
    clips = [
        Clip(f"v$_${k}", "v", str(k), s, category=c)
        for k, (s, c) in enumerate(
            zip([*SPLITS, "train"], ["joy", "anger", "joy", "fear"], strict=True)
        )
    ]
    table = Table.of(Manifest("toy", root=Path(), clips=tuple(clips)))
    assert table.classes == ("anger", "fear", "joy")
    assert table.labels.tolist() == [2, 0, 2, 1]
    with pytest.raises(RunError, match="without a label"):
        Table.of(Manifest("toy", root=Path(), clips=tuple(clips)), "regression")
    same = [Clip(f"v$_${k}", "v", str(k), s, category="joy") for k, s in enumerate(SPLITS)]
    with pytest.raises(RunError, match="every clip is of the class 'joy'"):
        Table.of(Manifest("toy", root=Path(), clips=tuple(same)))


def test_stacked_layers_are_counted() -> None:
    for weighted, stacked in ((False, 2), (True, 1)):
        ragged = ragged_of([2] * 6, 2, IDS)
        source = arrange(table_of(SIX), ragged, np.ones(12, bool), weighted, "none", CPU)
        assert source.shape.stacked == stacked
