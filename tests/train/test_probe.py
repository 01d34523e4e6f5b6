"""The probe: closed forms against scikit-learn, pooling against a loop, and what it leaves."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression, Ridge

from sedimental.cache.manifest import Clip, Manifest, write_manifest
from sedimental.cache.runs import list_runs, read_run
from sedimental.cache.runs.names import find_folders, row_of
from sedimental.cache.spec import MODALITIES, FeatureSpec, Modality
from sedimental.cache.store.store import open_store
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.cache.sweeps import read_sweep
from sedimental.config import Config
from sedimental.evaluate.metrics import score
from sedimental.train.sweep.cross_validation import cross_validated, grouped_folds
from sedimental.train.sweep.linear_fits import PENALTIES, probabilities, ridge, softmax_regression
from sedimental.train.sweep.linear_probe import Scale, fit_probe, labelled
from sedimental.train.sweep.pooling import pool_layer, segment_means
from sedimental.train.sweep.probe import probe

LAYERS = ("0", "1", "2", "3", "final")
SETTINGS: dict[str, dict[str, Any]] = {
    "text": {"max_length": 512},
    "audio": {"rate": 5.0, "pool": "stride"},
    "vision": {"fps": 3.0, "face_size": 256, "margin": 0, "no_face": "zero", "detect_size": 640},
}
BEST: dict[str, int] = {"text": 2, "audio": 1, "vision": 3}
"""Layer that says most about the label."""


def clips_of(count: int = 90, classes: Sequence[str] = ()) -> list[Clip]:
    random = np.random.default_rng(0)
    made = []
    for k in range(count):
        label = float(np.round(random.uniform(-3, 3), 3))
        made.append(
            Clip(
                id=f"v{k // 4}$_${k}",
                video_id=f"v{k // 4}",
                clip_id=str(k),
                split="train" if k < count // 2 else "valid" if k < 3 * count // 4 else "test",
                label=None if classes else label,
                category=classes[k % len(classes)] if classes else None,
            )
        )
    return made


def write_store(
    folder: Path, clips: Sequence[Clip], modality: Modality, missing: Sequence[str] = ()
) -> Path:
    random = np.random.default_rng(MODALITIES.index(modality))
    names = sorted({str(c.category) for c in clips})
    made = []
    for clip in clips:
        n = int(random.integers(2, 5))
        values = random.normal(0, 1, (len(LAYERS), n, 12)).astype(np.float32)
        said = clip.label if clip.label is not None else 0.0
        strength = 1 / (1 + np.abs(np.arange(len(LAYERS)) - BEST[modality]))
        values[:, :, :4] += (0.5 * said * strength)[:, None, None]
        if clip.category is not None:
            values[:, :, names.index(clip.category)] += 2 * strength[:, None]
        times = np.arange(n, dtype=np.float32)
        valid = np.arange(n) % 3 < 2
        values[:, ~valid] = 99  # what no mean may see
        if clip.id not in missing:
            made.append(ClipFeatures(clip.id, "s", values, times, times * 0 + 1, valid, {}))
    spec = FeatureSpec(
        modality, f"tiny-{modality}", f"x/tiny-{modality}", None, "random:0", "00", LAYERS, 12,
        preprocessing=SETTINGS[modality],
    )  # fmt: skip
    writer = StoreWriter.create(folder, spec, "zarr")
    half = len(made) // 2
    writer.add(made[:half])
    writer.add(made[half:])
    writer.finish({c.id: "s" for c in clips}, dict.fromkeys(missing, "decode: broken"))
    return writer.path


def make(root: Path, clips: Sequence[Clip], **sections: Any) -> Config:
    folder = root / "features" / "toy"
    write_manifest(folder / "manifest.jsonl", Manifest("toy", root, tuple(clips)))
    for m in MODALITIES:
        write_store(folder, clips, m, [clips[1].id, clips[-1].id] if m == "audio" else [])
    return Config.model_validate(
        {
            "corpus": {"kind": "csv", "path": "toy.csv"},
            "cache": {"root": root / "features"},
            "runs": {"root": root / "runs"},
            "features": [{"modality": m, "encoder": f"tiny-{m}"} for m in MODALITIES],
            "train": {"inputs": {m: {"encoder": f"tiny-{m}"} for m in MODALITIES}},
            **sections,
        }
    )


@pytest.mark.parametrize(("clips", "width"), [(120, 30), (40, 90)])
def test_ridge_is_scikit_learns(clips: int, width: int) -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(clips, width)) @ random.normal(size=(width, width))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    y = x[:, :3].sum(axis=1) + random.normal(size=clips) + 2
    for fit in ridge(x, y):
        theirs = Ridge(alpha=fit.penalty).fit(x, y)
        assert np.abs(fit.weights[:, 0] - theirs.coef_).max() < 1e-6
        assert abs(fit.offset[0] - theirs.intercept_) < 1e-6
    assert [fit.penalty for fit in ridge(x, y)] == list(PENALTIES)


@pytest.mark.parametrize(("clips", "width"), [(150, 20), (50, 80)])
def test_softmax_regression_is_scikit_learns(clips: int, width: int) -> None:
    random = np.random.default_rng(2)
    x = random.normal(size=(clips, width))
    x -= x.mean(axis=0)
    y = np.digitize(x[:, 0] + random.normal(size=clips), [-0.7, 0.7]).astype(np.int64)
    for fit in softmax_regression(x, y, 3, penalties=(1.0, 31.0, 1000.0)):
        theirs = LogisticRegression(C=1 / fit.penalty, tol=1e-10, max_iter=10_000).fit(x, y)
        assert np.abs(probabilities(fit(x)) - theirs.predict_proba(x)).max() < 1e-3


def test_a_fit_of_what_cannot_be_fitted_is_the_mean() -> None:
    y = np.array([1.0, 2.0, 6.0])
    for fit in ridge(np.zeros((3, 4)), y):
        assert fit(np.ones((1, 4)))[0, 0] == pytest.approx(3.0)
    for soft in softmax_regression(np.zeros((3, 4)), np.array([0, 1, 1]), 2, (1.0,)):
        assert probabilities(soft(np.ones((1, 4))))[0] == pytest.approx([1 / 3, 2 / 3], abs=1e-3)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_pooling_is_the_mean_over_real_frames(kind: Any) -> None:
    random = np.random.default_rng(3)
    lengths = [*random.integers(0, 9, 150).tolist(), 700]  # the last spans several blocks
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    values = random.normal(size=(offsets[-1], 6)).astype(kind)
    real = random.uniform(size=offsets[-1]) < 0.7
    found = segment_means(values, offsets, real)
    for k in range(len(lengths)):
        own = slice(offsets[k], offsets[k + 1])
        kept = values[own][real[own]].astype(np.float64)
        if len(kept):
            assert found[k] == pytest.approx(kept.mean(axis=0), abs=1e-5)
        else:
            assert np.isnan(found[k]).all()


def test_a_layer_is_pooled_in_the_order_asked(tmp_path: Path) -> None:
    clips = clips_of(12)
    store = open_store(write_store(tmp_path, clips, "text", [clips[3].id]))
    ids = [c.id for c in clips][::-1]
    found = pool_layer(store, "2", ids, store.side("valid"))
    for row, clip in zip(found, ids, strict=True):
        if clip == clips[3].id:
            assert np.isnan(row).all()
            continue
        whole = store.read([2], [clip])
        real = store.side("valid", [clip])
        assert row == pytest.approx(whole.values[0][real].astype(np.float32).mean(axis=0), abs=1e-3)


def test_the_probe_finds_the_layer_that_knows(tmp_path: Path) -> None:
    config = make(tmp_path, clips_of())
    found = probe(config)
    assert dict(found.picks["ridge"]) == {m: str(BEST[m]) for m in MODALITIES}
    assert len(found.points) == 3 * len(LAYERS) + 1
    assert found.points[-1].letters == "TAV"
    assert found.points[-1].mean("test", "Corr") > 0.8
    assert 'text = { encoder = "tiny-text", layers = 2 }' in found.lines()
    assert read_sweep(config.experiment / "probe") == found
    names = [p.relative_to(config.experiment).parts for p in list_runs(config.experiment / "probe")]
    assert [(a, row_of(b), c) for a, b, c in names] == [
        ("probe", f"ridge-{x}", "seed-0") for x in ("A", "T", "TAV", "V")
    ]


def test_a_kept_probe_is_a_run_like_any_other(tmp_path: Path) -> None:
    config = make(tmp_path, clips_of())
    found = probe(config)
    (folder,) = find_folders("probe/ridge-A/seed-0", config.experiment)
    run = read_run(folder)
    point = found.find("ridge", "A", "1")
    assert point is not None
    assert score(*run.predictions.of("test"), "mosi")["Corr"] == pytest.approx(
        point.mean("test", "Corr")
    )
    assert run.coverage["train"] == {"clips": 45, "audio": 44}
    assert run.inputs[0].layers == ("1",)
    # its weights are enough to score a clip; one without features gets the mean label
    weights = load_file(folder / "weights.safetensors")
    store = open_store(next((tmp_path / "features/toy").glob("audio-*")))
    ids = run.predictions.ids
    pooled = pool_layer(store, "1", ids, store.side("valid"))
    x = np.nan_to_num((pooled - weights["inputs.audio.mean"]) / weights["inputs.audio.deviation"])
    answers = (x @ weights["weights"] + weights["offset"])[:, 0]
    assert answers == pytest.approx(run.predictions.values, abs=1e-5)
    present = [k for k, clip in enumerate(ids) if k < 45 and clip in set(store.clips)]
    mean = run.predictions.labels[present].mean()
    assert run.predictions.values[1] == run.predictions.values[-1] == pytest.approx(mean, abs=1e-6)


def test_the_penalty_is_the_best_on_validation() -> None:
    random = np.random.default_rng(4)
    clips = clips_of(60)
    rated = labelled(Manifest("toy", Path(), tuple(clips)), "mosi")
    pooled = random.normal(size=(60, 8)).astype(np.float32)
    pooled[:, 0] += rated.labels
    fitted = fit_probe([pooled], rated)
    x = fitted.scales[0](pooled)
    train, valid = rated.rows("train"), rated.rows("valid")
    errors = {}
    for penalty in PENALTIES:
        model = Ridge(alpha=penalty).fit(x[train], rated.labels[train])
        errors[penalty] = np.abs(model.predict(x[valid]) - rated.labels[valid]).mean()
    assert errors[fitted.linear.penalty] == pytest.approx(min(errors.values()))


@pytest.mark.parametrize(("count", "width"), [(60, 8), (40, 70)])
def test_folds_are_scikit_learns_fits_one_by_one(count: int, width: int) -> None:
    """From one spectrum, with more clips than features and with fewer."""
    random = np.random.default_rng(5)
    clips = clips_of(count)
    rated = labelled(Manifest("toy", Path(), tuple(clips)), "mosi")
    pooled = random.normal(size=(count, width)).astype(np.float32)
    pooled[:, 0] += rated.labels
    learned = np.concatenate([rated.rows("train"), rated.rows("valid")])
    held = np.full(count, -1)
    held[learned] = grouped_folds([rated.groups[k] for k in learned], 4)
    found = cross_validated([pooled], rated, held)
    x, y = Scale.of(pooled[learned])(pooled[learned]), rated.labels[learned]
    folds, answers = held[learned], {}
    for penalty in PENALTIES:
        answers[penalty] = np.empty(len(learned))
        for number in range(4):
            rest = folds != number
            fit = Ridge(alpha=penalty).fit(x[rest], y[rest])
            answers[penalty][~rest] = fit.predict(x[~rest])
    best = min(PENALTIES, key=lambda p: np.abs(answers[p] - y).mean())
    for number in range(4):
        own = folds == number
        expected = score(y[own], answers[best][own], "mosi")
        assert found["Corr"][number] == pytest.approx(expected["Corr"], abs=1e-6)
        assert found["MAE"][number] == pytest.approx(expected["MAE"], abs=1e-6)


def test_a_video_is_in_one_fold_and_a_layer_has_its_error(tmp_path: Path) -> None:
    groups = [f"v{k // 7}" for k in range(100)]
    folds = grouped_folds(groups)
    assert len({(g, f) for g, f in zip(groups, folds.tolist(), strict=True)}) == len(set(groups))
    sizes = np.bincount(folds)
    assert sizes.max() - sizes.min() <= 7
    assert grouped_folds(groups[::-1]).tolist() == folds[::-1].tolist()
    found = probe(make(tmp_path, clips_of()))
    for point in found.points:
        assert len(point.folds["Corr"]) == 5
        error = np.std(point.folds["Corr"], ddof=1) / np.sqrt(5)
        assert point.error == pytest.approx(error)
    assert all(found.picks["ridge"][m] in found.ties("ridge", m) for m in MODALITIES)


def test_equal_features_are_not_probed_again(tmp_path: Path) -> None:
    config = make(tmp_path, clips_of())
    first = probe(config)
    file = config.experiment / "probe" / "sweep.json"
    before = file.stat().st_mtime_ns
    assert probe(config) == first
    assert file.stat().st_mtime_ns == before
    probe(config, fresh=True)
    assert file.stat().st_mtime_ns != before


def test_classes_are_probed_by_softmax_regression(tmp_path: Path) -> None:
    config = make(tmp_path, clips_of(classes=("joy", "anger", "calm")))
    found = probe(config)
    assert found.classes == ("anger", "calm", "joy")
    assert found.criterion == "Weighted_F1"
    best = found.find("softmax", "TAV", "picked")
    assert best is not None
    assert best.mean("test", "Accuracy") > 0.8
    run = read_run(*find_folders("probe/softmax-TAV/seed-0", config.experiment))
    assert run.predictions.probabilities is not None
    assert run.predictions.probabilities.sum(axis=1) == pytest.approx(1)


def test_no_torch_is_needed(tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; import sedimental.train.sweep.probe"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
