"""Sweeps, probes and robustness in the report: true numbers, whole pages, files that parse."""

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from sedimental.cache.checksums import with_checksum
from sedimental.cache.runs import (
    Epoch,
    InputRecord,
    Predictions,
    Run,
    read_run,
    run_folder,
    write_run,
)
from sedimental.cache.runs.representations import Representations, halved, read_representations
from sedimental.cache.spec import LETTERS, MODALITIES
from sedimental.cache.sweeps import Encoder, Kind, Point, Sweep, pick, read_sweep, write_sweep
from sedimental.config import EvaluateConfig
from sedimental.errors import RunError
from sedimental.evaluate.auilc import auilc
from sedimental.evaluate.compare import compare, find_runs
from sedimental.evaluate.figures.representation_maps import pca
from sedimental.evaluate.metrics import score, score_classes
from sedimental.evaluate.output.html import to_html
from sedimental.evaluate.output.mmsa import to_mmsa, write_mmsa
from sedimental.evaluate.output.sweep_files import write_sweep_files
from sedimental.evaluate.output.sweep_terminal import to_terminal as sweep_to_terminal
from sedimental.evaluate.output.tables import to_csv, to_latex, to_markdown
from sedimental.evaluate.output.terminal import (
    comparison_to_terminal,
    robustness_to_terminal,
    to_terminal,
)
from sedimental.evaluate.output.write import write_report
from sedimental.evaluate.protocols import explain, protocol_of
from sedimental.evaluate.report import report_folder as evaluate
from sedimental.evaluate.report import scheme_of
from sedimental.evaluate.resampling import draw_groups, resampled_scores
from sedimental.evaluate.statistics import mcnemar, paired_bootstrap, video_groups

SETTINGS = EvaluateConfig(bootstrap=100)
IDS = tuple(f"v{v:02d}$_${c}" for v in range(30) for c in range(4))
SPLITS: Any = tuple(("train", "valid", "test")[v // 10] for v in range(30) for _ in range(4))
LABELS = np.round(np.random.default_rng(0).normal(0, 1.2, len(IDS)).clip(-3, 3), 2)
CLASSES = ("anger", "calm", "joy")
NUMBERS = np.random.default_rng(1).integers(0, 3, len(IDS)).astype(float)


def run_of(letters: str, seed: int, noise: float, model: str = "uegd", **changes: Any) -> Run:
    random = np.random.default_rng([seed, *map(ord, letters)])
    modalities = tuple(m for m in MODALITIES if LETTERS[m] in letters)
    values = LABELS + random.normal(0, noise, len(IDS))
    run = Run(
        corpus="demo", model=model, modalities=modalities, seed=seed, key=f"{letters}{seed}",
        options={"width": 8}, config={"epochs": 3}, environment={"python": "3"},
        inputs=tuple(InputRecord(m, f"tiny-{m}", ("2",), False, "ff", "hub") for m in modalities),
        parameters=9, criterion="valid_loss", best_epoch=2, seconds=1.5,
        coverage={s: {"clips": 40} for s in ("train", "valid", "test")}, metrics={},
        history=tuple(Epoch(e, 1 / e, 1.1 / e, 1e-4, 0.1, {"MAE": 1.0}) for e in (1, 2, 3)),
        predictions=Predictions(IDS, SPLITS, LABELS, values), outputs={},
    )  # fmt: skip
    return replace(run, **changes)


def keep(root: Path, run: Run) -> Path:
    folder = run_folder(root, run.model, run.modalities, run.seed)
    write_run(folder, run, b"")
    return folder


def sure(letters: str, seed: int, right: float) -> Run:
    """A run that predicts classes, with about the share `right` of them."""
    random = np.random.default_rng([seed, *map(ord, letters)])
    hit = random.uniform(size=len(IDS)) < right
    values = np.where(hit, NUMBERS, (NUMBERS + 1) % 3)
    shares = 0.2 + 0.4 * np.eye(3)[values.astype(int)]
    own = Predictions(IDS, SPLITS, NUMBERS, values, CLASSES, shares)
    return run_of(letters, seed, 1.0, predictions=own)


def point_of(letters: str, choice: str, corr: float, seeds: int = 3, arm: str = "uegd") -> Point:
    spread = np.linspace(-0.02, 0.02, seeds) if seeds > 1 else np.zeros(1)
    layers: Any = {m: choice for m in MODALITIES if LETTERS[m] in letters}
    scores: Any = {
        split: {
            "Has0_acc_2": tuple(0.5 + corr / 3 + spread),
            "Non0_acc_2": tuple(0.5 + corr / 3 + spread),
            "Has0_F1_score": tuple(0.5 + corr / 3 + spread),
            "Non0_F1_score": tuple(0.5 + corr / 3 + spread),
            "Mult_acc_5": tuple(0.3 + spread),
            "Mult_acc_7": tuple(0.3 + spread),
            "MAE": tuple(1.5 - corr + spread),
            "Corr": tuple(corr - (split == "test") * 0.05 + spread),
        }
        for split in ("valid", "test")
    }
    return Point(arm, arm, letters, choice, layers, tuple(range(seeds)), scores, {}, "", 2.0)


def sweep_of(kind: Kind, arm: str, seeds: int) -> Sweep:
    best = {"text": 2, "audio": 1, "vision": 3}
    names = ("0", "1", "2", "3", "4", "final")
    points = [
        point_of(LETTERS[m], name, 0.6 - 0.05 * abs(k - best[m]), seeds, arm)
        for m in MODALITIES
        for k, name in enumerate(names)
    ]
    points.append(point_of("TAV", "picked", 0.75, seeds, arm))
    if kind == "sweep":
        points += [point_of(x, "weighted", 0.55, seeds, arm) for x in ("T", "A", "V", "TAV")]
        points.append(point_of("TAV", "last", 0.65, seeds, arm))
    encoders: Any = {m: Encoder(f"tiny-{m}", "hub", "f" * 16, names, "4") for m in MODALITIES}
    picks: Any = {arm: {m: str(best[m]) for m in MODALITIES}}
    return Sweep(kind, "k", "demo", "mosi", (), "Corr", "d", encoders, tuple(points), picks)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("swept")
    for seed in (1, 2, 3):
        for letters, noise in (("TAV", 0.6), ("T", 0.9), ("A", 1.5)):
            own = keep(root, run_of(letters, seed, noise))
            cases: list[dict[str, Any]] = [
                {"kind": "rate", "of": "all", "rate": r} for r in (0.0, 0.5, 1.0)
            ]
            if letters == "TAV":
                cases += [{"kind": "rate", "of": x, "rate": r} for x in "TAV" for r in (0.0, 1.0)]
                cases += [{"kind": "drop", "of": x, "rate": 1.0} for x in "TAV"]
            truth = LABELS[[s == "test" for s in SPLITS]]
            answers = np.stack([truth[None] * (1 - c["rate"]) for c in cases])
            head = {"version": 3, "key": f"{letters}{seed}", "masks": 1, "cases": cases}
            head["special_tokens"] = "missing" if "T" in letters else ""
            data = io.BytesIO()
            np.savez(data, head=np.array(json.dumps(head)), values=answers)
            (own / "robustness.npz").write_bytes(with_checksum(data.getvalue()))
    write_sweep(root / "sweep", sweep_of("sweep", "uegd", 3))
    write_sweep(root / "probe", sweep_of("probe", "ridge", 1))
    keep(root / "probe", run_of("TAV", 0, 0.5, "ridge"))
    keep(root / "probe", run_of("T", 0, 0.7, "ridge"))
    return root


@pytest.fixture(scope="module")
def report(folder: Path) -> Any:
    return evaluate(folder, SETTINGS)


def test_a_sweep_reads_back_as_it_was_written(tmp_path: Path) -> None:
    found = sweep_of("sweep", "uegd", 3)
    write_sweep(tmp_path, found)
    assert read_sweep(tmp_path) == found
    assert read_sweep(tmp_path / "none") is None
    assert found.lines().splitlines()[1] == 'text = { encoder = "tiny-text", layers = 2 }'
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(RunError, match="cannot be read as a sweep"):
        read_sweep(tmp_path)


def test_of_equals_the_first_layer_is_picked_and_the_undefined_never() -> None:
    points = [point_of("T", name, value) for name, value in (("0", 0.4), ("1", 0.6), ("2", 0.6))]
    assert pick(points, "Corr").choice == "1"
    assert pick(points, "MAE").choice == "1"  # less is better
    assert pick([point_of("T", "9", float("nan")), points[0]], "Corr").choice == "0"


def test_floors_stand_in_every_table(report: Any) -> None:
    assert report.probe is not None
    assert report.probe.name == "ridge probe TAV"  # of the probes the best on validation
    assert [row.name for row in report.floors] == ["mean predictor", "ridge probe TAV"]
    lines = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert [line["model"] for line in lines[-2:]] == ["mean predictor", "ridge probe"]
    assert float(lines[-1]["Corr_mean"]) == report.probe.test["Corr"].mean
    for text in (to_markdown(report), to_latex(report)):
        assert "ridge probe" in text
        assert "layer 2 of text" in text
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(to_terminal(report, 160))
    shown = console.export_text().splitlines()
    [model] = [line for line in shown if line.startswith(" uegd TAV") or "uegd TAV " in line][:1]
    [floor] = [line for line in shown if "mean predictor " in line][:1]
    dots = [[k for k, letter in enumerate(line) if letter == "."] for line in (model, floor)]
    assert set(dots[1]) <= set(dots[0])  # each number stands under the means of the other rows
    assert "ridge probe" in to_html(report)


def test_the_report_says_what_does_not_beat_the_probe_and_what_to_try(tmp_path: Path) -> None:
    def said(noise: float) -> list[str]:
        root = tmp_path / f"{noise}"
        write_sweep(root / "probe", sweep_of("probe", "ridge", 1))
        keep(root / "probe", run_of("TAV", 0, 0.3, "ridge"))
        keep(root, run_of("TAV", 1, noise, config={"epochs": 3, "preset": "mosi"}))
        return [c.text for c in evaluate(root, SETTINGS).cautions if "ridge probe" in c.text]

    [weak] = said(0.9)
    assert weak.startswith("No better in MAE than the ridge probe TAV: uegd TAV. To try: ")
    assert "the layers that `sedimental sweep` picks" in weak
    assert "no preset" in weak
    assert not said(0.1)


def test_a_probe_of_other_clips_is_no_floor(tmp_path: Path) -> None:
    keep(tmp_path, run_of("T", 1, 0.5))
    write_sweep(tmp_path / "probe", sweep_of("probe", "ridge", 1))
    fewer = run_of("TAV", 0, 0.5, "ridge")
    own = fewer.predictions
    splits = ("valid", *own.splits[1:-1], "valid")
    keep(tmp_path / "probe", replace(fewer, predictions=replace(own, splits=splits)))
    assert evaluate(tmp_path, SETTINGS).probe is None


def test_the_page_shows_the_layers(report: Any) -> None:
    html = to_html(report)
    assert "Which layer" in html
    assert "layers = 2 }" in html
    assert 'id="sweep-corr-title"' in html
    assert 'id="robust-rows-title"' in html
    assert "picked layer (2)" in html
    assert "T 2, A 1, V 3" not in html  # the stand-in points say "picked" of each layer
    assert "://" not in html
    assert len(html) < 2_000_000
    assert not re.search(r"(fill|stroke): #(?!000000)", html)  # every colour follows the page


def test_sweep_files_parse_back(folder: Path, report: Any) -> None:
    files = write_sweep_files(folder, report.sweeps)
    assert [f.name for f in files] == [
        "layers.csv", "layers.md", "layers-corr.svg", "layers-mae.svg",
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(files[0].read_text())))
    assert len(rows) == 18
    assert [r["layer"] for r in rows if r["picked"] == "1"] == ["2", "1", "3"]
    point = report.sweeps[-1].find("uegd", "T", "2")
    assert float(rows[2]["test_Corr_mean"]) == pytest.approx(point.mean("test", "Corr"))
    sweep = report.sweeps[-1]
    tested = {(r["modality"], r["layer"]) for r in rows if r["test_Corr_mean"]}
    picked = {(LETTERS[m], layer) for m, layer in sweep.picks["uegd"].items()}
    assert tested == picked | {(LETTERS[m], own.last) for m, own in sweep.encoders.items()}
    assert all(r["valid_Corr_mean"] for r in rows)
    assert "test of picked and last" in files[2].read_text()
    cells = {line.count("|") for line in files[1].read_text().splitlines()}
    assert len(cells) == 1
    assert files[2].read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(sweep_to_terminal(report.sweeps))
    text = console.export_text()
    assert "weighted sum" in text
    assert "ridge probe" in text
    assert max(map(len, text.splitlines())) <= 120


def test_robustness_is_read_from_the_runs(folder: Path, report: Any) -> None:
    [whole, text, audio] = report.robustness
    assert (whole.name, text.name, audio.name) == ("uegd TAV", "uegd T", "uegd A")
    truth = LABELS[[s == "test" for s in SPLITS]]
    curve = whole.curves["all"]["MAE"]
    expected = [np.abs(truth * rate).mean() for rate in (0.0, 0.5, 1.0)]
    assert curve.values == pytest.approx(expected, abs=1e-4)
    assert curve.area == pytest.approx(auilc([0, 0.5, 1], expected), abs=1e-4)
    assert whole.curves["all"]["Corr"].values == pytest.approx(
        (1, 1, 0)
    )  # a constant knows nothing
    assert set(whole.drops) == {"T", "A", "V"}
    assert set(text.curves) == {"all"}
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(robustness_to_terminal(report))
    assert "AUILC" in console.export_text()
    broken = folder / "uegd-A" / "seed-1" / "robustness.npz"
    before = broken.read_bytes()
    broken.write_bytes(b"PK")
    with pytest.raises(RunError, match="sedimental robustness"):
        evaluate(folder, SETTINGS)
    broken.write_bytes(before)


def test_robustness_of_another_training_is_not_shown(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "x")
    keep(tmp_path / "x", run_of("A", 2, 1.4, key="newer"))  # the folder is replaced as a whole
    assert [r.name for r in evaluate(tmp_path / "x", SETTINGS).robustness] == ["uegd TAV", "uegd T"]


def test_compare_is_the_paired_bootstrap_and_mcnemar(folder: Path) -> None:
    found = compare("uegd TAV", "uegd-A", folder, SETTINGS)
    assert (found.first.name, found.second.name, found.clips) == ("uegd TAV", "uegd A", 40)
    kept = np.array([s == "test" for s in SPLITS])
    first, second = answers = [
        [r.predictions.values[kept] for r in find_runs(n, folder)] for n in ("uegd TAV", "uegd A")
    ]
    ids = [i for i, k in zip(IDS, kept, strict=True) if k]
    expected = paired_bootstrap(LABELS[kept], first, second, "mosi", video_groups(ids), 100)
    assert found.differences == expected
    means = [np.mean(a, axis=0) for a in answers]
    known = LABELS[kept] != 0
    hits = [((LABELS[kept] > 0) == (m > 0))[known] for m in means]
    assert found.mcnemar == mcnemar(*hits)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(comparison_to_terminal(found))
    assert "McNemar on Non0_acc_2" in " ".join(console.export_text().split())


def test_compare_takes_folders_and_names_faults(folder: Path, tmp_path: Path) -> None:
    one = compare(str(folder / "uegd-TAV/seed-1"), "probe/ridge-TAV", folder, SETTINGS)
    assert (one.first.seeds, one.second.name) == ((1,), "ridge TAV")
    assert one.differences["MAE"].value == one.first.test["MAE"].mean - one.second.test["MAE"].mean
    with pytest.raises(RunError, match='Did you mean "uegd TAV"'):
        compare("uegd TV", "uegd A", folder, SETTINGS)
    with pytest.raises(RunError, match="holds several rows"):
        compare(str(folder / "probe"), "uegd A", folder, SETTINGS)
    keep(tmp_path, sure("T", 1, 0.9))
    with pytest.raises(RunError, match="one predicts other classes"):
        compare(str(tmp_path / "uegd-T"), "uegd A", folder, SETTINGS)
    other = run_of("T", 1, 0.5)
    moved = replace(other.predictions, labels=LABELS + 1)
    keep(tmp_path / "y", replace(other, predictions=moved))
    with pytest.raises(RunError, match="other labels"):
        compare(str(tmp_path / "y/uegd-T"), "uegd A", folder, SETTINGS)


def test_compare_uses_the_clips_that_both_answered(folder: Path, tmp_path: Path) -> None:
    fewer = run_of("T", 1, 0.5)
    splits = tuple("valid" if i == IDS[-1] else s for i, s in zip(IDS, SPLITS, strict=True))
    keep(tmp_path, replace(fewer, predictions=replace(fewer.predictions, splits=splits)))  # type: ignore[arg-type]
    found = compare(str(tmp_path / "uegd-T"), "uegd A", folder, SETTINGS)
    assert (found.clips, found.left_out) == (39, 1)


@pytest.mark.parametrize("names", [CLASSES, ("no", "yes")])
def test_resampled_class_scores_are_scores_of_repeated_clips(names: tuple[str, ...]) -> None:
    random = np.random.default_rng(5)
    truth, guess = random.integers(0, len(names), (2, 30)).astype(float)
    groups = np.arange(30) // 3
    draws = draw_groups(10, 20, 1)
    found = resampled_scores(truth, guess, names, groups, draws)
    for k, counts in enumerate(draws):
        rows = np.repeat(np.arange(30), counts[groups])
        expected = score(truth[rows], guess[rows], names)
        assert {key: v[k] for key, v in found.items()} == pytest.approx(expected, nan_ok=True)


def test_classes_through_the_whole_report(tmp_path: Path) -> None:
    for seed in (1, 2):
        for letters, right in (("TAV", 0.9), ("A", 0.5)):
            keep(tmp_path, sure(letters, seed, right))
    found = evaluate(tmp_path, SETTINGS)
    assert (found.protocol, found.classes, found.headline) == ("classes", CLASSES, "uegd TAV")
    keys = ["Accuracy", "Weighted_F1", "F1_anger", "F1_calm", "F1_joy"]
    assert list(found.rows[0].test) == keys
    kept = np.array([s == "test" for s in SPLITS])
    run = sure("A", 2, 0.5)
    expected = score_classes(NUMBERS[kept], run.predictions.values[kept], CLASSES)
    assert {k: s.values[1] for k, s in found.row("uegd A").test.items()} == pytest.approx(expected)
    train = NUMBERS[[s == "train" for s in SPLITS]].astype(int)
    floor = np.full(40, np.bincount(train).argmax())
    assert found.baseline.name == "most frequent class"
    assert found.baseline.test["Accuracy"].mean == np.mean(floor == NUMBERS[kept])
    assert found.analyses.fits[0].confusion.sum() == 80
    assert found.analyses.worst[0].doubt == pytest.approx(0.8)
    page = write_report(tmp_path, found).read_text(encoding="utf-8")
    assert "test weighted F1 of" in page
    assert "most frequent class" in page
    assert "Corr" not in page.replace("Correlation", "")
    assert to_terminal(found, 120)
    assert scheme_of(tmp_path, SETTINGS) == CLASSES
    assert "F1_joy" in explain(CLASSES)
    comparison = compare("uegd TAV", "uegd A", tmp_path, SETTINGS)
    assert comparison.question == "Accuracy"
    assert comparison.differences["Accuracy"].value > 0.2


def test_scores_and_classes_do_not_share_a_table(tmp_path: Path) -> None:
    keep(tmp_path, run_of("T", 1, 0.5))
    keep(tmp_path, sure("A", 1, 0.9))
    with pytest.raises(RunError, match="runs that predict classes"):
        evaluate(tmp_path, SETTINGS)


def test_degenerate_classes() -> None:
    nothing = score([], [], CLASSES)
    assert all(np.isnan(v) for v in nothing.values())
    one = score([1, 1, 1], [1, 1, 1], CLASSES)
    assert (one["Accuracy"], one["Weighted_F1"], one["F1_calm"]) == (1, 1, 1)
    assert np.isnan(one["F1_joy"])
    wrong = score([0, 0], [1, 1], CLASSES)
    assert (wrong["Accuracy"], wrong["Weighted_F1"], wrong["F1_anger"]) == (0, 0, 0)
    assert all(np.isnan(v) for v in score([0.0], [np.nan], CLASSES).values())
    assert protocol_of(("no", "yes")).metrics[0].label == "Acc-2"


def test_mmsa_file(folder: Path, tmp_path: Path, report: Any) -> None:
    lines = list(csv.DictReader(io.StringIO(to_mmsa(report))))
    ours = ["sedimental-uegd", "sedimental-uegd_T", "sedimental-uegd_A"]
    assert [line["Model"] for line in lines] == ours
    mae = report.rows[0].test["MAE"]
    assert lines[0]["MAE"] == str((round(100 * mae.mean, 2), round(100 * mae.std, 2)))
    assert re.fullmatch(r"\(\d+\.\d+, \d+\.\d+\)", lines[1]["Has0_acc_2"])
    file = write_mmsa(tmp_path, report)
    assert file == tmp_path / "results/normal/demo.csv"
    # I1: rows and columns of that tool stay as they are, in their order; it appends by place
    text = 'Model,MAE,Loss\nmult,"(87.99, 0.5)",1\nuegd,"(1.0, 0.0)",1\n'
    once = to_mmsa(report, text)
    assert once.startswith(text)
    merged = list(csv.DictReader(io.StringIO(once)))
    assert [line["Model"] for line in merged] == ["mult", "uegd", *ours]
    assert merged[2] == {"Model": ours[0], "MAE": lines[0]["MAE"], "Loss": ""}
    assert to_mmsa(report, once) == once
    file.write_text("some table,of others\n")
    with pytest.raises(RunError, match=r"not a result file of MMSA.*nothing was written"):
        write_mmsa(tmp_path, report)
    assert file.read_text() == "some table,of others\n"


@pytest.mark.parametrize("corpus", ["../../../x", "/x", "..", "a/../../b", ".x"])
def test_the_name_of_a_corpus_stays_in_its_folder(tmp_path: Path, report: Any, corpus: str) -> None:
    """H13: `corpus` of a run.json is text of others."""
    file = write_mmsa(tmp_path / "deep/er", replace(report, corpus=corpus))
    assert file.resolve().parent == (tmp_path / "deep/er/results/normal").resolve()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [file]


@pytest.mark.parametrize("different", [1, 3])
def test_a_map_of_clips_that_are_all_alike_is_left_out(tmp_path: Path, different: int) -> None:
    some = np.random.default_rng(0).normal(size=(different, 5))
    vectors = some[np.arange(len(IDS)) % different]
    kept = Representations(np.arange(len(IDS)), {"fused": halved(vectors)})
    keep(tmp_path, replace(run_of("TA", 1, 0.2), representations=kept))
    html = to_html(evaluate(tmp_path, EvaluateConfig(bootstrap=0)))
    assert 'id="map-pca-title"' not in html
    assert f"Representations, PCA. Left out: of {len(IDS)} clips the head reads" in html
    assert f"the head reads {different} different vector" in html


def test_maps_and_generated_labels_are_drawn_where_they_are_kept(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    trail = {"label_quantiles_text": np.sort(random.normal(size=(6, 5)), axis=1)}
    vectors = random.normal(size=(len(IDS), 5)) + LABELS[:, None]
    kept = Representations(
        np.arange(len(IDS)), {n: halved(vectors) for n in ("fused", "text", "audio")}
    )
    keep(tmp_path, replace(run_of("TA", 1, 0.2), representations=kept))
    keep(tmp_path, replace(run_of("T", 1, 0.9, outputs=trail), model="sugrm"))
    html = to_html(evaluate(tmp_path, EvaluateConfig(bootstrap=0)))
    for key in ("map-pca", "map-alone", "trajectory"):
        assert f'id="{key}-title"' in html
    assert all(f"{split} (" in html for split in ("train", "valid", "test"))
    flat, shares = pca(vectors)
    centred = vectors - vectors.mean(axis=0)
    values = np.linalg.eigvalsh(centred.T @ centred)[::-1]
    assert shares == pytest.approx(values / values.sum())
    assert flat.var(axis=0) * len(flat) == pytest.approx(values[:2])


def test_representations_come_back_from_a_run_folder(tmp_path: Path) -> None:
    kept = Representations(np.array([1, 3]), {"fused": halved(np.array([[0.1, 1e6], [-2, 3]]))})
    folder = keep(tmp_path, replace(run_of("T", 1, 0.4), representations=kept))
    assert read_run(folder).representations is None  # scores are read without them
    found = read_representations(folder)
    assert found is not None
    assert found.rows.tolist() == [1, 3]
    assert found.vectors["fused"].dtype == np.float16
    assert found.vectors["fused"].tolist() == kept.vectors["fused"].tolist()
    (folder / "representations.npz").write_bytes(b"torn")
    with pytest.raises(RunError, match=r"representations\.npz: is damaged.*--fresh"):  # H5
        read_representations(folder)


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_the_layer_table_filters_in_a_browser_without_an_outside_request(
    report: Any, tmp_path: Path
) -> None:
    drive = """<script>
    const all = [...document.querySelectorAll("table[data-tools]")];
    const table = all.find(t => t.closest("div").getAttribute("aria-label") === "Every layer");
    table.closest("details").open = true;
    const rows = () => [...table.tBodies[0].rows].filter(r => !r.hidden).map(r => r.dataset.words);
    const input = table.closest("details").querySelector(".tools input");
    input.value = "uegd T picked"; input.dispatchEvent(new Event("input"));
    const kept = rows();
    input.value = "uegd"; input.dispatchEvent(new Event("input"));
    const head = [...table.tHead.rows[0].cells].findIndex(c => c.textContent === "Corrtest");
    table.tHead.rows[0].cells[head].querySelector("button").click();
    table.tHead.rows[0].cells[head].querySelector("button").click();
    const loads = performance.getEntriesByType("resource").map(e => e.name);
    document.title = JSON.stringify([kept, rows()[0], loads]);
    </script></body>"""
    page = tmp_path / "page.html"
    page.write_text(to_html(report).replace("</body>", drive), encoding="utf-8")
    done = subprocess.run(
        [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
            "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    found = re.search(r"<title>(.*?)</title>", done.stdout)
    assert found is not None
    kept, best, loads = json.loads(found[1].replace("&quot;", '"'))
    assert kept == ["uegd T 2 picked"]
    assert best in ("uegd T 2 picked", "uegd A 1 picked", "uegd V 3 picked")
    assert loads == []
    assert "CONSOLE" not in done.stderr
