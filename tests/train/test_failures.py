"""A model that cannot fit is refused before anything trains; a run that fails ends no other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from sedimental.cache.manifest import Clip, Manifest, write_manifest
from sedimental.cache.runs import list_runs
from sedimental.cache.spec import FeatureSpec, Modality
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.config import Config
from sedimental.errors import RunError, RunsFailedError
from sedimental.train.run import train
from sedimental.train.sweep.probe import probe
from sedimental.train.sweep.sweep import sweep

WIDTHS: dict[Modality, int] = {"text": 10, "audio": 7}


def make(root: Path, without: str = "", **train: Any) -> Config:
    """Texts 10 wide and sound 7 wide; of `without` no training clip has any."""
    random = np.random.default_rng(0)
    splits = ("train",) * 20 + ("valid",) * 8 + ("test",) * 8
    clips = [
        Clip(f"v{k // 3}$_${k}", f"v{k // 3}", str(k), split, label=float(k % 5) - 2)  # type: ignore[arg-type]
        for k, split in enumerate(splits)
    ]
    folder = root / "features" / "toy"
    write_manifest(folder / "manifest.jsonl", Manifest("toy", root, tuple(clips)))
    settings: dict[str, Any] = {
        "text": {"max_length": 512},
        "audio": {"rate": 5.0, "pool": "stride"},
    }
    for m, width in WIDTHS.items():
        spec = FeatureSpec(
            m, f"tiny-{m}", f"x/tiny-{m}", None, "random:0", "00", ("0", "1"), width,
            preprocessing=settings[m],
        )  # fmt: skip
        own = [c for c in clips if not (m == without and c.split == "train")]
        made = []
        for clip in own:
            values = random.normal(clip.label or 0, 1, (2, 3, width)).astype(np.float32)
            times = np.arange(3, dtype=np.float32)
            made.append(ClipFeatures(clip.id, "s", values, times, times + 1, times < 9, {}))
        writer = StoreWriter.create(folder, spec, "zarr")
        writer.add(made)
        lost = {c.id: "decode: broken" for c in clips if c not in own}
        writer.finish({c.id: "s" for c in clips}, lost)
    return Config.model_validate(
        {
            "corpus": {"kind": "csv", "path": "toy.csv", "name": "toy"},
            "cache": {"root": root / "features"},
            "runs": {"root": root / "runs"},
            "features": [{"modality": m, "encoder": f"tiny-{m}"} for m in WIDTHS],
            "train": {
                "inputs": {m: {"encoder": f"tiny-{m}"} for m in WIDTHS},
                "seeds": [1, 2],
                "epochs": 2,
                "device": "cpu",
                "uegd": {"hidden": 8, "embedding": 4, "heads": 2},
                **train,
            },
            "sweep": {"processes": 1, "epochs": 1},
        }
    )


WIDE = {"width": None, "heads": 1, "layers": 1, "head": 8, "preset": "mosi"}


def test_models_that_cannot_fit_are_refused_before_anything_trains(tmp_path: Path) -> None:
    """Widths 10 and 7: MMML has no common width; all that is wrong is said at once."""
    config = make(tmp_path, models=["uegd", "mmml"], mmml=WIDE)
    with pytest.raises(RunError, match=r"mmml: text and audio are 10 and 7 wide"):
        train(config)
    assert not list(list_runs(config.experiment))
    model = config.sweep
    assert model is not None
    swept = config.model_copy(
        update={"sweep": model.model_copy(update={"model": ("uegd", "mmml")})}
    )
    with pytest.raises(RunError, match="10 and 7 wide"):
        sweep(swept)
    assert not list(config.experiment.rglob("seed-*"))


def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    from sedimental.train import session
    from sedimental.train.session import train_one

    whole: Callable[..., Any] = train_one

    def one(plan: Any, *rest: Any) -> Any:
        if plan.seed == 1 and plan.model == "uegd":
            raise RunError(f"{plan.title}: Epoch 1, batch 1 of 2: the loss is nan.")
        if plan.model == "lf_dnn" and plan.seed == 2:
            raise ZeroDivisionError("of our own")
        return whole(plan, *rest)

    monkeypatch.setattr(session, "train_one", one)


def test_a_run_that_fails_ends_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make(tmp_path, models=["uegd", "lf_dnn"])
    failing(monkeypatch)
    with pytest.raises(RunsFailedError) as found:
        train(config)
    assert [(r.model, r.seed) for r in found.value.runs] == [("uegd", 2), ("lf_dnn", 1)]
    assert found.value.code == 3
    first, second = found.value.failures
    assert "uegd TA seed 1: Epoch 1" in first
    assert second == "lf_dnn TA seed 2: ZeroDivisionError: of our own"
    monkeypatch.undo()
    assert len(train(config)) == 4  # what is lacking is made, the rest stands


def test_a_sweep_goes_on_without_the_runs_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make(tmp_path)
    failing(monkeypatch)
    found = sweep(config)
    assert found.failures
    assert all("seed 1" in text for text in found.failures)
    assert {point.seeds for point in found.points} == {(2,)}


def test_a_modality_that_no_training_clip_has_is_left_out_of_the_probe(tmp_path: Path) -> None:
    found = probe(make(tmp_path, without="audio"))
    assert set(found.encoders) == {"text"}
    alone = make(tmp_path / "alone", without="text")
    inputs = alone.train.inputs.model_copy(update={"audio": None})
    section = alone.train.model_copy(update={"inputs": inputs})
    with pytest.raises(RunError, match="No training clip has features of text"):
        probe(alone.model_copy(update={"train": section}))


def test_the_command_lists_what_failed_and_ends_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sedimental.train import cli

    config = make(tmp_path)
    failing(monkeypatch)
    runs, failures = cli.train_stage(config)
    assert [r.seed for r in runs] == [2]
    assert len(failures) == 1
    with pytest.raises(typer.Exit) as ended:
        cli.end_with(failures)
    assert ended.value.exit_code == 3
