"""`train` on real stores: finds the right ones, repeats nothing, loses nothing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from sedimental.cache.errors import (
    IncompleteStoreError,
    ManifestError,
    RunError,
    StoreError,
    StoreNotFoundError,
)
from sedimental.cache.manifest import Clip, Manifest, write_manifest
from sedimental.cache.runs import list_runs, read_run
from sedimental.cache.spec import MODALITIES, FeatureSpec, Modality
from sedimental.cache.writer import ClipFeatures, StoreWriter
from sedimental.config import Config, ConfigError
from sedimental.train.inputs import find_inputs, layer_names
from sedimental.train.run import train

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
    assert heard.notes[0].startswith(f"uegd TAV seed 1: best epoch {run.best_epoch}, valid MAE ")
    folder = config.experiment / "uegd-TAV" / "seed-1"
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
    assert all("the finished run stands" in note for note in heard.notes)
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
    assert read_run(corpus / "runs" / "toy" / "uegd-TAV" / "seed-1").key == second.key


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
