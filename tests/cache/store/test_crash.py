"""What happens when a writer dies, the disk is full, or a byte flips: nothing is lost unnoticed."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from sedimental.cache.spec import FeatureSpec, StoredType
from sedimental.cache.store import atomic_write as durable
from sedimental.cache.store import part_builder as building
from sedimental.cache.store.convert import convert
from sedimental.cache.store.sealed_json import record
from sedimental.cache.store.store import open_store
from sedimental.cache.store.verify import verify
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.errors import (
    CorruptStoreError,
    IncompleteStoreError,
    NewerStoreError,
    OverflowInStoreError,
    StoreError,
)

Format = Literal["zarr", "hdf5"]
FORMATS: tuple[Format, ...] = ("zarr", "hdf5")
both = pytest.mark.parametrize("format", FORMATS)
LAYERS, WIDTH, CLIPS = 3, 8, 24

WRITER = """
import sys
from pathlib import Path
import numpy as np
from sedimental.cache.spec import FeatureSpec
from sedimental.cache.store.writer import ClipFeatures, StoreWriter

root, format, share, shares = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
layers, width, clips = int(sys.argv[5]), int(sys.argv[6]), int(sys.argv[7])
spec = FeatureSpec("text", "toy", "toy", None, "random:0", "0", tuple("0123456789"[:layers]), width)
writer = StoreWriter.create(root, spec, format)
planned = {f"clip{k}": "s" for k in range(clips)}
present = writer.present()
todo = [c for k, c in enumerate(planned) if k % shares == share and c not in present]
print("ready", flush=True)
for start in range(0, len(todo), 2):
    group = []
    for clip in todo[start : start + 2]:
        random = np.random.default_rng([*clip.encode()])
        n = 3 + int(clip[4:]) % 5
        values = random.normal(size=(layers, n, width)).astype(np.float32)
        one = np.ones(n, np.float32)
        group.append(ClipFeatures(clip, "s", values, one, one, one > 0, {"boxes": np.ones((n, 4))}))
    writer.add(group)
    print(*(c.id for c in group), flush=True)
writer.finish(planned, {})
"""


def spec() -> FeatureSpec:
    names = tuple("0123456789"[:LAYERS])
    return FeatureSpec("text", "toy", "toy", None, "random:0", "0", names, WIDTH)


def clip(name: str, frames: int = 4, source: str = "s") -> ClipFeatures:
    random = np.random.default_rng([*name.encode()])
    values = random.normal(size=(LAYERS, frames, WIDTH)).astype(np.float32)
    one = np.ones(frames, np.float32)
    return ClipFeatures(name, source, values, one, one, one > 0, {"special": one > 1})


def filled(root: Path, format: Format, groups: int = 3) -> StoreWriter:
    writer = StoreWriter.create(root, spec(), format)
    for g in range(groups):
        writer.add([clip(f"clip{g}.{k}") for k in range(3)])
    writer.finish(writer.present(), {})
    return writer


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def start(root: Path, format: Format, share: int, shares: int) -> subprocess.Popen[str]:
    arguments = [root, format, share, shares, LAYERS, WIDTH, CLIPS]
    return subprocess.Popen(
        [sys.executable, "-P", "-c", WRITER, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )


@both
@pytest.mark.parametrize("writers", [1, 2])
def test_killed_writers_lose_nothing_and_resume(
    format: Format, writers: int, tmp_path: Path
) -> None:
    random = np.random.default_rng(writers)
    whole, root = tmp_path / "whole", tmp_path / "killed"
    assert start(whole, format, 0, 1).communicate()[0]
    acknowledged: set[str] = set()
    for _ in range(2):
        running = [start(root, format, share, writers) for share in range(writers)]
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        time.sleep(random.uniform(0, 0.03))
        for process in running:
            process.send_signal(signal.SIGKILL)
        for process in running:
            said = process.communicate()[0]
            acknowledged |= set(
                " ".join(line for line in said.splitlines(True) if line[-1:] == "\n").split()
            )
        store = open_store(root / spec().folder_name, allow_partial=True)
        assert acknowledged <= set(store.clips)
        assert not verify(store.path).damage
    for share in range(writers):
        start(root, format, share, writers).communicate()
    expected, resumed = (open_store(r / spec().folder_name) for r in (whole, root))
    assert set(resumed.clips) == set(expected.clips)
    for name in expected.clips:
        ours, theirs = resumed.read(None, [name]).values, expected.read(None, [name]).values
        assert ours.tobytes() == theirs.tobytes()
    assert not list(resumed.path.glob(".tmp-*"))


def test_only_the_temporaries_of_the_dead_are_cleaned(tmp_path: Path) -> None:
    alive = durable.temporary_path(tmp_path, "part")
    process = subprocess.run(
        [sys.executable, "-P", "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    dead = Path(str(alive).replace(f"-{os.getpid()}-", f"-{process.stdout.strip()}-"))
    elsewhere = tmp_path / ".tmp-otherhost-1-part"
    forgotten = tmp_path / ".tmp-otherhost-2-part"
    for path in (alive, dead, elsewhere, forgotten):
        path.mkdir()
    old = time.time() - 2 * 3600 * durable.STALE_HOURS
    os.utime(forgotten, (old, old))
    durable.clear_stale(tmp_path)
    assert set(tmp_path.iterdir()) == {alive, elsewhere}


@both
def test_a_flipped_byte_is_found_and_only_its_part_dropped(format: Format, tmp_path: Path) -> None:
    writer = filled(tmp_path, format)
    whole = snapshot(writer.path)
    files = [p for p in whole if "part-" in p]
    sizes = np.array([len(whole[p]) for p in files])
    random = np.random.default_rng(0)
    for position in random.integers(0, sizes.sum(), 60).tolist():
        k = int(np.searchsorted(np.cumsum(sizes), position, side="right"))
        file = Path(files[k])
        data = bytearray(whole[files[k]])
        data[position - int(sizes[:k].sum())] ^= 1 << int(random.integers(8))
        file.write_bytes(data)
        verdict = verify(writer.path)
        part = file.relative_to(writer.path).parts[0]
        assert {one.file.name for one in verdict.damage} == {part}, (file, position)
        assert len(verdict.clips) == 3
        file.write_bytes(whole[files[k]])
    assert not verify(writer.path).damage


@both
def test_repair_then_extract_restores_exactly_the_affected_clips(
    format: Format, tmp_path: Path
) -> None:
    writer = filled(tmp_path, format)
    before = open_store(writer.path)
    expected = {c: before.read(None, [c]).values.tobytes() for c in before.clips}
    part = sorted(writer.path.glob("part-*"))[1]
    file = part if format == "hdf5" else part / "hidden" / "c.0.0.0"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    verdict = verify(writer.path, repair=True)
    assert verdict.clips == ("clip1.0", "clip1.1", "clip1.2")
    with pytest.raises(IncompleteStoreError, match="sedimental extract"):
        open_store(writer.path)
    resumed = StoreWriter.create(tmp_path, spec(), format)
    missing = set(expected) - set(resumed.present())
    assert missing == set(verdict.clips)
    resumed.add([clip(c) for c in sorted(missing)])
    assert resumed.finish(dict.fromkeys(expected, "s"), {})
    after = open_store(writer.path)
    assert {c: after.read(None, [c]).values.tobytes() for c in after.clips} == expected
    assert not verify(writer.path).damage


@both
def test_indices_and_records_are_verified_and_mended(format: Format, tmp_path: Path) -> None:
    writer = filled(tmp_path, format)
    assert writer.probe(np.ones((2, 3, 4), np.float32)) == ""
    values = open_store(writer.path).layers().values.tobytes()
    for pattern in ("manifest-*", "store.json", "complete.json", "probe-*"):
        (file,) = writer.path.glob(pattern)
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        assert [one.file for one in verify(writer.path).damage] == [file]
        verify(writer.path, repair=True)
        assert not verify(writer.path).damage
        assert open_store(writer.path, allow_partial=True).layers().values.tobytes() == values


@both
def test_a_missing_part_is_named(format: Format, tmp_path: Path) -> None:
    writer = filled(tmp_path, format)
    gone = sorted(writer.path.glob("part-*"))[1]
    opened = open_store(writer.path)
    durable.remove(gone)
    name = gone.name.removesuffix(".h5")
    with pytest.raises(IncompleteStoreError, match=rf"{name}.*sedimental extract"):
        open_store(writer.path)
    with pytest.raises(StoreError, match=rf"{name}.*Open it again"):
        opened.layer(0)
    (damage,) = verify(writer.path).damage
    assert damage.file.name == name
    assert damage.clips == ("clip1.0", "clip1.1", "clip1.2")


@both
def test_a_part_cut_short_is_named(format: Format, tmp_path: Path) -> None:
    writer = filled(tmp_path, format, groups=1)
    (file,) = writer.path.glob("part-*/hidden/c.0.0.0" if format == "zarr" else "part-*")
    opened = open_store(writer.path)
    with file.open("r+b") as cut:
        cut.truncate(4500 if format == "hdf5" else 50)
    with pytest.raises(CorruptStoreError, match=r"shorter than it was written.*verify --repair"):
        opened.layers()
    assert verify(writer.path).damage


@both
@pytest.mark.parametrize("limit", [2_000, 60_000, 200_000])
def test_a_full_disk_leaves_what_was_there(format: Format, limit: int, tmp_path: Path) -> None:
    writer = filled(tmp_path, format)
    before = snapshot(tmp_path)
    big = [clip(f"big{k}", frames=5_000) for k in range(2)]
    # a file that may not grow stands in for a disk that is full: the same errors from the system
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, kept[1]))
    try:
        with pytest.raises(StoreError, match=r"cannot be written.*safe"):
            writer.add(big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert snapshot(tmp_path) == before
    writer.add(big)
    assert "big1" in writer.present()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@both
def test_a_read_only_folder_is_named(format: Format) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        writer = filled(root, format)
        root.chmod(0o755)
        before = snapshot(root)
        with _nobody():
            assert len(open_store(writer.path).clips) == 9  # reading needs no more
            assert writer.finish(writer.present(), {})  # what is there already is not written
            for work in (
                lambda: writer.add([clip("more")]),
                lambda: writer.finish({}, {"lost": "why"}),
                lambda: StoreWriter.create(root / "new", spec(), format),
            ):
                with pytest.raises(StoreError, match=rf"{folder}.*cannot be written.*writable"):
                    work()
        assert snapshot(root) == before


@contextlib.contextmanager
def _nobody() -> Iterator[None]:
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / spec().folder_name
    folder.mkdir()
    (folder / "holiday.jpg").write_text("x")
    with pytest.raises(StoreError, match=r"holiday\.jpg.*nothing was changed"):
        StoreWriter.create(tmp_path, spec())
    assert [p.name for p in folder.iterdir()] == ["holiday.jpg"]


@both
def test_a_part_of_another_store_is_named(format: Format, tmp_path: Path) -> None:
    writer = filled(tmp_path, format)
    other = FeatureSpec("text", "toy", "toy", "rev", "hub", "1", spec().layers, WIDTH)
    stranger = StoreWriter.create(tmp_path, other, format).add([clip("x")])
    stranger.rename(writer.path / stranger.name)
    with pytest.raises(CorruptStoreError, match=rf"{stranger.name}.*another store.*Move it away"):
        open_store(writer.path)


def test_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    writer = filled(tmp_path, "zarr")
    text = record("store", {"spec": spec().to_json()}).replace(b'"version":1', b'"version":2')
    (writer.path / "store.json").write_bytes(text)
    before = snapshot(tmp_path)
    for work in (
        lambda: open_store(writer.path),
        lambda: StoreWriter.create(tmp_path, spec()),
        lambda: verify(writer.path, repair=True),
    ):
        with pytest.raises(NewerStoreError, match=r"store\.json.*format 2.*Upgrade"):
            work()
    assert snapshot(tmp_path) == before


@both
def test_a_store_with_older_checksums_is_verified_and_converted(
    format: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:  # they were plain CRC-32
        then.setattr(building, "checksum", lambda data: f"{zlib.crc32(data):08x}")
        path = filled(tmp_path, format).path
    values = open_store(path).layers().values
    assert not verify(path).damage
    convert(path, "zarr" if format == "hdf5" else "hdf5")
    assert not verify(path).damage
    np.testing.assert_array_equal(open_store(path).layers().values, values)
    part = min(path.glob("part-*"))
    file = part if part.is_file() else part / "hidden" / "c.0.0.0"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    assert verify(path).damage


@both
@pytest.mark.parametrize(
    ("dtype", "bad"),
    [
        ("float16", 65_520.0),
        ("float16", np.inf),
        ("float16", np.nan),
        ("float32", np.inf),
        ("float32", np.nan),
    ],
)
def test_overflow_names_clip_and_layer(
    format: Format, dtype: StoredType, bad: float, tmp_path: Path
) -> None:
    writer = StoreWriter.create(tmp_path, replace(spec(), dtype=dtype), format)
    writer.add([clip("before")])
    before = snapshot(tmp_path)
    clips = [clip("fine"), clip("wild"), clip("good")]
    clips[1].values[2, 1, 3] = bad
    with pytest.raises(OverflowInStoreError, match=r"'wild', layer 2"):
        writer.add(clips)
    assert snapshot(tmp_path) == before


def test_clips_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    writer = StoreWriter.create(tmp_path, spec())
    good, other = clip("good"), clip("bad")
    short = ClipFeatures("bad", "s", other.values, other.times[1:], *_rest(other), {})
    bare = ClipFeatures("bad", "s", other.values, other.times, *_rest(other), {})
    wide = ClipFeatures("bad", "s", other.values[..., :1], other.times, *_rest(other), other.side)
    taken = ClipFeatures(
        "bad", "s", other.values, other.times, *_rest(other), {"mean": other.times}
    )
    for wrong in ([short], [good, bare], [wide], [other, other], [taken], [clip("bad", 0)]):
        with pytest.raises(StoreError, match=r"'bad'.*Nothing was written"):
            writer.add(wrong)
    with pytest.raises(StoreError):
        writer.add([])
    assert not list(writer.path.glob("part-*"))


def _rest(one: ClipFeatures) -> tuple[np.ndarray, np.ndarray]:
    return one.durations, one.valid


def test_the_probe_notices_other_numerics(tmp_path: Path) -> None:
    writer = filled(tmp_path, "zarr")
    values = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    assert writer.probe(values) == ""
    again = StoreWriter.create(tmp_path, spec())
    assert again.probe(values * (1 + 1e-4)) == ""
    assert "entry 1 differs by 5.0%" in again.probe(values * np.array([[[1]], [[1.05]], [[1]]]))
    assert "shape" in again.probe(values[:2])
