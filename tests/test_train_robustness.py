"""Trained runs under missing features: seeded, nested, the intact test set at rate zero."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sedimental.cache.manifest import Clip, Manifest, write_manifest
from sedimental.cache.progress import Silent
from sedimental.cache.runs import read_run
from sedimental.cache.spec import MODALITIES, FeatureSpec
from sedimental.cache.writer import ClipFeatures, StoreWriter
from sedimental.config import Config
from sedimental.train.robustness import Case, damaged, robustness
from sedimental.train.run import Workshop, train

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
    before = {f: f.stat().st_mtime_ns for f in robustness(config, [0.0, 1.0])}
    assert {f: f.stat().st_mtime_ns for f in robustness(config, [0.0, 1.0])} == before
    again = {f: f.stat().st_mtime_ns for f in robustness(config, [0.0, 1.0], fresh=True)}
    assert all(again[f] != t for f, t in before.items())
    assert {f: f.stat().st_mtime_ns for f in robustness(config, [0.5])} != again


def test_losses_are_nested_and_do_not_depend_on_the_batch(config: Config) -> None:
    shop = Workshop(config, Silent())
    data = shop.open(shop.plans).select(MODALITIES)
    rows = data.rows["test"]
    intact = data.batch(rows)
    lost = {}
    for rate in (0.3, 0.6):
        half = damaged(data, Case("rate", "all", rate), seed=5)
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
    only = damaged(data, Case("drop", "A", 1.0), seed=5).batch(rows)
    assert not only.masks["audio"].any()
    assert torch.equal(only.features["text"], intact.features["text"])
    assert not torch.equal(
        damaged(data, Case("rate", "T", 0.5), 6).batch(rows).features["text"],
        damaged(data, Case("rate", "T", 0.5), 5).batch(rows).features["text"],
    )
