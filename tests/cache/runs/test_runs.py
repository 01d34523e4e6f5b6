"""Run folders: whole or not there, damage named, nothing overwritten, names that mean one thing."""

import errno
import io
import json
import multiprocessing
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedimental.cache.checksums import DamagedError, with_checksum, without_checksum
from sedimental.cache.manifest import Clip, Manifest
from sedimental.cache.runs import (
    Epoch,
    Identity,
    InputRecord,
    Predictions,
    Run,
    folder_of,
    list_runs,
    read_run,
    read_scores,
    read_weights,
    run_folder,
    write_run,
)
from sedimental.cache.runs.folder import EARLIER, damages, list_superseded
from sedimental.cache.runs.identity import differences, identity_of, variants, wording
from sedimental.cache.runs.migrate import earlier_runs, migrate
from sedimental.cache.runs.names import find_folders
from sedimental.cache.runs.representations import Representations, read_representations
from sedimental.cache.sweeps import Encoder, Point, Sweep, read_sweep, read_sweeps, write_sweep
from sedimental.errors import RunError

CONFIGURATION: dict[str, Any] = {
    "table": {"clips": "0a", "splits": "0b", "labels": "0c", "texts": "0d"},
    "inputs": {"text": {"layers": ["1"], "fingerprint": "ff", "clips": "00"}},
    "model": "uegd",
    "settings": {"epochs": 2},
}


def run_of(seed: int = 1, epochs: int = 2, weights_of: int = 0) -> Run:
    """A small run with every kind of file."""
    random = np.random.default_rng([seed, weights_of])
    identity = identity_of(CONFIGURATION | {"settings": {"epochs": epochs}}, seed)
    ids = tuple(f"v$_${k}" for k in range(12))
    values = random.normal(size=12)
    return Run(
        corpus="toy",
        model="uegd",
        modalities=("text",),
        seed=seed,
        key=identity.key,
        options={"hidden": 8},
        config={"epochs": epochs, "seeds": [seed]},
        inputs=(InputRecord("text", "bert", ("1",), False, "ff", "hub"),),
        environment={"python": "3"},
        parameters=7,
        criterion="valid_loss",
        best_epoch=1,
        seconds=1.5 + weights_of,
        coverage={"test": {"clips": 4, "text": 4}},
        history=tuple(Epoch(e, 1 / e, 1.1 / e, 1e-3, 0.1, {"MAE": 1.0}) for e in (1, 2)),
        metrics={"valid": {"MAE": 0.5}, "test": {"MAE": 0.6}},
        predictions=Predictions(
            ids, ("train", "train", "valid", "test") * 3, np.arange(12.0), values
        ),
        outputs={"gate": random.uniform(size=(12, 1))},
        representations=Representations(
            np.arange(12), {"fused": random.normal(size=(12, 3)).astype(np.float16)}
        ),
        identity=identity,
    )


def kept(root: Path, **changes: Any) -> Path:
    run = run_of(**changes)
    write_run(folder_of(root, run), run, b"weights of %d" % run.seed)
    return folder_of(root, run)


def same(one: Run, other: Run) -> bool:
    return (
        one.key == other.key
        and one.seconds == other.seconds
        and one.identity == other.identity
        and np.array_equal(one.predictions.values, other.predictions.values)
        and np.array_equal(one.outputs["gate"], other.outputs["gate"])
    )


def test_a_run_comes_back_as_it_was_written(tmp_path: Path) -> None:
    folder = kept(tmp_path)
    assert same(read_run(folder), run_of())
    assert read_weights(folder) == b"weights of 1"
    found = read_representations(folder)
    assert found is not None
    assert found.vectors["fused"].tolist() == run_of().representations.vectors["fused"].tolist()  # type: ignore[union-attr]
    assert not damages(folder)
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


def test_runs_of_other_settings_lie_beside_each_other(tmp_path: Path) -> None:
    """R1: and of the same settings the one that is there stands, unless it is made again."""
    first, other = kept(tmp_path), kept(tmp_path, epochs=3)
    assert first != other
    assert list(list_runs(tmp_path)) == sorted([first, other])
    again = run_of(weights_of=1)
    assert not write_run(first, again, b"")
    assert same(read_run(first), run_of())
    for number in (1, 2):
        assert write_run(first, again, b"", again=True)
        assert same(read_run(first), again)
        assert len(list(list_superseded(tmp_path))) == number
    assert same(read_run(first.with_name("seed-1.old-1")), run_of())
    assert list(list_runs(tmp_path)) == sorted([first, other])


def test_a_damaged_run_does_not_stand_and_is_not_lost(tmp_path: Path) -> None:
    folder = kept(tmp_path)
    (folder / "history.csv").write_bytes(b"")
    assert write_run(folder, run_of(weights_of=1), b"")
    assert same(read_run(folder), run_of(weights_of=1))
    assert (folder.with_name("seed-1.old-1") / "history.csv").read_bytes() == b""


FILES = (
    "weights.safetensors",
    "predictions.csv",
    "history.csv",
    "run.json",
    "outputs.npz",
    "representations.npz",
    "checksums.json",
)


def flip(file: Path, draw: random.Random) -> None:
    data = bytearray(file.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    file.write_bytes(data)


def read_all(folder: Path) -> None:
    read_run(folder)
    read_weights(folder)
    read_representations(folder)


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit_is_named(tmp_path: Path, name: str) -> None:
    """H5: the full trial is tests/bench/trial_runs.py."""
    folder, draw = kept(tmp_path), random.Random(name)
    whole = (folder / name).read_bytes()
    for _ in range(25):
        flip(folder / name, draw)
        with pytest.raises(RunError, match=rf"{name}: .*damaged.*(runs rm|--fresh)"):
            read_all(folder)
        assert any(name in line for line in damages(folder))
        (folder / name).write_bytes(whole)
    read_all(folder)


@pytest.mark.parametrize("name", FILES)
def test_what_is_cut_short_or_gone_is_named(tmp_path: Path, name: str) -> None:
    """H6."""
    folder = kept(tmp_path)
    whole = (folder / name).read_bytes()
    for data in (whole[: len(whole) // 2], whole[:-3], b"", b"\xff\xfe" * 40):
        (folder / name).write_bytes(data)
        with pytest.raises(RunError, match=name):
            read_all(folder)
    (folder / name).unlink()
    with pytest.raises(RunError, match=rf"{name}: is gone"):
        read_all(folder)
    assert any(name in line for line in damages(folder))


@given(st.binary(max_size=60), st.integers(0, 10**6), st.integers(0, 7))
@settings(max_examples=60)
def test_a_file_with_its_checksum(data: bytes, place: int, bit: int) -> None:
    file = Path("/tmp") / f"sedimental-checksum-{multiprocessing.current_process().pid}"
    try:
        file.write_bytes(with_checksum(data))
        assert without_checksum(file) == data
        whole = bytearray(with_checksum(data))
        whole[place % len(whole)] ^= 1 << bit
        file.write_bytes(whole)
        with pytest.raises(DamagedError):
            without_checksum(file)
    finally:
        file.unlink()


def _writes(root: str, number: int, again: bool, times: int) -> None:
    for time in range(times):
        own = 100 * number + time
        run = run_of(weights_of=own)
        write_run(folder_of(Path(root), run), run, b"weights of %d" % own, again)


@pytest.mark.parametrize("again", [False, True])
def test_two_writers_of_one_name_give_one_whole_result(tmp_path: Path, again: bool) -> None:
    """H11: never the settings of one with the weights of the other."""
    context = multiprocessing.get_context("fork")
    both = [
        context.Process(target=_writes, args=(str(tmp_path), number, again, 12))
        for number in (1, 2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    found = [*list_runs(tmp_path), *list_superseded(tmp_path)]
    assert len(list(list_runs(tmp_path))) == 1
    assert len(found) == (24 if again else 1)
    for folder in found:
        assert not damages(folder)
        number = int(read_run(folder).seconds - 1.5)
        assert read_weights(folder) == b"weights of %d" % number
    assert not list(tmp_path.rglob(".tmp-*"))


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    monkeypatch.setattr("sedimental.cache.runs.folder.write_checksums", full)
    run = run_of()
    with pytest.raises(RunError, match=r"No space left on device\. Free some space"):
        write_run(folder_of(tmp_path, run), run, b"")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_identity_is_all_that_decides() -> None:
    one = identity_of(CONFIGURATION, 1)
    assert one.key != identity_of(CONFIGURATION, 2).key
    assert one.key != Identity(one.configuration, 1, fold=0).key
    assert one.digest == Identity(one.configuration, 2, fold=3).digest  # one row
    assert Identity.from_json(json.loads(json.dumps(one.to_json()))) == one
    other = identity_of(CONFIGURATION | {"settings": {"epochs": 3}}, 1)
    assert one.digest != other.digest
    found = differences(one.configuration, other.configuration)
    assert wording(found) == "epochs 2, now 3"
    assert variants([one.configuration, other.configuration]) == ["epochs 2", "epochs 3"]
    rows = tuple(Clip(f"v$_${k}", "v", str(k), "train", f"t{k}", label=0.0) for k in range(3))
    digests = Manifest("toy", Path(), rows).digests
    changes: dict[str, dict[str, Any]] = {
        "labels": {"label": 1.0},
        "texts": {"text": "other"},
        "splits": {"split": "test"},
    }
    for part, change in changes.items():
        edited = Manifest("toy", Path(), (replace(rows[0], **change), *rows[1:])).digests
        assert {p for p in digests if digests[p] != edited[p]} == {part}
    elsewhere = Manifest("toy", Path("x"), (replace(rows[0], media="a.mp4"), *rows[1:]))
    assert elsewhere.digests == digests


def test_short_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = kept(tmp_path), kept(tmp_path, seed=2)
    other = kept(tmp_path, epochs=3)
    name, digits = first.parent.name, first.parent.name.rpartition("-")[2]
    assert find_folders(name, tmp_path) == (first, second)
    assert find_folders(f"{name}/seed-2", tmp_path) == (second,)
    assert find_folders(digits, tmp_path) == (first, second)
    assert find_folders(digits[:4], tmp_path) == (first, second)
    assert find_folders(f"{name[:-4]}/seed-1", tmp_path) == (first,)
    assert find_folders(str(other.parent), tmp_path) == (other,)
    assert find_folders(str(first.parent)[:-3], tmp_path / "elsewhere") == (first, second)
    with pytest.raises(RunError, match=r"means 2 configurations .*epochs 2.*epochs 3"):
        find_folders("uegd T", tmp_path)
    assert find_folders("uegd T", tmp_path, lambda folders: [other.parent]) == (other,)
    with pytest.raises(RunError, match=r"no such run\. Seeds here: seed-1, seed-2"):
        find_folders(f"{name}/seed-9", tmp_path)
    with pytest.raises(RunError, match=r'Did you mean "uegd T"|Rows here'):
        find_folders("uegd X", tmp_path)
    shutil.rmtree(other.parent)
    assert find_folders("uegd T", tmp_path) == find_folders("ueg", tmp_path) == (first, second)


def make_earlier(root: Path, seed: int = 1, change: Callable[[Run], Run] = lambda r: r) -> Path:
    """A run folder as the layout before identities had it."""
    run = change(run_of(seed))
    scratch = root / "scratch"
    folder = run_folder(root, run.model, run.modalities, seed)
    write_run(scratch / "seed-1", run, b"weights of %d" % seed)
    head = json.loads((scratch / "seed-1/run.json").read_text())
    head = {k: v for k, v in head.items() if k != "identity"} | {"format": EARLIER}
    (scratch / "seed-1/run.json").write_text(json.dumps(head))
    (scratch / "seed-1/checksums.json").unlink()
    folder.parent.mkdir(parents=True, exist_ok=True)
    (scratch / "seed-1").rename(folder)
    scratch.rmdir()
    return folder


def test_runs_of_earlier_versions_are_refused_with_the_way_and_taken_over(tmp_path: Path) -> None:
    folders = [make_earlier(tmp_path, seed) for seed in (1, 2)]
    data = io.BytesIO()
    np.savez(data, head=np.array("{}"))
    (folders[0] / "robustness.npz").write_bytes(data.getvalue())
    before = {f.name: f.read_bytes() for f in folders[0].iterdir()}
    with pytest.raises(RunError, match="sedimental runs migrate"):
        read_run(folders[0])
    with pytest.raises(RunError, match="sedimental runs migrate"):
        read_scores(folders[0])
    assert list(earlier_runs(tmp_path)) == folders
    moved = [migrate(folder) for folder in folders]
    assert not list(earlier_runs(tmp_path))
    assert not folders[0].parent.exists()
    assert moved[0].parent == moved[1].parent  # two seeds of one configuration stay a row
    assert list(list_runs(tmp_path)) == moved
    for seed, folder in enumerate(moved, 1):
        assert np.array_equal(read_run(folder).predictions.values, run_of(seed).predictions.values)
        assert read_weights(folder) == b"weights of %d" % seed
        assert not damages(folder)
    for name in ("predictions.csv", "weights.safetensors", "history.csv", "outputs.npz"):
        assert (moved[0] / name).read_bytes() == before[name]
    assert without_checksum(moved[0] / "robustness.npz") == before["robustness.npz"]
    torn = make_earlier(tmp_path)
    (torn / "predictions.csv").write_bytes(b"")
    (torn / "run.json").write_text(json.dumps({"format": EARLIER}))
    with pytest.raises(RunError, match="cannot be taken over"):
        migrate(torn)
    assert torn.is_dir()


def sweep_of(fingerprint: str, manifest: str = "m", seconds: float = 1.5) -> Sweep:
    point = Point(
        arm="ridge",
        model="ridge",
        letters="T",
        choice="1",
        layers={"text": "1"},
        seeds=(0,),
        scores={"valid": {"MAE": (0.5,)}, "test": {"MAE": (float("nan"),)}},
        settings={"penalty": 0.1},
        folder="",
        seconds=seconds,
    )
    encoder = Encoder("bert", "hub", fingerprint, ("0", "1"), "1")
    return Sweep(
        kind="probe",
        key=f"{fingerprint}{manifest}00000000",
        corpus="toy",
        protocol="mosi",
        classes=(),
        criterion="MAE",
        manifest=manifest,
        encoders={"text": encoder},
        points=(point,),
        picks={"ridge": {"text": "1"}},
    )


def test_sweeps_carry_a_checksum_and_are_not_lost(tmp_path: Path) -> None:
    """H5, R3: one of other features goes aside, and is there when they are asked for again."""
    file = write_sweep(tmp_path, sweep_of("aa"))
    whole, draw = file.read_bytes(), random.Random(0)
    for _ in range(60):
        flip(file, draw)
        with pytest.raises(RunError, match=r"sweep\.json: damaged"):
            read_sweep(tmp_path)
        file.write_bytes(whole)
    write_sweep(tmp_path, sweep_of("aa", seconds=2.0))  # the same, later: it takes the place
    assert [s.points[0].seconds for s in read_sweeps(tmp_path)] == [2.0]
    write_sweep(tmp_path, sweep_of("bb"))
    assert [s.encoders["text"].fingerprint for s in read_sweeps(tmp_path)] == ["bb", "aa"]
    file.write_bytes(b"torn")
    write_sweep(tmp_path, sweep_of("cc"))
    assert [s.encoders["text"].fingerprint for s in read_sweeps(tmp_path)] == ["cc", "aa"]
    (unread,) = tmp_path.glob("sweep-unread-*.json")
    assert unread.read_bytes() == b"torn"
