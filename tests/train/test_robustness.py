"""Trained runs under missing features: seeded, nested, the intact test set at rate zero."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sedimental.cache.checksums import with_checksum
from sedimental.cache.manifest import Clip, Manifest, write_manifest
from sedimental.cache.runs import read_run
from sedimental.cache.spec import MODALITIES, FeatureSpec
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.config import Config
from sedimental.errors import RunError
from sedimental.evaluate.output.html import to_html
from sedimental.evaluate.output.terminal import robustness_to_terminal
from sedimental.evaluate.report import report_folder as evaluate
from sedimental.progress import Silent
from sedimental.train.data.missing_features import MissingCase, damaged
from sedimental.train.fit.loop import predict
from sedimental.train.models.shared.missing_frames import incomplete_view
from sedimental.train.predict import restore
from sedimental.train.robustness import at_rate, robustness, train_incomplete
from sedimental.train.run import train
from sedimental.train.session import TrainSession

SETTINGS: dict[str, dict[str, Any]] = {
    "text": {"max_length": 512},
    "audio": {"rate": 5.0, "pool": "stride"},
    "vision": {"fps": 3.0, "face_size": 256, "margin": 0, "no_face": "zero", "detect_size": 640},
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    root = tmp_path_factory.mktemp("robust")
    random = np.random.default_rng(0)
    clips = [
        Clip(f"v$_${k}", "v", str(k), ("train", "valid", "test")[k // 16], label=float(k % 7) - 3)
        for k in range(48)
    ]
    folder = root / "features" / "toy"
    write_manifest(folder / "manifest.jsonl", Manifest("toy", root, tuple(clips)))
    for m in MODALITIES:
        spec = FeatureSpec(
            m, f"tiny-{m}", f"x/tiny-{m}", None, "random:0", "00", ("0", "1", "2"), 6,
            preprocessing=SETTINGS[m],
        )  # fmt: skip
        made = []
        for clip in clips:
            n = int(random.integers(3, 9))
            values = random.normal(0, 1, (3, n, 6)).astype(np.float32) + (clip.label or 0)
            times = np.arange(n, dtype=np.float32)
            made.append(ClipFeatures(clip.id, "s", values, times, times + 1, times < 7, {}))
        writer = StoreWriter.create(folder, spec, "zarr")
        writer.add(made)
        writer.finish({c.id: "s" for c in clips}, {})
    inputs: dict[str, Any] = {m: {"encoder": f"tiny-{m}"} for m in MODALITIES}
    inputs["audio"]["layers"] = "weighted"
    return Config.model_validate(
        {
            "corpus": {"kind": "csv", "path": "toy.csv"},
            "cache": {"root": root / "features"},
            "runs": {"root": root / "runs"},
            "features": [{"modality": m, "encoder": f"tiny-{m}"} for m in MODALITIES],
            "train": {
                "inputs": inputs,
                "modalities": ["TAV", "A"],
                "seeds": [1, 2],
                "epochs": 2,
                "device": "cpu",
                "uegd": {"hidden": 8, "embedding": 4, "heads": 2},
            },
        }
    )


def read(file: Path) -> tuple[dict[str, Any], Any]:
    with np.load(file) as kept:
        return json.loads(str(kept["head"])), kept["values"]


def write(file: Path, head: dict[str, Any], values: Any) -> None:
    data = io.BytesIO()
    np.savez(data, head=np.array(json.dumps(head)), values=values)
    file.write_bytes(with_checksum(data.getvalue()))


def test_answers_under_loss(config: Config) -> None:
    assert robustness(config, [0.0, 0.5]) == ()  # nothing is trained yet
    train(config)
    files = robustness(config, [0.0, 0.5, 1.0], masks=2)
    assert len(files) == 4
    for file in files:
        run = read_run(file.parent)
        head, values = read(file)
        assert head["key"] == run.key
        several = len(run.modalities) > 1
        assert len(head["cases"]) == (4 * 3 + 3 if several else 3)
        assert values.shape == (len(head["cases"]), 2, 16)
        at = {
            (c["kind"], c["of"], c["rate"]): v for c, v in zip(head["cases"], values, strict=True)
        }
        truth = run.predictions.of("test")[1]
        for of in ("all", *("TAV" if several else "")):
            assert at["rate", of, 0.0][0] == pytest.approx(truth, abs=1e-5)
        assert np.abs(at["rate", "all", 0.5][0] - truth).max() > 1e-4
        assert np.abs(at["rate", "all", 0.5][0] - at["rate", "all", 0.5][1]).max() > 1e-4
        # with every frame at its mean there is nothing left to tell clips apart
        assert np.ptp(at["rate", "all", 1.0]) < 1e-4
        if several:
            # a modality of zeros is still attended to; one that is gone is not
            assert np.abs(at["drop", "T", 1.0][0] - at["rate", "T", 1.0][0]).max() > 1e-6


def test_what_was_tested_is_not_tested_again(config: Config) -> None:
    train(config)
    tested = {f: f.read_bytes() for f in robustness(config, [0.0, 1.0])}
    for file in tested:  # answers that no run gave, of the very same test
        head, values = read(file)
        write(file, head, values + 7)
    before = {f: f.read_bytes() for f in tested}
    assert {f: f.read_bytes() for f in robustness(config, [0.0, 1.0])} == before
    assert all(before[f] != made for f, made in tested.items())
    again = robustness(config, [0.0, 1.0], fresh=True)
    assert {f: f.read_bytes() for f in again} == tested
    assert {f: f.read_bytes() for f in robustness(config, [0.5])} != tested


def test_losses_are_nested_and_do_not_depend_on_the_batch(config: Config) -> None:
    shop = TrainSession(config, Silent())
    data = shop.open(shop.plans).select(MODALITIES)
    rows = data.rows["test"]
    intact = data.batch(rows)
    lost = {}
    for rate in (0.3, 0.6):
        half = damaged(data, MissingCase("rate", "all", rate), seed=5)
        whole = half.batch(rows)
        for m in MODALITIES:
            features, reference = whole.features[m], intact.features[m]
            if features.dim() == 4:
                features, reference = features[:, 0], reference[:, 0]
            gone = (features == 0).all(dim=2) & intact.masks[m]
            assert torch.equal(whole.masks[m], intact.masks[m])  # the model is not told
            assert torch.equal(features[~gone], reference[~gone])
            lost[m, rate] = gone
            one = half.batch(rows[3:4]).features[m]
            one = one[:, 0] if one.dim() == 4 else one
            assert torch.equal(one[0], features[3, : one.shape[1]])
    for m in MODALITIES:
        assert (lost[m, 0.6] | ~lost[m, 0.3]).all()
        share = lost[m, 0.3].sum() / intact.masks[m].sum()
        assert 0.15 < float(share) < 0.45
    only = damaged(data, MissingCase("drop", "A", 1.0), seed=5).batch(rows)
    assert not only.masks["audio"].any()
    assert torch.equal(only.features["text"], intact.features["text"])
    assert not torch.equal(
        damaged(data, MissingCase("rate", "T", 0.5), 6).batch(rows).features["text"],
        damaged(data, MissingCase("rate", "T", 0.5), 5).batch(rows).features["text"],
    )


def test_weights_of_another_version_of_a_model_are_told(config: Config) -> None:
    """P2: a SUGRM of two norms cannot be read as one of one; so of any model that has changed."""
    train(config)
    shop = TrainSession(config, Silent())
    plan = shop.plans[0]
    data = shop.open(shop.plans).select(plan.modalities)
    changed = replace(plan, options=replace(plan.options, hidden=plan.options.hidden + 1))
    with pytest.raises(RunError, match="do not fit uegd as it is now"):
        restore(changed, data)


def test_models_are_trained_as_incomplete_as_they_are_tested(config: Config) -> None:
    """UEGD sees what is left of each clip; EMT-DLFR hides frames by itself, to restore them."""
    emt = {"width": 8, "depth": 1, "heads": 2, "modalities": ["TAV"]}
    names = ("uegd", "emt_dlfr")
    section = config.train.model_copy(update={"models": names, "emt_dlfr": emt, "epochs": 2})
    whole = config.model_copy(
        update={
            "train": section,
            "runs": config.runs.model_copy(update={"name": "both-ways"}),
        }
    )
    complete = train(whole)
    robustness(whole, [0.0, 0.5, 1.0])
    runs = train_incomplete(whole, [0.0, 0.5, 1.0])
    assert len(runs) == 2 * len(complete)
    assert {run.config["missing_rate"] for run in runs} == {0.5, 1.0}
    assert not {run.key for run in runs} & {run.key for run in complete}
    told = [r for r in runs if r.model == "emt_dlfr"]
    assert {run.options["missing_rate"] for run in told} == {0.5, 1.0}
    for run in runs:
        if run.model == "uegd" and run.config["missing_rate"] == 1.0:
            tested = run.predictions.of("test")[1]  # nothing is left to tell clips apart but length
            assert tested.std() < 0.05
    again = train_incomplete(whole, [0.5])  # finished runs stand
    assert [r.key for r in again] == [r.key for r in runs[: len(again)]]
    report = evaluate(whole.experiment, whole.evaluate)
    rows = {row.name: row for row in report.robustness}
    assert set(rows) == {"uegd TAV", "uegd A", "emt_dlfr TAV"}
    for row in rows.values():
        curve = row.incomplete["MAE"]
        assert curve.rates == (0.0, 0.5, 1.0)
        assert curve.values[0] == pytest.approx(row.curves["all"]["MAE"].values[0], abs=1e-4)
    half = [r.metrics["test"]["MAE"] for r in runs if r.config["missing_rate"] == 0.5]
    one = rows["uegd A"].incomplete["MAE"].values[1]
    assert one == pytest.approx(np.mean(half[2:4]), abs=1e-4)


def test_a_model_that_hides_frames_is_tested_on_the_losses_asked_for_alone(config: Config) -> None:
    emt = {"width": 8, "depth": 1, "heads": 2, "missing_rate": 0.5, "modalities": ["A"]}
    section = config.train.model_copy(
        update={"models": ("emt_dlfr",), "emt_dlfr": emt, "seeds": (1,), "epochs": 1}
    )
    own = config.model_copy(
        update={"train": section, "runs": config.runs.model_copy(update={"name": "hides"})}
    )
    (run,) = train(own)
    (file,) = robustness(own, [0.0, 1.0])
    _, values = read(file)
    incomplete = run.predictions.of("test")[1]  # as trained, half of the frames are hidden
    assert not np.allclose(values[0, 0], incomplete, atol=1e-4)
    shop = TrainSession(own, Silent())
    [plan] = shop.plans
    data = shop.open(shop.plans).select(plan.modalities)
    model = restore(plan, data)
    model.missing_rate = 0.0  # type: ignore[attr-defined]
    np.testing.assert_allclose(values[0, 0], predict(model, data, data.rows["test"]).values)


def test_rates_of_a_model_s_own_table_give_way(config: Config) -> None:
    table = {"missing_rate": 0.3, "width": 8}
    section = config.train.model_copy(update={"emt_dlfr": table})
    found = at_rate(config.model_copy(update={"train": section}), 0.7)
    assert found.train.missing_rate == 0.7
    assert found.train.emt_dlfr == {"width": 8}  # type: ignore[attr-defined]
    assert found.experiment == config.experiment / "incomplete" / "rate-0.7"


def test_every_model_loses_the_same_frames_in_training_and_in_scoring(config: Config) -> None:
    """R8: UEGD by `damaged`, EMT-DLFR and TFR-Net by themselves; one protocol, one choice."""
    for special in ("missing", "mean", "keep"):
        names = ("uegd", "emt_dlfr", "tfr_net")
        update = {"models": names, "missing_rate": 0.7, "special_tokens": special}
        section = config.train.model_copy(update=update)
        shop = TrainSession(config.model_copy(update={"train": section}), Silent())
        corpus = shop.open(shop.plans)
        data = corpus.select(("text",))
        rows = data.rows["test"]
        whole = data.batch(rows)
        trained = {p.model: p.options for p in shop.plans if p.model != "uegd"}
        scored = damaged(data, MissingCase("rate", "all", 0.7), special=special).batch(rows)
        first = scored.features["text"][:, 0].abs().sum(dim=1) > 0
        assert bool(first.all()) == (special == "keep")
        for options in trained.values():
            seen, gone = incomplete_view(options, whole, "text", lambda x: x)
            real = whole.masks["text"]
            assert torch.equal(seen[real], scored.features["text"][real])
            assert gone.any()
        plan = next(p for p in shop.plans if p.model == "uegd" and "text" in p.modalities)
        of_uegd = shop.seen(plan).batch(rows).features["text"]
        assert torch.equal(of_uegd, scored.features["text"])


def test_the_table_states_what_becomes_of_special_tokens(config: Config) -> None:
    """R8: and rows tested by another protocol stand in no table beside it."""
    train(config)
    robustness(config, [0.0, 1.0])
    report = evaluate(config.experiment, config.evaluate)
    words = {row.name: row.special_tokens for row in report.robustness}
    assert words == {"uegd TAV": "[CLS] and [SEP] missing as words", "uegd A": ""}
    assert "missing as words" in str(robustness_to_terminal(report).caption)
    assert "missing as words" in to_html(report)
    [file] = config.experiment.glob("uegd-A-*/seed-1/robustness.npz")
    head, values = read(file)
    del head["special_tokens"]  # as an earlier version wrote it
    write(file, head, values)
    again = evaluate(config.experiment, config.evaluate)
    assert {row.name for row in again.robustness} == {"uegd TAV"}
