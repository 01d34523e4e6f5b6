"""One contract, run on both formats: what was added is what is read, whoever reads it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from sedimental.cache.spec import FeatureSpec, StoredType
from sedimental.cache.store.store import Store, list_stores, open_store
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.errors import (
    IncompleteStoreError,
    MissingClipError,
    StoreError,
    StoreNotFoundError,
)

Format = Literal["zarr", "hdf5"]
FORMATS: tuple[Format, ...] = ("zarr", "hdf5")
LAYERS = ("0", "1", "2", "final")


def spec(width: int = 5, dtype: StoredType = "float16", **changed: Any) -> FeatureSpec:
    return FeatureSpec(
        modality="vision",
        encoder="toy",
        source="toy",
        revision=None,
        weights="random:0",
        weights_digest="0",
        layers=LAYERS,
        width=width,
        dtype=dtype,
        **changed,
    )


def clip(name: str, frames: int, width: int = 5, seed: int = 0) -> ClipFeatures:
    random = np.random.default_rng([seed, *name.encode()])
    return ClipFeatures(
        id=name,
        source=f"{seed:08x}",
        values=random.normal(3, 2, (len(LAYERS), frames, width)).astype(np.float32),
        times=(np.arange(frames) / 3).astype(np.float32),
        durations=np.full(frames, 1 / 3, np.float32),
        valid=random.random(frames) < 0.8,
        side={
            "boxes": random.random((frames, 4)).astype(np.float32),
            "token_ids": random.integers(0, 9, frames),
        },
    )


def fill(root: Path, format: Format, groups: Sequence[Sequence[ClipFeatures]]) -> Path:
    writer = StoreWriter.create(root / "corpus", spec(), format)
    for group in groups:
        writer.add(group)
    held = {c.id: c.source for group in groups for c in group}
    assert writer.finish(held, {})
    return writer.path


def bits(array: Any) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def expected(store: Store, clips: Sequence[ClipFeatures], layers: Sequence[int]) -> np.ndarray:
    together = np.concatenate([c.values for c in clips], axis=1)
    return together[list(layers)].astype(store.spec.dtype)


CLIPS = [clip(f"v{k}$_${k}", frames=2 + k % 4) for k in range(9)]


@pytest.mark.parametrize("format", FORMATS)
class TestContract:
    @pytest.fixture
    def store(self, format: Format, tmp_path: Path) -> Store:
        return open_store(fill(tmp_path, format, [CLIPS[:4], CLIPS[4:5], CLIPS[5:]]))

    def test_holds_what_was_added(self, store: Store, format: Format) -> None:
        assert store.clips == tuple(c.id for c in CLIPS)
        assert store.frames.tolist() == [len(c.valid) for c in CLIPS]
        assert store.sources == {c.id: c.source for c in CLIPS}
        assert store.complete
        assert store.spec == spec()
        assert store.formats == (format,)

    def test_a_layer_is_its_clips_end_to_end(self, store: Store) -> None:
        for asked, position in [(0, 0), (2, 2), (-1, 2), ("final", 3)]:
            ragged = store.layer(asked)  # type: ignore[arg-type]
            assert bits(ragged.values) == bits(expected(store, CLIPS, [position]))
            assert ragged.clips == store.clips
            assert ragged.values.flags.c_contiguous
            assert ragged.values.flags.writeable

    def test_layers_come_in_the_order_asked(self, store: Store) -> None:
        assert bits(store.layers(["final", 0]).values) == bits(expected(store, CLIPS, [3, 0]))

    def test_clips_come_in_the_order_asked_even_twice(self, store: Store) -> None:
        chosen = [CLIPS[k] for k in (7, 0, 1, 2, 7)]
        ragged = store.read(None, [c.id for c in chosen])
        assert bits(ragged.values) == bits(expected(store, chosen, range(4)))
        assert ragged.offsets.tolist() == np.cumsum([0, *(len(c.valid) for c in chosen)]).tolist()

    def test_no_clips_are_no_frames(self, store: Store) -> None:
        assert store.read([0], []).values.shape == (1, 0, 5)

    def test_side_arrays_lie_as_the_frames_do(self, store: Store) -> None:
        for name in store.sides:
            kept = [getattr(c, name) if hasattr(c, name) else c.side[name] for c in CLIPS]
            assert bits(store.side(name)) == bits(np.concatenate(kept))
            assert store.side(name).dtype == kept[0].dtype
            assert bits(store.side(name, [CLIPS[6].id])) == bits(kept[6])
        assert set(store.sides) == {"times", "durations", "valid", "boxes", "token_ids"}

    def test_statistics_are_those_of_the_values(self, store: Store) -> None:
        values = expected(store, CLIPS, range(4)).astype(np.float64)
        valid = np.concatenate([c.valid for c in CLIPS])
        stats = store.stats()
        np.testing.assert_allclose(stats.mean, values[:, valid].mean(axis=1), rtol=1e-5)
        np.testing.assert_allclose(stats.std, values[:, valid].std(axis=1), rtol=1e-4)
        np.testing.assert_allclose(stats.layer_std, values[:, valid].std(axis=(1, 2)), rtol=1e-4)
        np.testing.assert_array_equal(stats.absmax, np.abs(values).max(axis=(1, 2)))
        assert stats.frames == valid.sum()

    def test_parts_together_are_the_store(self, store: Store) -> None:
        pieces = list(store.parts([1]))
        assert [len(p.clips) for p in pieces] == [4, 1, 4]
        together = np.concatenate([p.values for p in pieces], axis=1)
        assert bits(together) == bits(store.layer(1).values)

    def test_batches_are_reads(self, store: Store) -> None:
        batches = [store.clips[5:8], store.clips[1:2], store.clips[::3]]
        for batch, ragged in zip(batches, store.batches(None, batches), strict=True):
            assert bits(ragged.values) == bits(store.read(None, batch).values)

    def test_weighted_sum_is_the_sum(self, store: Store) -> None:
        weights = np.array([0.5, -1.0, 0.25, 2.0])
        batch = store.clips[2:6]
        (mixed,) = store.weighted(weights, [batch])
        literal = np.einsum("l,lfw->fw", weights, store.read(None, batch).values.astype(np.float64))
        np.testing.assert_allclose(mixed.values[0], literal, rtol=1e-5, atol=1e-5)

    def test_a_rewritten_clip_counts_once_and_the_newest_wins(
        self, store: Store, format: Format
    ) -> None:
        again = clip(CLIPS[1].id, frames=6, seed=7)
        writer = StoreWriter.create(store.path.parent, spec(), format)
        writer.add([again])
        assert writer.finish(writer.present(), {})
        newer = open_store(store.path)
        assert len(newer.clips) == len(CLIPS)
        assert bits(newer.read(None, [again.id]).values) == bits(expected(store, [again], range(4)))
        rest = [c for c in CLIPS if c.id != again.id] + [again]
        assert newer.clips == tuple(c.id for c in rest)
        assert bits(newer.layer(0).values) == bits(expected(store, rest, [0]))
        valid = np.concatenate([c.valid for c in rest])
        values = expected(store, rest, range(4)).astype(np.float64)[:, valid]
        np.testing.assert_allclose(newer.stats().mean, values.mean(axis=1), rtol=1e-5)
        np.testing.assert_allclose(newer.stats().std, values.std(axis=1), rtol=1e-4)

    def test_manifests_are_only_an_index(self, store: Store) -> None:
        before = bits(store.layers().values)
        for manifest in store.path.glob("manifest-*"):
            manifest.write_bytes(manifest.read_bytes()[:-30])  # torn last line
        assert bits(open_store(store.path).layers().values) == before
        for manifest in store.path.glob("manifest-*"):
            manifest.unlink()
        assert bits(open_store(store.path).layers().values) == before

    def test_missing_clips_are_named(self, store: Store) -> None:
        with pytest.raises(MissingClipError, match=r"'nobody'.*sedimental extract"):
            store.read([0], [CLIPS[0].id, "nobody"])

    def test_layers_not_stored_are_named(self, store: Store) -> None:
        with pytest.raises(StoreError, match="layer 9 is not stored"):
            store.layer(9)

    def test_a_library_reads_the_same_bits(self, store: Store, format: Format) -> None:
        for name, clips in zip(sorted(store.path.glob("part-*")), store.parts(), strict=True):
            group: Any = zarr.open_group(name, mode="r") if format == "zarr" else h5py.File(name)
            assert bits(group["hidden"][:]) == bits(clips.values)
            for side in store.sides:
                assert bits(group[side][:]) == bits(store.side(side, clips.clips))
                assert group[side].dtype == store.side(side).dtype
            if format == "hdf5":
                group.close()

    def test_the_callers_buffers_are_used(self, store: Store) -> None:
        made: list[np.ndarray] = []

        def allocate(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
            made.append(np.full(shape, np.nan, dtype))
            return made[-1]

        ragged = open_store(store.path, allocate=allocate).layer(0)
        assert ragged.values is made[0]


@pytest.mark.parametrize("format", FORMATS)
@given(data=st.data())
@settings(max_examples=15)
def test_write_then_read_is_the_same_bits(
    format: Format, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    width = data.draw(st.integers(1, 9))
    dtype: StoredType = data.draw(st.sampled_from(["float16", "float32"]))
    groups = data.draw(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), max_size=4))
    writer = StoreWriter.create(tmp_path_factory.mktemp("s"), spec(width, dtype), format)
    made: dict[str, ClipFeatures] = {}
    for g, frames in enumerate(groups):
        group = [clip(f"é字{g}.{k}", n, width) for k, n in enumerate(frames)]
        writer.add(group)
        made |= {c.id: c for c in group}
    assert writer.finish(writer.present(), {})
    store = open_store(writer.path)
    asked = data.draw(st.lists(st.sampled_from(sorted(made)), max_size=8)) if made else []
    layers = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=5))
    ragged = store.read(layers, asked)
    if asked:
        assert bits(ragged.values) == bits(expected(store, [made[a] for a in asked], layers))
    assert store.clips == tuple(made)


def test_an_identical_spec_finds_its_store_again(tmp_path: Path) -> None:
    first = StoreWriter.create(tmp_path, spec(recorded={"torch": "1"}), "zarr")
    first.add(CLIPS[:1])
    again = StoreWriter.create(tmp_path, spec(recorded={"torch": "2"}), "hdf5")
    assert again.path == first.path
    assert again.present() == {CLIPS[0].id: CLIPS[0].source}


@pytest.mark.parametrize(
    "change",
    [
        {"width": 6},
        {"dtype": "float32"},
        {"preprocessing": {"fps": 3}},
        {"preprocessing": {"fps": 4}},
    ],
)
def test_another_spec_is_another_store(tmp_path: Path, change: dict[str, Any]) -> None:
    assert spec(**change).folder_name != spec().folder_name


def test_stores_of_a_root_are_listed(tmp_path: Path) -> None:
    path = fill(tmp_path, "zarr", [CLIPS])
    (tmp_path / "corpus" / "notes").mkdir()
    assert list_stores(tmp_path) == (path,)


def test_an_unfinished_store_is_refused(tmp_path: Path) -> None:
    writer = StoreWriter.create(tmp_path, spec())
    writer.add(CLIPS[:2])
    planned = {c.id: c.source for c in CLIPS[:3]}
    for end in (None, {}, {"other": "why"}):
        if end is not None:
            assert not writer.finish(planned, end)
        with pytest.raises(IncompleteStoreError, match="sedimental extract"):
            open_store(writer.path)
    assert open_store(writer.path, allow_partial=True).failures == {"other": "why"}
    assert writer.finish(planned, {CLIPS[2].id: "no face"})
    store = open_store(writer.path)
    with pytest.raises(MissingClipError, match="no face"):
        store.read([0], [CLIPS[2].id])
    writer.add(CLIPS[2:3])  # a clip more, and the process dies: the store says so
    with pytest.raises(IncompleteStoreError, match="1 parts were added"):
        open_store(writer.path)
    assert not open_store(writer.path, allow_partial=True).complete


def test_another_source_is_not_what_was_planned(tmp_path: Path) -> None:
    writer = StoreWriter.create(tmp_path, spec())
    writer.add(CLIPS[:1])
    assert not writer.finish({CLIPS[0].id: "another"}, {})


def test_no_store_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(StoreNotFoundError, match="sedimental extract"):
            open_store(path)


def test_torch_takes_the_values_without_a_copy(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    store = open_store(fill(tmp_path, "zarr", [CLIPS]))
    values = store.layer(0).values
    assert torch.from_numpy(values).data_ptr() == values.ctypes.data
