"""Several labels a clip: dimensions and emotions, from the table to the report."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score
from typer.testing import CliRunner

import sedimental
from sedimental.cache.corpus.corpus_table import cached_manifest
from sedimental.cache.manifest import Clip, Manifest, read_manifest, write_manifest
from sedimental.cache.runs.run_warnings import run_warnings
from sedimental.cache.runs.tables import predictions_text, read_predictions
from sedimental.cache.spec import Several
from sedimental.cli import app
from sedimental.config import Config, load_config
from sedimental.errors import ConfigError, RunError, SedimentalError
from sedimental.evaluate.metrics import score
from sedimental.evaluate.output.terminal import to_terminal
from sedimental.evaluate.output.write import write_report
from sedimental.evaluate.statistics import seed_means
from sedimental.train.checks import train_faults
from sedimental.train.data.dataset import Table
from sedimental.train.layers.losses import concordance, task_loss
from sedimental.train.models import MODELS, build, has_several, model_options, within_text
from sedimental.train.models.shared.interface import Batch, InputShape

VAD = Several("dimensions", ("valence", "arousal", "dominance"))
SIX = ("happy", "sad", "anger", "surprise", "disgust", "fear")
PIPELINE = """
[corpus]
kind = "csv"
path = "clips.csv"
name = "several"
[[features]]
modality = "text"
encoder = "tiny-bert"
[train]
models = ["lf_dnn"]
seeds = [1]
epochs = 30
learning_rate = 0.01
task = "{task}"
loss = "{loss}"
criterion = "{criterion}"
[train.inputs]
text = {{ encoder = "tiny-bert", layers = 0 }}
[evaluate]
bootstrap = 20
"""
WORDS = ("good", "fine", "bad", "awful", "so", "great", "poor", "nice")


def table(folder: Path, task: str) -> None:
    by = np.random.default_rng(0)
    with (folder / "clips.csv").open("w", newline="") as file:
        out = csv.writer(file)
        names = VAD.names if task == "dimensions" else [f"emotion_{e}" for e in SIX[:3]]
        out.writerow(["id", "split", "text", *names])
        for k in range(40):
            words = by.choice(WORDS, 3)
            good = sum(w in ("good", "fine", "great", "nice") for w in words)
            own = (
                (good, 7 - good, 100 + good)
                if task == "dimensions"
                else (good // 2, int(good < 2), 1)
            )
            split = ("train", "train", "valid", "test")[k % 4]
            out.writerow([f"v{k}", split, " ".join(words), *own])


def made(
    folder: Path, task: str, loss: str = "l1", criterion: str = "valid_loss", **more: str
) -> Config:
    folder.mkdir(exist_ok=True)
    table(folder, task)
    text = PIPELINE.format(task=task, loss=loss, criterion=criterion)
    text = text.replace("seeds = [1]", f"seeds = {more.get('seeds', '[1]')}")
    text = text.replace("epochs = 30", f'epochs = 30\nstack = "{more.get("stack", "off")}"')
    (folder / "pipeline.toml").write_text(text)
    config = load_config(folder / "pipeline.toml")
    sedimental.extract(config)
    return config


def ask(config: Config, words: str) -> Any:
    clip = sedimental.NewClip(None, words, id="new")
    return sedimental.predict("lf_dnn T", clip, experiment=config.experiment)


def test_dimensions_are_trained_scored_and_predicted_in_their_own_units(tmp_path: Path) -> None:
    config = made(tmp_path, "dimensions", "ccc", "CCC")
    [run] = sedimental.train(config)
    own = run.predictions
    assert own.several == VAD
    assert own.labels.shape == own.values.shape == (40, 3)
    assert list(run.metrics["test"])[:3] == ["CCC", "MAE", "CCC_valence"]
    # dominance lies around 101.5: what is said is in its units, not in those it was learned in
    assert abs(own.values[:, 2].mean() - own.labels[:, 2].mean()) < 3
    losses = [epoch.train_loss for epoch in run.history]
    assert losses[-1] < losses[0]
    assert read_predictions(predictions_text(own)).several == VAD
    report = sedimental.evaluate(config)
    assert report.metrics.key == "dimensions"
    best = report.best.test
    assert best["CCC"].mean == pytest.approx(np.mean([best[f"CCC_{n}"].mean for n in VAD.names]))
    assert best["CCC"].low is not None
    page = write_report(config.experiment, report).read_text(encoding="utf-8")
    assert "arousal" in page
    to_terminal(report, 120)
    sedimental.robustness(config, [0.0, 0.5])
    [row] = sedimental.evaluate(config).robustness
    assert row.curves["all"]["CCC"].values[0] == pytest.approx(best["CCC"].mean)
    write_report(config.experiment, sedimental.evaluate(config))
    answer = ask(config, "good fine great")
    numbers = answer.clips[0].probabilities
    assert list(numbers) == list(VAD.names)
    assert 50 < numbers["dominance"].mean < 150


def test_emotions_may_be_several_at_once(tmp_path: Path) -> None:
    config = made(tmp_path, "emotions")
    [run] = sedimental.train(config)
    assert run.predictions.several == Several("emotions", SIX[:3])
    assert 0 <= run.predictions.values.min() <= run.predictions.values.max() <= 1
    report = sedimental.evaluate(config)
    assert [m.key for m in report.metrics.metrics][:4] == [
        "Weighted_acc",
        "F1",
        "Weighted_acc_happy",
        "F1_happy",
    ]
    assert np.isnan(report.best.test["Weighted_acc_anger"].mean)  # every clip has it
    write_report(config.experiment, report)
    assert read_predictions(predictions_text(run.predictions)).several == run.predictions.several
    assert run_warnings(run) is not None
    answer = ask(config, "bad awful poor")
    assert "anger" in str(answer.clips[0].word)


def test_predictions_are_written_as_a_table_and_seeds_may_be_stacked(tmp_path: Path) -> None:
    """Two seeds in one stacked model say what each says alone; `report --predictions` lists all."""
    alone = made(tmp_path / "alone", "emotions", seeds="[1, 2]")
    together = made(tmp_path / "together", "emotions", seeds="[1, 2]", stack="on")
    runs, stacked = sedimental.train(alone), sedimental.train(together)
    for one, other in zip(runs, stacked, strict=True):
        assert "stacked" in other.environment
        first, second = one.history[0], other.history[0]
        assert second.train_loss == pytest.approx(first.train_loss, rel=0.2)  # dropout differs
    ended = CliRunner().invoke(
        app,
        [
            *("report", "-c", str(tmp_path / "alone/pipeline.toml")),
            *("--predictions", str(tmp_path / "out.csv")),
        ],
    )
    assert ended.exit_code == 0, ended.output
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 80
    assert [r["row"] for r in rows[:2]] == ["lf_dnn T"] * 2
    own = runs[1].predictions
    [line] = [r for r in rows if r["seed"] == "2" and r["id"] == own.ids[3]]
    assert float(line["prediction_sad"]) == own.values[3, 1]
    assert float(line["label_sad"]) == own.labels[3, 1]
    [place] = alone.experiment.glob("*/seed-1")
    ended = CliRunner().invoke(
        app, ["predict", str(place), "--text", "good", "--predictions", str(tmp_path / "new.csv")]
    )
    assert ended.exit_code in (0, 2), ended.output
    wrong = CliRunner().invoke(
        app, ["report", "-c", str(tmp_path / "alone/pipeline.toml"), "--predictions", "x.txt"]
    )
    assert wrong.exit_code == 2


def test_the_numbers_are_those_of_the_literature() -> None:
    by = np.random.default_rng(1)
    truth, guess = by.normal(size=(2, 50, 3))
    guess += truth
    found = score(truth, guess, VAD)
    x, y = truth[:, 1], guess[:, 1]
    literal = 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert found["CCC_arousal"] == pytest.approx(literal)
    assert found["MAE_arousal"] == pytest.approx(np.abs(x - y).mean())
    tensors = torch.from_numpy(guess), torch.from_numpy(truth)
    assert float(concordance(*tensors)[1]) == pytest.approx(literal)
    assert float(task_loss(*tensors, "ccc")) == pytest.approx(1 - found["CCC"])
    emotions = Several("emotions", SIX)
    there, shares = by.integers(0, 3, (60, 6)).astype(float), by.uniform(size=(60, 6))
    found = score(there, shares, emotions)
    for k, name in enumerate(SIX):
        pair = there[:, k] > 0, shares[:, k] >= 0.5
        assert found[f"Weighted_acc_{name}"] == pytest.approx(balanced_accuracy_score(*pair))
        assert found[f"F1_{name}"] == pytest.approx(f1_score(*pair, average="weighted"))
    # (TP * N / P + TN) / 2N, by hand: 2 of 4 clips have it, one of each kind is right
    one = Several("emotions", ("a", "b"))
    hand = score([[1, 1], [1, 0], [0, 0], [0, 0]], [[1, 1], [0, 0], [1, 0], [0, 0]], one)
    assert hand["Weighted_acc_a"] == 0.5
    assert hand["Weighted_acc"] == 0.75


def test_resampled_numbers_are_those_of_the_clips_drawn() -> None:
    by = np.random.default_rng(2)
    for several in (VAD, Several("emotions", ("a", "b", "c"))):
        truth = by.integers(0, 2, (30, 3)) + (by.normal(size=(30, 3)) if several is VAD else 0)
        guess = by.uniform(size=(30, 3))
        draws = by.multinomial(30, np.full(30, 1 / 30), 5)
        from sedimental.evaluate.resampling import resampled_scores

        found = resampled_scores(truth, guess, several, np.arange(30), draws)  # type: ignore[arg-type]
        for k, counts in enumerate(draws):
            rows = np.repeat(np.arange(30), counts)
            own = score(truth[rows], guess[rows], several)
            assert {n: v[k] for n, v in found.items()} == pytest.approx(own, nan_ok=True)
        assert list(seed_means(truth, [guess], several, None, 3)) == list(own)  # type: ignore[arg-type]


def test_every_model_says_all_of_them_or_is_refused_before_training(tmp_path: Path) -> None:
    able = [name for name in MODELS if has_several(name)]
    assert {"sugrm", "self_mm", "mmim"} <= set(MODELS) - set(able)
    inputs = {m: InputShape(48) for m in ("text", "audio", "vision")}
    mask = torch.arange(5) < torch.tensor([[5], [3], [1], [4]])
    for name in able:
        if within_text(name):
            continue  # needs a live encoder; its head is an nn.Linear like the others'
        options = model_options(name, {"width": 48} if name == "mmml" else {})
        if name == "mmml":
            options = replace(options, heads=2)
        model = build(name, options, inputs, torch.Generator().manual_seed(0), 3)  # type: ignore[arg-type]
        features = {m: torch.randn(4, 5, 48) for m in inputs}
        for labels in (torch.randn(4, 3), torch.rand(4, 3) > 0.5):
            batch = Batch(features, dict.fromkeys(inputs, mask), labels, torch.arange(4))  # type: ignore[arg-type]
            output = model(batch)
            assert output.prediction.shape == (4, 3), name
            loss = task_loss(output.prediction, labels, "ccc") + sum(output.losses.values())
            loss.backward()
            assert torch.isfinite(loss), name
    (tmp_path / "p.toml").write_text(
        PIPELINE.format(task="dimensions", loss="l1", criterion="CCC").replace("lf_dnn", "sugrm")
    )
    [fault] = train_faults(load_config(tmp_path / "p.toml"))
    assert "sugrm predicts one label a clip" in fault
    assert "uegd" in fault
    table(tmp_path, "dimensions")
    config = load_config(tmp_path / "p.toml")
    sedimental.extract(config)
    with pytest.raises((ConfigError, RunError), match="Models that can: uegd"):
        sedimental.train(config)


def test_the_manifest_keeps_them_and_other_tables_keep_their_digest(tmp_path: Path) -> None:
    clips = tuple(
        Clip(f"v$_${k}", "v", str(k), split, dimensions={"valence": 1.5, "arousal": float(k)})  # type: ignore[arg-type]
        for k, split in enumerate(("train", "valid", "test"))
    )
    manifest = Manifest("x", tmp_path, clips)
    write_manifest(tmp_path / "m.jsonl", manifest)
    again = read_manifest(tmp_path / "m.jsonl")
    assert again.clips == clips
    assert len({hash(clip) for clip in again.clips}) == 3
    assert again.digest == manifest.digest
    moved = replace(manifest, clips=(*clips[:2], replace(clips[2], dimensions={"valence": 9.0})))
    assert moved.digests["labels"] != manifest.digests["labels"]
    plain = Manifest("x", tmp_path, tuple(replace(c, dimensions={}, label=1.0) for c in clips))
    assert plain.digests["labels"] == "ec862344c31adcc6"  # as before there were several
    whole = Table.of(replace(manifest, clips=(*clips, *moved.clips[2:])))
    assert whole.several == Several("dimensions", ("valence", "arousal"))
    assert whole.unlabelled == {"train": 0, "valid": 0, "test": 1}  # it lacks one of the two
    one = tuple(replace(c, dimensions={"valence": 1.0}) for c in clips)
    with pytest.raises(RunError, match=r"has valence\. A single one is a `label`"):
        Table.of(Manifest("x", tmp_path, one), "dimensions")


def test_a_sweep_of_several_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    config = made(tmp_path, "dimensions")
    assert cached_manifest(config).clips[0].dimensions["dominance"] >= 100
    with pytest.raises(SedimentalError, match="one label a clip"):
        sedimental.sweep(config)
