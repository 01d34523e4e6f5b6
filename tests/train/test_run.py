"""`train` on real stores: finds the right ones, repeats nothing, loses nothing."""

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from sedimental.cache.manifest import Clip, Manifest, write_manifest
from sedimental.cache.runs import folder_of, list_runs, read_run
from sedimental.cache.runs.names import find_folders
from sedimental.cache.runs.representations import read_representations
from sedimental.cache.spec import MODALITIES, FeatureSpec, Modality, layer_names
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.config import Config, ConfigError
from sedimental.errors import (
    IncompleteStoreError,
    ManifestError,
    RunError,
    StoreError,
    StoreNotFoundError,
)
from sedimental.progress import Silent
from sedimental.train.data.dataset import Table
from sedimental.train.data.inputs import find_inputs
from sedimental.train.data.load import load
from sedimental.train.fit.checkpoint import _read as read_checkpoint
from sedimental.train.processes.pool import workers_for
from sedimental.train.record import representations_of
from sedimental.train.run import train
from sedimental.train.session import TrainSession

LAYERS = ("0", "1", "2", "3")
SETTINGS: Mapping[Modality, Mapping[str, Any]] = {
    "text": {"max_length": 512},
    "audio": {"rate": 5.0, "pool": "stride"},
    "vision": {"fps": 3.0, "face_size": 256, "margin": 0, "no_face": "zero", "detect_size": 640},
}


def spec_of(modality: Modality, **changes: Any) -> FeatureSpec:
    settings = {k: changes.pop(k, v) for k, v in SETTINGS[modality].items()}
    plain = FeatureSpec(
        modality=modality,
        encoder=f"tiny-{modality}",
        source=f"maker/tiny-{modality}",
        revision=None,
        weights="random:0",
        weights_digest="00",
        layers=LAYERS,
        width=6,
        preprocessing=settings | {"else": 1},
    )
    return replace(plain, **changes)


def write_store(
    folder: Path,
    clips: Sequence[Clip],
    spec: FeatureSpec,
    missing: Sequence[str] = (),
    finish: bool = True,
) -> Path:
    """Features that say the label in layer 2, a frame in three invalid."""
    random = np.random.default_rng(MODALITIES.index(spec.modality))
    made = []
    for clip in clips:
        if clip.id in missing:
            continue
        n = int(random.integers(2, 5))
        values = random.normal(0, 1, (len(LAYERS), n, 6)).astype(np.float32)
        values[2] += clip.label or 0
        times = np.arange(n, dtype=np.float32)
        valid = np.arange(n) % 3 < 2
        made.append(ClipFeatures(clip.id, "s", values, times, times * 0 + 1, valid, {}))
    writer = StoreWriter.create(folder, spec, "zarr")
    if made:
        writer.add(made)
    if finish:
        writer.finish({c.id: "s" for c in clips}, dict.fromkeys(missing, "decode: no such stream"))
    return writer.path


def clips_of(n: int = 40) -> list[Clip]:
    random = np.random.default_rng(0)
    return [
        Clip(
            id=f"v$_${k}",
            video_id="v",
            clip_id=str(k),
            split="train" if k < n // 2 else "valid" if k < 3 * n // 4 else "test",
            label=float(random.uniform(-3, 3)),
        )
        for k in range(n)
    ]


def config_of(root: Path, features: Mapping[str, Any] | None = None, **train_keys: Any) -> Config:
    tables = [
        {"modality": m, "encoder": f"tiny-{m}"} | ((features or {}).get(m) or {})
        for m in MODALITIES
    ]
    inputs = {
        "text": {"encoder": "tiny-text", "layers": 2},
        "audio": {"encoder": "tiny-audio", "layers": "weighted"},
        "vision": {"encoder": "tiny-vision", "layers": [2, -1]},
    }
    section = {
        "inputs": inputs,
        "seeds": [1, 2],
        "epochs": 3,
        "learning_rate": 1e-3,
        "uegd": {"hidden": 8, "embedding": 4, "heads": 2},
    }
    return Config.model_validate(
        {
            "corpus": {"kind": "csv", "path": "toy.csv"},
            "cache": {"root": root / "features"},
            "runs": {"root": root / "runs"},
            "features": tables,
            "train": section | train_keys,
        }
    )


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A root with a manifest and a store of each modality; two clips lack audio."""
    clips = clips_of()
    folder = tmp_path / "features" / "toy"
    write_manifest(folder / "manifest.jsonl", Manifest("toy", tmp_path, tuple(clips)))
    for m in MODALITIES:
        write_store(folder, clips, spec_of(m), ["v$_$1", "v$_$39"] if m == "audio" else [])
    return tmp_path


def plan_folder(config: Config) -> Path:
    """Where the runs of the only row of `config` lie, or will lie."""
    return TrainSession(config, Silent()).plans[0].folder.parent


class Heard:
    """A listener that remembers, and may interrupt."""

    def __init__(self, stop_at: int = -1) -> None:
        self.notes: list[str] = []
        self.done = self.total = 0
        self.stop_at = stop_at

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        self.total = total

    def advance(self, task: str, by: int = 1) -> None:
        self.done += by
        if self.done == self.stop_at:
            raise KeyboardInterrupt

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_a_run_folder_is_whole(corpus: Path) -> None:
    config = config_of(corpus, seeds=[1])
    heard = Heard()
    (run,) = train(config, heard)
    assert (heard.done, heard.total) == (3, 3)
    assert heard.notes[0].startswith("warning: 1 video of 1 in several splits (v): 20 train clips")
    assert heard.notes[1].startswith(f"uegd TAV seed 1: best epoch {run.best_epoch}, valid MAE ")
    (folder,) = find_folders("uegd-TAV/seed-1", config.experiment)
    assert list(list_runs(config.experiment)) == [folder]
    again = read_run(folder)
    assert again.metrics == run.metrics
    assert again.inputs == run.inputs
    assert again.key == run.key
    assert np.array_equal(again.predictions.values, run.predictions.values)
    assert [i.layers for i in run.inputs] == [("2",), ("1", "2", "3"), ("2", "3")]
    assert [i.weighted for i in run.inputs] == [False, True, False]
    assert run.predictions.ids == tuple(c.id for c in clips_of())
    assert run.outputs["gate"].shape == (40, 3)
    assert run.outputs["layers_audio"].shape == (3,)
    assert run.coverage["train"] == {
        "clips": 20,
        "text": 20,
        "audio": 19,
        "vision": 20,
        "unlabelled": 0,
        "without_features": 0,
    }
    assert run.coverage["test"]["audio"] == 9
    assert len(run.history) == 3
    assert run.options["heads"] == 2
    assert run.environment["threads"] == "1"
    assert "tmp" not in " ".join(p.name for p in folder.parent.iterdir())
    weights = load_file(folder / "weights.safetensors")
    assert weights["inputs.audio.mean"].shape == (3, 6)
    assert weights["inputs.vision.deviation"].shape == (1, 12)
    assert run.parameters == sum(
        w.size for name, w in weights.items() if not name.startswith("inputs.")
    )
    json.dumps(run.config)


def test_every_subset_and_seed_is_a_run_and_none_is_repeated(corpus: Path) -> None:
    config = config_of(corpus, modalities=["TAV", "A", "TV"])
    runs = train(config)
    assert [(r.letters, r.seed) for r in runs] == [
        (letters, seed) for letters in ("TAV", "A", "TV") for seed in (1, 2)
    ]
    assert runs[2].outputs["gate"].shape == (39, 1)  # a training clip has no audio, nothing else
    assert len(runs[2].predictions.of("test")[0]) == 10  # a test clip without audio is scored
    heard = Heard()
    stamps = [f.stat().st_mtime_ns for f in sorted(config.experiment.rglob("run.json"))]
    same = train(config.model_copy(deep=True), heard)
    assert [f.stat().st_mtime_ns for f in sorted(config.experiment.rglob("run.json"))] == stamps
    assert [r.metrics for r in same] == [r.metrics for r in runs]
    assert (heard.done, heard.total) == (18, 18)
    assert all("the finished run stands" in note for note in heard.notes[1:])
    fresh = train(config, fresh=True)
    assert [f.stat().st_mtime_ns for f in sorted(config.experiment.rglob("run.json"))] != stamps
    for one, other in zip(runs, fresh, strict=True):
        assert np.array_equal(one.predictions.values, other.predictions.values)


def test_a_run_does_not_depend_on_its_company(corpus: Path) -> None:
    both = train(config_of(corpus, modalities=["T", "TV"]))
    alone = train(config_of(corpus, modalities=["TV"]), fresh=True)
    assert np.array_equal(both[2].predictions.values, alone[0].predictions.values)


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"epochs": 2}, True),
        ({"uegd": {"hidden": 8, "embedding": 4, "heads": 1}}, True),
        ({"input_scaling": "none"}, True),
        ({"threads": 2}, False),
        ({"seeds": [1, 3]}, False),
    ],
)
def test_the_key_follows_what_decides(corpus: Path, change: dict[str, Any], again: bool) -> None:
    (first,) = train(config_of(corpus, seeds=[1]))
    second = train(config_of(corpus, **{"seeds": [1], **change}))[0]
    assert (first.key != second.key) == again
    kept = [read_run(f).key for f in list_runs(corpus / "runs" / "toy") if f.name == "seed-1"]
    assert set(kept) == {first.key, second.key}  # R1: nothing that was trained is deleted


def test_new_features_and_labels_mean_a_new_run(corpus: Path) -> None:
    config, folder, clips = config_of(corpus, seeds=[1]), corpus / "features" / "toy", clips_of()
    keys = [train(config)[0].key]
    write_store(folder, clips[1:2], spec_of("audio"))  # the clip that had failed
    keys.append(train(config)[0].key)
    relabelled = (replace(clips[0], label=0.5), *clips[1:])
    write_manifest(folder / "manifest.jsonl", Manifest("toy", corpus, relabelled))
    keys.append(train(config)[0].key)
    assert len(set(keys)) == 3


def test_an_interrupted_train_keeps_what_is_finished(corpus: Path) -> None:
    config = config_of(corpus, seeds=[1, 2, 3])
    with pytest.raises(KeyboardInterrupt):
        train(config, Heard(stop_at=5))  # in the second run
    assert [read_run(f).seed for f in list_runs(config.experiment)] == [1]
    heard = Heard()
    resumed = train(config, heard)
    assert sum("stands" in note for note in heard.notes) == 1
    whole = train(config, fresh=True)
    for one, other in zip(resumed, whole, strict=True):
        assert np.array_equal(one.predictions.values, other.predictions.values)


def test_threads_are_given_back(corpus: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    train(config_of(corpus, seeds=[1], threads=1))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_divergence_names_the_run(corpus: Path) -> None:
    with pytest.raises(RunError, match=r"uegd TAV seed 1: Epoch \d"):
        train(config_of(corpus, learning_rate=1e38, warmup=0.0, seeds=[1]))


def test_a_missing_store_names_its_remedy(corpus: Path) -> None:
    config = config_of(corpus, {"audio": {"rate": 2.5}})
    with pytest.raises(StoreNotFoundError) as found:
        train(config)
    assert "train.inputs.audio" in str(found.value)
    assert "has rate 5.0" in str(found.value)
    assert "`sedimental extract` makes them" in str(found.value)


def test_an_incomplete_store_is_refused(corpus: Path) -> None:
    folder = corpus / "features" / "toy"
    write_store(folder, clips_of(), spec_of("audio", rate=2.5), finish=False)
    with pytest.raises(IncompleteStoreError, match="sedimental extract"):
        train(config_of(corpus, {"audio": {"rate": 2.5}}))


def test_a_store_without_any_clip_is_told(corpus: Path) -> None:
    clips = clips_of()
    folder = corpus / "features" / "toy"
    write_store(folder, clips, spec_of("audio", rate=2.5), missing=[c.id for c in clips])
    with pytest.raises(StoreError, match="no clip has audio features"):
        train(config_of(corpus, {"audio": {"rate": 2.5}}))


def test_the_store_that_fits_the_table_is_taken(corpus: Path) -> None:
    folder, clips = corpus / "features" / "toy", clips_of()
    others = {
        "rate": spec_of("audio", rate=2.5),
        "weights": spec_of("audio", weights="random:7"),
        "hub": spec_of("audio", weights="hub", revision="a" * 40),
    }
    paths = {name: write_store(folder, clips, spec) for name, spec in others.items()}

    def chosen(table: dict[str, Any]) -> str:
        config = config_of(corpus, {"audio": table})
        return next(i for i in find_inputs(config) if i.modality == "audio").store.path.name

    assert chosen({"rate": 2.5}) == paths["rate"].name
    assert chosen({"weights": "random:7"}) == paths["weights"].name
    assert chosen({"weights": "hub", "revision": "a" * 40}) == paths["hub"].name
    assert chosen({"weights": "random:0"}) == spec_of("audio").folder_name
    assert chosen({}) == paths["hub"].name  # three fit: the newest
    with pytest.raises(StoreNotFoundError, match="has revision aaaa"):
        chosen({"weights": "hub", "revision": "b" * 40})


def test_an_encoder_by_its_hub_id_finds_its_store(corpus: Path) -> None:
    config = config_of(corpus, {"audio": {"encoder": "maker/tiny-audio"}})
    inputs = config.train.inputs
    assert inputs.audio is not None
    audio = inputs.audio.model_copy(update={"encoder": "maker/tiny-audio"})
    section = config.train.model_copy(update={"inputs": inputs.model_copy(update={"audio": audio})})
    found = find_inputs(config.model_copy(update={"train": section}))
    assert found[1].store.spec.encoder == "tiny-audio"


def test_a_layer_that_is_not_stored_is_told(corpus: Path) -> None:
    config = config_of(corpus)
    with pytest.raises(StoreError, match="layer 9 is not stored"):
        layer_names(find_inputs(config)[0].store.spec, 9)


def test_what_cannot_be_trained_is_told_before_anything_is_read(corpus: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean"):
        train(config_of(corpus, uegd={"hiden": 3}))
    with pytest.raises(RunError, match="asks for no run"):
        train(config_of(corpus, seeds=[]))
    with pytest.raises(RunError, match=r"train\.modalities"):
        train(config_of(corpus, modalities=["X"]))
    with pytest.raises(RunError, match=r"train\.device"):
        train(config_of(corpus, device="cuda:63"))
    with pytest.raises(StoreError, match=r"no \[\[features\]\] table"):
        train(config_of(corpus, inputs={"text": {"encoder": "tiny-txt"}}))
    with pytest.raises(ManifestError, match="no manifest"):
        train(config_of(corpus / "elsewhere"))


CHILD = """
import sys
from sedimental.config import Config
from sedimental.train.fit import checkpoint
from sedimental.train.run import train
from sedimental.train.session import TrainSession

class Told:
    def start(self, task, total, unit="clip"): ...
    def note(self, message): ...
    def advance(self, task, by=1):
        print("epoch", flush=True)

checkpoint.EVERY = 0.0
train(Config.model_validate_json(sys.argv[1]), Told())
"""


def killed_after(config: Config, epochs: int) -> None:
    """`train` in a process of its own, which gets SIGKILL as soon as it tells of so many epochs."""
    command = [sys.executable, "-P", "-c", CHILD, config.model_dump_json()]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        for _ in range(epochs):
            assert child.stdout.readline() == "epoch\n"
        child.kill()
        assert child.wait() == -signal.SIGKILL


def test_killed_at_any_moment_it_ends_with_the_same_predictions(corpus: Path) -> None:
    keys: dict[str, Any] = {"epochs": 40, "warmup": 0.0, "weight_decay": 1e-4}
    config = config_of(corpus, **keys)
    folder = plan_folder(config)
    for epochs in (7, 52):  # once in each run
        killed_after(config, epochs)
        assert list(folder.glob(".resume-*"))
    assert [read_run(f).seed for f in list_runs(config.experiment)] == [1]
    resumed = train(config)
    assert not [p for p in folder.iterdir() if p.name.startswith(".resume")]
    apart = config.model_copy(
        update={"runs": config.runs.model_copy(update={"root": corpus / "apart"})}
    )
    for one, other in zip(resumed, train(apart), strict=True):
        assert np.array_equal(one.predictions.values, other.predictions.values)
        assert one.best_epoch == other.best_epoch
        strip = [replace(e, seconds=0.0) for e in one.history]
        assert strip == [replace(e, seconds=0.0) for e in other.history]


def test_a_damaged_or_foreign_checkpoint_is_no_obstacle(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sedimental.train.fit.checkpoint.EVERY", 0.0)
    config = config_of(corpus, seeds=[1], epochs=5)
    (whole,) = train(config)
    kept = plan_folder(config) / ".resume-seed-1.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(config, Heard(stop_at=3), fresh=True)
    data = kept.read_bytes()
    torn = data[:-40] + bytes(40)
    assert torn != data
    for content in (data[:100], data[:-7], b"", b"nothing of the kind", torn):
        shutil.rmtree(plan_folder(config) / "seed-1", ignore_errors=True)
        kept.write_bytes(content)
        (again,) = train(config)
        assert np.array_equal(whole.predictions.values, again.predictions.values)
    flips = random.Random(0)  # H4: head and tensors alike, and its name is told
    for _ in range(40):
        changed = bytearray(data)
        changed[flips.randrange(len(data))] ^= 1 << flips.randrange(8)
        kept.write_bytes(changed)
        notes: list[str] = []
        assert read_checkpoint(kept, whole.key, notes.append) == ({}, {})
        assert len(notes) == 1
        assert f"{kept}: damaged" in notes[0]
    kept.write_bytes(data)
    assert read_checkpoint(kept, whole.key, notes.append)[0]["key"] == whole.key
    assert read_checkpoint(kept, "another run's", notes.append) == ({}, {})
    kept.write_bytes(torn)
    shutil.rmtree(plan_folder(config) / "seed-1")
    heard = Heard()
    train(config, heard)
    assert any(f"{kept}: damaged" in note for note in heard.notes)
    kept.write_bytes(data)  # of other settings than these
    (other,) = train(config_of(corpus, seeds=[1], epochs=5, learning_rate=2e-3))
    assert len(other.history) == 5
    assert not np.array_equal(whole.predictions.values, other.predictions.values)


def test_the_run_records_what_the_recipe_resolved_to(corpus: Path) -> None:
    table = {"hidden": 8, "embedding": 4, "heads": 2, "learning_rate": 3e-3, "clip_norm": 0}
    config = config_of(
        corpus, seeds=[1], uegd=table, epochs=2, clip_norm=1.0, criterion="Corr", learning_rate=1e-3
    )
    (run,) = train(config)
    assert run.config["learning_rate"] == 3e-3  # the model's table
    assert run.config["clip_norm"] is None  # the same, by a zero
    assert run.config["epochs"] == 2  # [train]
    assert run.config["mask_time"] == 0.2  # UEGD's recipe
    assert run.criterion == "valid_Corr"
    assert run.best_epoch == 1 + int(np.argmax([e.valid["Corr"] for e in run.history]))
    with pytest.raises(ConfigError, match=r'train\.criterion: "Cor" .*Did you mean "Corr"'):
        train(config_of(corpus, criterion="Cor"))


def test_classes_are_trained_and_their_probabilities_kept(corpus: Path) -> None:
    names = ("anger", "joy", "none")
    clips = [
        replace(c, category=names[int(np.digitize(c.label or 0, [-1, 1]))], label=None)
        for c in clips_of()
    ]
    path = corpus / "features" / "toy" / "manifest.jsonl"
    write_manifest(path, Manifest("toy", corpus, tuple(clips)))
    (run,) = train(config_of(corpus, seeds=[1], epochs=40, learning_rate=1e-2))
    assert list(run.metrics["test"]) == ["Accuracy", "Weighted_F1", *(f"F1_{n}" for n in names)]
    assert run.metrics["train"]["Accuracy"] > 0.6
    assert run.history[0].train_loss == pytest.approx(np.log(3), abs=0.5)
    again = read_run(*find_folders("uegd-TAV/seed-1", corpus / "runs" / "toy")).predictions
    assert again.classes == names
    assert again.probabilities is not None
    assert run.predictions.probabilities is not None
    np.testing.assert_array_equal(again.probabilities, run.predictions.probabilities)
    np.testing.assert_allclose(again.probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(again.values, again.probabilities.argmax(axis=1))
    np.testing.assert_array_equal(again.labels, [names.index(c.category or "") for c in clips])
    (folder,) = find_folders("uegd TAV/seed-1", corpus / "runs/toy")
    first = (folder / "predictions.csv").read_text().splitlines()[:2]
    assert first[0] == "id,split,label,prediction," + ",".join(f"probability_{n}" for n in names)
    assert first[1].split(",")[2] in names


@pytest.mark.parametrize("scaling", ["none", "standardize"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_is_streamed_equals_what_is_held(tmp_path: Path, scaling: str, dtype: str) -> None:
    """Every batch, the epochs' order and so the run; whether clips lack features or not."""
    clips = clips_of()
    folder = tmp_path / "features" / "toy"
    manifest = Manifest("toy", tmp_path, tuple(clips))
    write_manifest(folder / "manifest.jsonl", manifest)
    for m in MODALITIES:  # in several parts
        lacking = ["v$_$1", "v$_$2", "v$_$39"] if m == "audio" else []
        spec = spec_of(m, dtype=dtype)
        for start in range(0, 40, 7):
            write_store(folder, clips[start : start + 7], spec, lacking, finish=start == 35)
    config = config_of(tmp_path, seeds=[1])
    config = config.model_copy(update={"cache": config.cache.model_copy(update={"dtype": dtype})})
    table, inputs = Table.of(manifest), find_inputs(config)
    cpu = torch.device("cpu")
    held, streamed = (load(table, inputs, scaling, cpu, mb).select(MODALITIES) for mb in (100, 0))
    assert [type(s).__name__ for s in held.sources.values()] == ["Source"] * 3
    assert [type(s).__name__ for s in streamed.sources.values()] == ["Streamed"] * 3
    assert streamed.coverage == held.coverage
    random = np.random.default_rng(0)
    batches = [torch.from_numpy(random.choice(40, n, replace=False)) for n in (5, 1, 17, 40)]
    batches += [torch.tensor([1, 39]), torch.tensor([-1, 3]), torch.tensor([7, 7])]
    for one, other in zip(held.batches(batches, 2), streamed.batches(batches, 2), strict=True):
        for m in MODALITIES:
            torch.testing.assert_close(one.features[m], other.features[m], rtol=1e-6, atol=1e-6)
            assert torch.equal(one.masks[m], other.masks[m])
            for first, second in zip(one.previous, other.previous, strict=True):
                assert torch.equal(first.masks[m], second.masks[m])
    for m in MODALITIES:
        assert held.sources[m].shape == streamed.sources[m].shape
    if scaling == "standardize" and dtype == "float16":
        (whole,) = train(config)
        bare = config.model_copy(update={"train": config.train.model_copy(update={"memory_mb": 0})})
        (read,) = train(bare, fresh=True)
        assert whole.key == read.key
        np.testing.assert_allclose(
            whole.predictions.values, read.predictions.values, rtol=0, atol=1e-4
        )


def test_a_run_keeps_the_vectors_its_head_reads_within_bounds(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = train(config_of(corpus, seeds=[1], epochs=2))
    (folder,) = list_runs(config_of(corpus, seeds=[1], epochs=2).experiment)
    kept = read_representations(folder)
    assert kept is not None
    assert kept.rows.tolist() == list(range(len(run.predictions.ids)))
    assert set(kept.vectors) == {"fused", *MODALITIES}
    # what UEGD's decoder reads is its modalities' embeddings, each times its gate
    own = np.stack([kept.vectors[m].astype(np.float64) for m in MODALITIES], axis=1)
    expected = (run.outputs["gate"][:, :, None] * own).sum(axis=1)
    np.testing.assert_allclose(kept.vectors["fused"], expected, atol=5e-3)
    splits = ["train"] * 50 + ["test"] * 30
    vectors = {"fused": np.ones((80, 4), np.float32), "text": np.ones((80, 6), np.float32)}
    for most, rows in ((800, range(80)), (799, range(50, 80)), (100, range(50, 80, 3))):
        monkeypatch.setattr("sedimental.train.record.MOST", most)
        found = representations_of(vectors, splits)  # type: ignore[arg-type]
        assert found is not None
        assert found.rows.tolist() == list(rows)
        assert found.vectors["text"].shape == (len(rows), 6)
    assert representations_of({}, splits) is None  # type: ignore[arg-type]


LITTLE = {"width": 8, "heads": 2, "encoder_layers": 1, "fusion_feedforward": 16}


def test_several_processes_make_the_same_runs(corpus: Path) -> None:
    """GLoMo does not stack: with stack = "on" each process makes some of its runs."""
    keys: dict[str, Any] = {"models": ["glomo"], "glomo": LITTLE, "epochs": 2, "seeds": [1, 2, 3]}
    alone = train(config_of(corpus, **keys, stack="off"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sedimental.train.processes.pool.cores", lambda: 2)
        heard = Heard()
        apart = train(config_of(corpus, **keys, stack="on"), heard, fresh=True)
    assert (heard.done, heard.total) == (6, 6)
    assert sum("best epoch" in note for note in heard.notes) == 3
    for one, other in zip(alone, apart, strict=True):
        assert (one.seed, one.key) == (other.seed, other.key)
        assert np.array_equal(one.predictions.values, other.predictions.values)


def test_a_fault_in_a_process_is_told(corpus: Path) -> None:
    keys: dict[str, Any] = {"models": ["glomo"], "glomo": LITTLE, "stack": "on"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sedimental.train.processes.pool.cores", lambda: 2)
        with pytest.raises(RunError, match=r"glomo TAV seed \d: Epoch \d"):
            train(config_of(corpus, **keys, learning_rate=1e38, warmup=0.0))


def test_processes_are_taken_only_where_that_is_faster() -> None:
    def count(runs: int, seconds: float, stack: str = "auto", threads: int = 1) -> int:
        config = Config.model_validate({"train": {"stack": stack, "threads": threads}})
        return workers_for(runs, seconds, config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sedimental.train.processes.pool.cores", lambda: 4)
        assert count(11, 1.0) == 1  # over before a process has started
        assert count(11, 60.0) == 4
        assert count(2, 60.0) == 2
        assert count(1, 600.0) == 1
        assert count(11, 60.0, threads=2) == 2
        assert count(11, 60.0, "off") == 1
        assert count(11, 1.0, "on") == 4


def test_a_stack_of_seeds_is_a_run_each(corpus: Path) -> None:
    config = config_of(corpus, seeds=[1, 2, 3], stack="on", epochs=4)
    runs = train(config)
    assert [r.seed for r in runs] == [1, 2, 3]
    assert all(r.environment["stacked"] == "1 2 3" for r in runs)
    assert all(len(r.history) == 4 for r in runs)
    assert [read_run(f).seed for f in list_runs(config.experiment)] == [1, 2, 3]
    assert [r.key for r in train(config)] == [r.key for r in runs]
    alone = train(config_of(corpus, seeds=[1], stack="on", epochs=4))  # nothing to stack with
    assert alone[0].key != runs[0].key
    assert "stacked" not in alone[0].environment
    # one that is missing means the stack anew, for its masks are drawn for all
    train(config)
    shutil.rmtree(folder_of(config.experiment, runs[1]))
    again = train(config)
    for one, other in zip(runs, again, strict=True):
        assert np.array_equal(one.predictions.values, other.predictions.values)
