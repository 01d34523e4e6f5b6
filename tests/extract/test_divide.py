"""Splits and folds dealt out: whole speakers or videos, like shares of labels, by a seed."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from sedimental.cache.leaks import leaks
from sedimental.cli import app
from sedimental.config import CorpusConfig
from sedimental.errors import ManifestError
from sedimental.extract.corpora import load_manifest
from sedimental.extract.corpora.divide import deal

HEAD = "id,video_id,text,label,speaker\n"


def table(path: Path, speakers: bool = True, clips: int = 120) -> Path:
    """30 videos by 10 speakers; labels -2 to 2, without a split column."""
    rows = [
        f"c{k},v{k % 30},line number {k} of them,{k % 5 - 2},{f's{k % 10}' if speakers else ''}\n"
        for k in range(clips)
    ]
    path.write_text(HEAD + "".join(rows))
    return path


def load(path: Path, **how: Any) -> Any:
    return load_manifest(CorpusConfig(kind="csv", path=path, **how))


@pytest.mark.parametrize("speakers", [True, False])
def test_auto_splits_part_no_speaker_and_no_video(tmp_path: Path, speakers: bool) -> None:
    """Point 5: by speaker, else by video; near the fractions, the labels alike."""
    manifest = load(table(tmp_path / "t.csv", speakers), split="auto")
    assert not leaks(manifest)
    sizes = manifest.sizes
    assert all(abs(sizes[s] / 120 - f) < 0.1 for s, f in zip(sizes, (0.7, 0.1, 0.2), strict=True))
    key = "speaker" if speakers else "video"
    assert any(f"{key}s dealt out" in note for note in manifest.notes)
    test = Counter(c.label for c in manifest.split("test"))
    assert max(test.values()) - min(test.get(x - 2.0, 0) for x in range(5)) <= 14


def test_auto_splits_depend_on_the_seed_and_not_on_the_order(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", speakers=False)
    first = {c.id: c.split for c in load(path, split="auto").clips}
    assert {c.id: c.split for c in load(path, split="auto").clips} == first
    other = {c.id: c.split for c in load(path, split="auto", split_seed=1).clips}
    assert other != first
    head, *rows = path.read_text().splitlines(keepends=True)
    path.write_text(head + "".join(reversed(rows)))
    assert {c.id: c.split for c in load(path, split="auto").clips} == first


def test_labels_are_stratified(tmp_path: Path) -> None:
    """Videos of one label each: every split gets of every label."""
    rows = "".join(f"c{k},v{k},text {k},{k % 2},\n" for k in range(40))
    (tmp_path / "t.csv").write_text(HEAD + rows)
    manifest = load(tmp_path / "t.csv", split="auto")
    for split, size in manifest.sizes.items():
        ones = sum(c.label == 1 for c in manifest.split(split))
        assert abs(ones - size / 2) <= 0.5


@pytest.mark.parametrize("folds", [5, "speaker"])
def test_every_clip_is_tested_once_and_no_group_parted(tmp_path: Path, folds: Any) -> None:
    manifest = load(table(tmp_path / "t.csv"), folds=folds)
    assert manifest.folds == (5 if folds == 5 else 10)
    tested = Counter(
        clip.id for k in range(manifest.folds) for clip in manifest.of_fold(k).split("test")
    )
    assert set(tested.values()) == {1}
    assert len(tested) == 120
    for k in range(manifest.folds):
        part = manifest.of_fold(k)
        assert not leaks(part)
        assert all(part.sizes.values())
        if folds == "speaker":
            assert len({clip.speaker for clip in part.split("test")}) == 1
    assert manifest.of_fold(0) == manifest


def test_what_cannot_be_dealt_out_is_a_fault(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", speakers=False)
    with pytest.raises(ManifestError, match="120 clips have no speaker"):
        load(path, folds="speaker")
    with pytest.raises(ManifestError, match="too few"):
        load(table(tmp_path / "u.csv", clips=2), split="auto")
    with pytest.raises(ManifestError, match="no column 'split'"):
        load(path)
    with pytest.raises(ValueError, match="three shares"):
        CorpusConfig(split="auto", fractions=(0.5, 0.1, 0.1))
    with pytest.raises(ValueError, match="greater than or equal to 3"):
        CorpusConfig(folds=2)


@given(st.lists(st.integers(1, 9), min_size=3, max_size=30), st.integers(0, 5))
def test_no_part_stays_empty(sizes: list[int], seed: int) -> None:
    groups = {f"g{k}": ["x"] * size for k, size in enumerate(sizes)}
    found = deal(groups, [0.7, 0.1, 0.2], seed)
    assert found.keys() == groups.keys()
    assert set(found.values()) == {0, 1, 2}


PIPELINE = """
[corpus]
kind = "csv"
path = "corpus.csv"
folds = 3
[[features]]
modality = "text"
encoder = "tiny-bert"
[train]
models = ["uegd"]
seeds = [1, 2]
epochs = 1
[train.inputs]
text = { encoder = "tiny-bert", layers = -1 }
[train.uegd]
hidden = 4
embedding = 4
[evaluate]
bootstrap = 10
"""


def told(*command: str) -> Any:
    answer = CliRunner().invoke(app, list(command))
    assert answer.exit_code == 0, answer.stderr
    return answer


def test_all_runs_are_trained_a_fold_each_and_the_report_means_over_folds(tmp_path: Path) -> None:
    """Point 5 from end to end."""
    table(tmp_path / "corpus.csv", clips=60)
    path = tmp_path / "pipeline.toml"
    path.write_text(PIPELINE)
    told("extract", "-c", str(path))
    runs = json.loads(told("train", "-c", str(path), "--json").stdout)
    assert len(runs) == 6
    folders = sorted(p.parent.name for p in (tmp_path / "runs").rglob("run.json"))
    assert folders == [f"seed-{s}-fold-{k}" for s in (1, 2) for k in range(3)]
    again = told("train", "-c", str(path))
    assert again.stderr.count("the finished run stands") == 6
    report = json.loads(told("report", "-c", str(path), "--json").stdout)
    [row] = report["rows"]
    assert len(row["test"]["MAE"]["seeds"]) == 3
    each = [[r["metrics"]["test"]["MAE"] for r in runs[2 * k : 2 * k + 2]] for k in range(3)]
    assert row["test"]["MAE"]["seeds"] == pytest.approx([sum(own) / 2 for own in each])
    assert report["test_clips"] == 60
    assert any("means over 3 folds" in caution["text"] for caution in report["cautions"])
    assert len(report["runs"]) == 6


def test_one_fold_can_be_a_job_of_its_own(tmp_path: Path) -> None:
    table(tmp_path / "corpus.csv", clips=60)
    path = tmp_path / "pipeline.toml"
    path.write_text(PIPELINE.replace("folds = 3", "folds = 3\nfold = 2"))
    told("extract", "-c", str(path))
    told("train", "-c", str(path))
    folders = sorted(p.parent.name for p in (tmp_path / "runs").rglob("run.json"))
    assert folders == ["seed-1-fold-2", "seed-2-fold-2"]
    path.write_text(PIPELINE.replace("folds = 3", "folds = 3\nfold = 3"))
    answer = CliRunner().invoke(app, ["train", "-c", str(path)])
    assert answer.exit_code == 2
    assert "corpus.fold: there is no part 3" in answer.stderr
