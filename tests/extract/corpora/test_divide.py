"""Splits and folds dealt out: whole speakers or videos, like shares of labels, by a seed."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from command_answers import finished, json_of
from hypothesis import given
from hypothesis import strategies as st
from notes import Notes
from text_pipeline import text_pipeline

import sedimental
from sedimental.cache.corpus.corpus_table import cached_manifest
from sedimental.cache.corpus.leaks import leaks
from sedimental.cache.runs import read_run
from sedimental.config import CorpusConfig, load_config
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


PIPELINE = text_pipeline("folds = 3")


def test_all_runs_are_trained_a_fold_each_and_the_report_means_over_folds(tmp_path: Path) -> None:
    """Point 5 from end to end."""
    table(tmp_path / "corpus.csv", clips=60)
    path = tmp_path / "pipeline.toml"
    path.write_text(PIPELINE)
    finished("extract", "-c", str(path))
    runs = json_of("train", "-c", str(path))
    assert len(runs) == 6
    folders = sorted(p.parent.name for p in (tmp_path / "runs").rglob("run.json"))
    assert folders == [f"seed-{s}-fold-{k}" for s in (1, 2) for k in range(3)]
    again = finished("train", "-c", str(path))
    assert again.stderr.count("the finished run stands") == 6
    report = json_of("report", "-c", str(path))
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
    finished("extract", "-c", str(path))
    finished("train", "-c", str(path))
    folders = sorted(p.parent.name for p in (tmp_path / "runs").rglob("run.json"))
    assert folders == ["seed-1-fold-2", "seed-2-fold-2"]
    path.write_text(PIPELINE.replace("folds = 3", "folds = 3\nfold = 3"))
    answer = finished("train", "-c", str(path), code=2)
    assert "corpus.fold: there is no part 3" in answer.stderr


def test_sweep_probe_and_robustness_go_through_all_folds(tmp_path: Path) -> None:
    """They took the first fold alone; validation clips were those of fold 0 throughout."""
    table(tmp_path / "corpus.csv", clips=60)
    path = tmp_path / "pipeline.toml"
    path.write_text(PIPELINE + "[sweep]\nlayers = [0, -1]\nseeds = [1]\nepochs = 1\n")
    finished("extract", "-c", str(path))
    finished("train", "-c", str(path))
    probe, swept = json_of("sweep", "-c", str(path))
    for found in (probe, swept):
        assert {point["parts"] for point in found["points"]} == {3}
        assert all(len(point["scores"]["test"]["MAE"]) == 3 for point in found["points"])
    assert swept["recommended"]["uegd"]["clips"] == 60  # each is validated on once
    [cell] = (tmp_path / "runs").rglob("sweep/uegd.T.0")
    seen: dict[str, float] = {}
    for folder in sorted(cell.glob("*/seed-1-fold-*")):
        run = read_run(folder)
        own = dict(zip(run.predictions.ids, run.predictions.splits, strict=True))
        seen |= {clip: run.metrics["test"]["MAE"] for clip, s in own.items() if s == "test"}
    assert len(seen) == 60
    [point] = [p for p in swept["points"] if p["choice"] == "0"]
    assert sorted(point["scores"]["test"]["MAE"]) == pytest.approx(sorted(set(seen.values())))
    shown = finished("sweep", "-c", str(path)).stdout
    assert "spread over folds" in " ".join(shown.split())
    report = json_of("robustness", "-c", str(path), "--rates", "0,1")["robustness"]
    assert len(list((tmp_path / "runs").rglob("uegd-T-*/seed-*/robustness.npz"))) == 6
    [row] = report
    page = json_of("report", "-c", str(path))
    # at rate 0 what robustness says is what the table says: means over folds
    whole = page["rows"][0]["test"]["MAE"]
    assert row["curves"]["all"]["MAE"]["values"][0] == pytest.approx(whole["mean"], abs=1e-4)
    assert row["seeds"] == 2
    assert len(page["probe"]["test"]["MAE"]["seeds"]) == 3


def test_a_sweep_of_one_fold_is_of_its_clips(tmp_path: Path) -> None:
    """With `fold = 2` the runs were of fold 2 and the validation clips of fold 0."""
    table(tmp_path / "corpus.csv", clips=60)
    path = tmp_path / "pipeline.toml"
    text = PIPELINE.replace("folds = 3", "folds = 3\nfold = 2")
    path.write_text(text + "[sweep]\nlayers = [0, -1]\nseeds = [1]\nepochs = 1\n")
    finished("extract", "-c", str(path))
    probe, _ = json_of("sweep", "-c", str(path))
    config = load_config(path)
    wanted = {clip.id for clip in cached_manifest(config).of_fold(2).split("test")}
    assert all(point["parts"] == 0 for point in probe["points"])
    for folder in (tmp_path / "runs").rglob("seed-*-fold-*"):
        own = read_run(folder).predictions
        tested = {clip for clip, split in zip(own.ids, own.splits, strict=True) if split == "test"}
        assert folder.name.endswith("fold-2")
        assert tested == wanted


def test_python_s_sweep_looks_at_the_table_first(tmp_path: Path) -> None:
    """Labels that were edited counted for the command alone, and not for `sedimental.probe`."""
    corpus = tmp_path / "corpus.csv"
    table(corpus, clips=60)
    path = tmp_path / "pipeline.toml"
    path.write_text(PIPELINE.replace("folds = 3\n", 'split = "auto"\n'))
    finished("extract", "-c", str(path))
    config = load_config(path)
    first = sedimental.probe(config)
    lines = corpus.read_text().splitlines()
    place = lines[0].split(",").index("label")
    cells = [line.split(",") for line in lines[1:]]
    for row in cells:
        row[place] = f"{-float(row[place]) / 2:g}"
    corpus.write_text("\n".join([lines[0], *map(",".join, cells)]) + "\n")
    notes = Notes()
    again = sedimental.probe(config, notes)
    assert again.manifest != first.manifest
    assert any("label" in note for note in notes.notes)
    assert cached_manifest(config).digest == again.manifest
