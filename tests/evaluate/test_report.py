"""A report on simulated runs: true numbers, files that parse, a page that is whole."""

import base64
import csv
import io
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from simulated_runs import Change, simulate

from sedimental.cache.manifest import Manifest
from sedimental.cache.runs import InputRecord, Run
from sedimental.config import EvaluateConfig
from sedimental.errors import RunError
from sedimental.evaluate.analysis.published import published_for
from sedimental.evaluate.figures.row_style import row_styles
from sedimental.evaluate.figures.training_curves import training_figure
from sedimental.evaluate.metrics import score
from sedimental.evaluate.output.html import Drawings, draw, to_html
from sedimental.evaluate.output.html_cells import minus
from sedimental.evaluate.output.html_words import headline, layer_words
from sedimental.evaluate.output.tables import to_csv, to_latex, to_markdown
from sedimental.evaluate.output.terminal import halved, to_terminal
from sedimental.evaluate.output.write import write_report
from sedimental.evaluate.report import report_folder as evaluate
from sedimental.evaluate.results import Report
from sedimental.evaluate.statistics import paired_bootstrap, video_groups
from sedimental.model_table import paper_of

SETTINGS = EvaluateConfig(bootstrap=200)


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "first try"


@pytest.fixture(scope="module")
def manifest(folder: Path) -> Manifest:
    return simulate(folder)


@pytest.fixture(scope="module")
def report(folder: Path, manifest: Manifest) -> Report:
    return evaluate(folder, SETTINGS, manifest)


@pytest.fixture(scope="module")
def drawn(report: Report) -> Drawings:
    """Its figures, drawn once."""
    return draw(report)


def test_rows_are_what_the_predictions_give(folder: Path, report: Report) -> None:
    assert [row.name for row in report.rows] == ["uegd TAV", "uegd T", "uegd A", "uegd V"]
    for row in report.rows:
        runs = [
            table(folder / f"uegd-{row.letters}" / f"seed-{s}" / "predictions.csv")
            for s in row.seeds
        ]
        for split, spreads in (("test", row.test), ("valid", row.valid)):
            each = [
                score(
                    np.array([float(x["label"]) for x in run if x["split"] == split]),
                    np.array([float(x["prediction"]) for x in run if x["split"] == split]),
                    "mosi",
                )
                for run in runs
            ]
            for key, spread in spreads.items():
                values = [e[key] for e in each]
                assert spread.values == pytest.approx(values)
                assert spread.mean == pytest.approx(np.mean(values))
                assert spread.std == pytest.approx(np.std(values))
        mae = row.test["MAE"]
        assert mae.low is not None
        assert mae.high is not None
        assert mae.low < mae.mean < mae.high


def test_baseline_answers_with_the_training_mean(report: Report, manifest: Manifest) -> None:
    train = [c.label for c in manifest.split("train") if c.label is not None]
    test = np.array([c.label for c in manifest.split("test")])
    expected = score(test, np.full(len(test), np.mean(train)), "mosi")
    assert {k: s.mean for k, s in report.baseline.test.items()} == pytest.approx(
        expected, nan_ok=True
    )
    assert math.isnan(report.baseline.test["Corr"].mean)


def test_headline_is_picked_on_validation(tmp_path: Path) -> None:
    def swap(run: Run) -> Run:  # best on test, hopeless on validation
        guess = run.predictions
        valid = np.array([s == "valid" for s in guess.splits])
        values = np.where(valid, -guess.labels, guess.labels)
        return replace(run, predictions=replace(guess, values=values))

    simulate(tmp_path, ("T",))
    simulate(tmp_path, ("V",), change=swap)
    found = evaluate(tmp_path, SETTINGS)
    assert found.row("uegd V").test["Corr"].mean > found.row("uegd T").test["Corr"].mean
    assert found.headline == "uegd T"


def test_differences_are_the_paired_bootstrap(
    report: Report, manifest: Manifest, folder: Path
) -> None:
    clips = manifest.split("test")

    def guesses(letters: str) -> list[np.ndarray]:
        files = sorted((folder / f"uegd-{letters}").glob("seed-*/predictions.csv"))
        return [
            np.array([float(r["prediction"]) for r in table(f) if r["split"] == "test"])
            for f in files
        ]

    labels = np.array([c.label for c in clips])
    groups = video_groups([c.id for c in clips])
    expected = paired_bootstrap(labels, guesses("TAV"), guesses("T"), "mosi", groups, 200)
    assert set(report.differences) == {"uegd T", "uegd A", "uegd V"}
    assert report.differences["uegd T"]["Corr"] == expected["Corr"]


def test_analyses(report: Report, manifest: Manifest) -> None:
    found = report.analyses
    assert found.name == "uegd TAV"
    assert [fit.name for fit in found.fits] == [row.name for row in report.rows]
    assert all(fit.confusion.sum() == 3 * report.test_clips for fit in found.fits)
    [gates] = found.gates
    assert (gates.row, gates.output) == ("uegd TAV", "gate")
    assert set(gates.weights) == {"text", "audio", "vision"}
    assert all(g.size == 3 * report.test_clips for g in gates.weights.values())
    assert found.layers is not None
    assert found.layers.row == "uegd TAV"
    assert found.layers.weights["audio"].weights.tolist() == [[0.2, 0.3, 0.5]] * 3
    assert set(found.layers.weights) == {"audio"}
    assert all(0 <= v.intra <= v.total for v in found.variances)
    labels = np.array([c.label for c in manifest.split("test")])
    intra = np.mean((labels.reshape(-1, 4) - labels.reshape(-1, 4).mean(axis=1)[:, None]) ** 2)
    assert found.variances[0].total == pytest.approx(labels.var())
    assert found.variances[0].intra == pytest.approx(intra)
    first = found.fits[0]
    assert first.calibration[:, 2].sum() == report.test_clips
    errors = [abs(c.prediction - c.label) for c in found.worst]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] == pytest.approx(np.abs(first.predictions - first.labels).max())
    assert found.video is not None
    assert found.video.labels.size == 4


def test_files_parse_back(folder: Path, report: Report) -> None:
    page = write_report(folder, report)
    assert page == folder / "report.html"
    assert not list(folder.glob(".tmp-*"))
    plain = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert plain["rows"][0]["test"]["Corr"]["mean"] == report.best.test["Corr"].mean
    assert plain["baseline"]["test"]["Corr"]["mean"] is None
    assert plain["untrained"] == ["audio tiny-audio", "vision tiny-vision"]
    rows = table(folder / "table.csv")
    assert [r["modalities"] for r in rows] == ["TAV", "T", "A", "V", ""]
    assert float(rows[1]["MAE_std"]) == report.row("uegd T").test["MAE"].std
    assert rows[-1]["Corr_mean"] == ""
    cells = [line.split("|")[1:-1] for line in to_markdown(report).splitlines() if "|" in line]
    assert {len(line) for line in cells} == {3 + 8}
    assert "Has0_acc_2" in cells[0][3]
    mean = cells[2][-1].strip().strip("*").split(" ± ")[0]
    assert float(mean) == pytest.approx(report.best.test["Corr"].mean, abs=5e-4)
    tex = to_latex(report)
    body = [line for line in tex.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body} == {10}
    assert tex.count(r"\begin{") == tex.count(r"\end{") == 2
    assert not re.search(r"(?<!\\)[%#]", tex)
    for text in (to_csv(report), to_markdown(report), tex):
        assert "tiny-audio" in text  # no table travels without naming the untrained encoders
        assert "tiny-text" not in text


class Page(HTMLParser):
    """Checks that tags nest and gathers what the page would load."""

    VOID = frozenset({"meta", "input", "br", "hr", "img", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]
        self.ids += [v for k, v in attrs if k == "id" and v]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data


def read(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    links = [link for link in page.loads if not link.startswith("data:image/jpeg;base64,")]
    beside = {"table.csv", "table.tex", "table.md", "report.json"}
    assert all(link in beside or link[1:] in page.ids for link in links)
    assert beside < set(links)
    return page


def test_page_is_whole_and_alone(report: Report, drawn: Drawings, manifest: Manifest) -> None:
    html = to_html(report, drawn)
    page = read(html)
    assert "://" not in html
    assert "@import" not in html
    assert len(html) < 2_000_000
    one = ("rows-corr", "rows-mae", "training", "video", "gates-uegd", "layers")
    many = [f"{kind}{n}" for kind in ("scatter", "confusion") for n in ("", "-2", "-3", "-4")]
    assert {f"{key}-title" for key in (*one, *many)} < set(page.ids)
    assert html.count('role="img"') == len(one) + len(many)
    assert "random:0" in page.text
    assert "Untrained encoders, random weights: audio tiny-audio" in page.text
    worst = report.analyses.worst[0]
    assert f"said <b>&{worst.id}</b> 好" in page.text  # escaped, so it reads as it was written
    assert "b" not in page.tags
    assert report.best.epoch_seconds == pytest.approx(0.1)
    assert "Cost" in page.text
    assert "123" in page.text  # trainable weights
    most = max(run.seed % 1000 for run in report.runs if run.row == report.best.name)
    assert report.best.memory == most * 10**6
    assert f"{most} MB" in page.text
    for metric in report.metrics.metrics:
        assert metric.key in page.text
        assert minus(metric.show(report.best.test[metric.key].mean)) in page.text
    assert not re.search(r"(fill|stroke): #(?!000000)", html)  # every colour follows the page


def test_every_row_has_its_own_settings(tmp_path: Path) -> None:
    def other(run: Run) -> Run:
        config = {**run.config, "epochs": 9, "uegd": {"width": 7}, "patience": None}
        config["inputs"] = {"text": {"encoder": "tiny-bert", "live": None}}
        return replace(run, config=config, environment={"python": "3.12", "device": "cpu"})

    simulate(tmp_path, ("TA",), (1, 2))
    simulate(tmp_path, ("T",), (1, 2), model="mmml", change=other)
    first, second = (found := evaluate(tmp_path, SETTINGS)).provenance.rows
    assert (first.name, first.recipe["epochs"]) == ("mmml T", "9")
    assert (second.name, second.recipe["epochs"]) == ("uegd TA", "3")
    assert first.recipe["patience"] == "unset"
    assert first.recipe["inputs.text.encoder"] == "tiny-text"  # its name, as the run has it
    assert not {"seeds", "uegd", "uegd.width", "inputs.text.live"} & set(first.recipe)
    assert (first.environment, second.environment) == (
        {"python": "3.12", "device": "cpu"},
        {"python": "3.11"},
    )
    page = read(to_html(found))
    assert {"settings-1", "settings-2"} < set(page.ids)
    assert "Unset: patience" in page.text
    assert found.provenance.commit in page.text
    for model in ("mmml", "uegd"):  # each with its paper, to read and to cite
        paper = paper_of(model)
        assert paper is not None
        assert paper.title in page.text
        assert paper.bibtex(model) in page.text
    assert len(found.provenance.lock) == 16


def test_every_model_is_drawn_in_a_look_of_its_own(tmp_path: Path) -> None:
    for number in range(7):
        simulate(tmp_path, ("TAV", "T"), seeds=(1,), model=f"m{number}", videos=6)
    found = evaluate(tmp_path, EvaluateConfig(bootstrap=0))
    looks = [(look.colour, look.dashes, look.marker) for look in row_styles(found).values()]
    assert len(set(looks)) == len(looks) == 14
    drawing = training_figure(found)
    assert drawing is not None
    assert all(f"m{number} TAV" in drawing.svg for number in range(7))


def test_figures_come_as_files_and_the_page_leads_to_them(tmp_path: Path) -> None:
    simulate(tmp_path, ("T",), (1,))
    one = evaluate(tmp_path, EvaluateConfig(bootstrap=0))
    assert "figures/" not in write_report(tmp_path, one).read_text(encoding="utf-8")
    assert not (tmp_path / "figures").exists()
    html = write_report(tmp_path, one, files=True).read_text(encoding="utf-8")
    links = set(re.findall(r'href="(figures/[^"]+)"', html))
    assert {"figures/scatter.png", "figures/scatter.pdf", "figures/rows-corr.pdf"} < links
    for link in links:
        head = {".png": b"\x89PNG", ".pdf": b"%PDF"}[Path(link).suffix]
        assert (tmp_path / link).read_bytes().startswith(head)


def test_a_figure_that_would_say_nothing_is_left_out_with_the_reason(tmp_path: Path) -> None:
    simulate(tmp_path, ("T",), (1,), videos=3)
    html = to_html(evaluate(tmp_path, EvaluateConfig(bootstrap=0)))
    assert 'id="scatter-title"' not in html
    assert "Label and prediction, uegd T. Left out: 4 test clips" in html


def test_worst_clips_are_shown_with_their_faces(report: Report, drawn: Drawings) -> None:
    worst = report.analyses.worst
    assert not [link for link in read(to_html(report, drawn)).loads if link.startswith("data:")]
    pictures = {worst[0].id: b"\xff\xd8 one", worst[2].id: b"\xff\xd8 three"}
    shown = replace(report, faces=pictures)
    links = [link for link in read(to_html(shown, drawn)).loads if link.startswith("data:")]
    assert [base64.b64decode(link.partition(",")[2]) for link in links] == list(pictures.values())
    assert "faces" not in shown.to_json()


def test_same_runs_give_the_same_page(
    folder: Path, manifest: Manifest, report: Report, drawn: Drawings
) -> None:
    again = evaluate(folder, SETTINGS, manifest)
    written = report.provenance.written
    again = replace(again, provenance=replace(again.provenance, written=written))
    assert to_html(again) == to_html(report, drawn)


@pytest.mark.parametrize("width", [80, 160])
def test_terminal_table_fits(report: Report, width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(to_terminal(report, width))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert f"{report.best.test['Corr'].mean:.3f}" in text
    assert "…" not in text
    assert "tiny-audio" in " ".join(text.split())


def test_heads_keep_the_field_s_keys() -> None:
    for key in ("Has0_acc_2", "Non0_F1_score", "Mult_acc_7", "MAE"):
        assert halved(key).replace("\n", "") == key


def kinds(report: Report, kind: str) -> str:
    return "\n".join(c.text for c in report.cautions if c.kind == kind)


def test_cautions_name_what_is_wrong(tmp_path: Path) -> None:
    def other(run: Run) -> Run:
        splits = {s: dict(c) for s, c in run.coverage.items()}
        splits["test"]["text"] -= 1
        return replace(
            run,
            config={**run.config, "epochs": 9},
            coverage=splits,
            best_epoch=3,
            options={"width": 8 * run.seed},
        )

    simulate(tmp_path, ("TAV",), seeds=(1, 2))
    simulate(tmp_path, ("T",), seeds=(1, 2), change=other)
    found = evaluate(tmp_path, SETTINGS)
    assert found.cautions[0].kind == "untrained"
    text = kinds(found, "warning")
    assert "different train.epochs: 3 (uegd TAV), 9 (uegd T)" in text
    assert "different uegd.width: 8 (uegd TAV seed 1" in text
    assert "text 39 of 40" in text
    notes = kinds(found, "note")
    assert "Fewer than 3 seeds" in notes
    assert "Still improving when training ended: uegd T (2 of 2 seeds)" in notes


def test_wrong_protocol_is_noticed(tmp_path: Path) -> None:
    simulate(tmp_path, ("T",))
    text = kinds(evaluate(tmp_path, EvaluateConfig(protocol="sims", bootstrap=0)), "warning")
    assert "lie outside -1..1" in text
    simulate(tmp_path / "s", ("T",), scale=1 / 3)
    assert 'protocol = "sims"' in kinds(evaluate(tmp_path / "s", SETTINGS), "warning")


def constant(run: Run) -> Run:
    guess = run.predictions
    return replace(run, predictions=replace(guess, values=np.full_like(guess.values, 0.25)))


def diverged(run: Run) -> Run:
    values = run.predictions.values.copy()
    values[-1] = np.nan
    return replace(run, predictions=replace(run.predictions, values=values))


def no_test(run: Run) -> Run:
    splits = tuple("train" if s == "test" else s for s in run.predictions.splits)
    return replace(run, predictions=replace(run.predictions, splits=splits))


def bare(run: Run) -> Run:
    return replace(run, outputs={}, history=(), coverage={})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (constant, "Correlation is undefined for uegd T"),
        (diverged, "Predictions that are not finite: uegd T seed 1"),
        (no_test, "The test split is empty"),
        (bare, ""),
    ],
)
def test_poor_runs_still_give_a_report(tmp_path: Path, change: Change, says: str) -> None:
    simulate(tmp_path, ("T",), seeds=(1,), change=change)
    found = evaluate(tmp_path, SETTINGS)
    assert says in kinds(found, "warning")
    page = read(write_report(tmp_path, found).read_text(encoding="utf-8"))
    assert "nan" not in page.text.split()
    assert to_terminal(found)


def test_sims_report_and_published_numbers(tmp_path: Path) -> None:
    simulate(tmp_path, ("TA",), corpus="ch-sims", scale=1 / 3)
    found = evaluate(tmp_path, EvaluateConfig(protocol="sims", bootstrap=50))
    assert next(iter(found.rows[0].test)) == "Mult_acc_2"
    assert {line.training for line in found.published} == {"fine-tuned"}
    page = read(to_html(found))
    assert "Published results" in page.text


@pytest.mark.parametrize(
    ("corpus", "systems"), [("CMU_MOSI", 10), ("mosei", 10), ("demo", 0), ("ch-sims-v2", 0)]
)
def test_published_numbers_only_beside_their_corpus(
    tmp_path: Path, corpus: str, systems: int
) -> None:
    simulate(tmp_path, ("T",), seeds=(1,), corpus=corpus)
    assert len(evaluate(tmp_path, EvaluateConfig(bootstrap=0)).published) == systems


@pytest.mark.parametrize(
    ("corpus", "training", "key", "value"),
    [
        ("urfunny", "fine-tuned", "Accuracy", 0.7495),
        ("UR-FUNNY", "fine-tuned", "Accuracy", 0.7495),
        ("mustard", "fine-tuned", "Accuracy", 0.8386),
        ("cherma", "frozen", "F1_happy", 0.8173),
    ],
)
def test_published_numbers_of_class_corpora(
    corpus: str, training: str, key: str, value: float
) -> None:
    [line] = published_for(corpus)
    assert (line.system, line.training, line.values[key]) == ("GLoMo", training, value)


def test_many_rows_stay_readable(tmp_path: Path) -> None:
    for number in range(9):
        simulate(tmp_path, ("TAV", "TA", "T"), seeds=(1,), model=f"m{number}")
    found = evaluate(tmp_path, EvaluateConfig(bootstrap=20))
    assert len(found.rows) == 27
    html = to_html(found)
    read(html)
    assert "The best 24 of 27 rows" in html
    assert len(html) < 2_000_000


def test_faults_name_place_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished run here"):
        evaluate(tmp_path, SETTINGS)
    simulate(tmp_path, ("T",), seeds=(1,))
    simulate(tmp_path, ("A",), seeds=(1,), corpus="other")
    with pytest.raises(RunError, match=r"several corpora \(demo, other\)"):
        evaluate(tmp_path, SETTINGS)
    simulate(tmp_path, ("A",), seeds=(1,))
    simulate(tmp_path, ("A",), seeds=(2,), videos=33)
    with pytest.raises(RunError, match="uegd A: its seeds were scored on different test clips"):
        evaluate(tmp_path, SETTINGS)


def test_words_for_layers_and_the_headline(report: Report) -> None:
    record = InputRecord("text", "b", ("0", "1", "2"), True, "f", "hub")
    assert layer_words(record) == "0 to 2, learned weights"
    assert (
        layer_words(replace(record, layers=("9", "final"), weighted=False)) == "9, final, stacked"
    )
    assert layer_words(replace(record, layers=("21",), weighted=False)) == "21"
    text = headline(report)
    assert text.startswith("uegd on text, audio and vision reaches a test correlation of")
    assert "above its best single modality, text" in text
    assert minus("-3 to -0.5, tiny-2 x-1") == "\N{MINUS SIGN}3 to \N{MINUS SIGN}0.5, tiny-2 x-1"


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_tables_sort_and_filter_in_a_browser(
    report: Report, drawn: Drawings, tmp_path: Path
) -> None:
    drive = """<script>
    const table = document.querySelector("table[data-tools]");
    const order = () => [...table.tBodies[0].rows].filter(r => !r.hidden).map(r => r.dataset.words);
    const log = [];
    table.tHead.rows[0].cells[9].querySelector("button").click(); log.push(order());
    table.tHead.rows[0].cells[9].querySelector("button").click(); log.push(order());
    const input = document.querySelector(".tools input");
    input.value = "uegd a"; input.dispatchEvent(new Event("input")); log.push(order());
    const [scatter, confusion] = document.querySelectorAll("select.chooser");
    confusion.value = "uegd V"; confusion.dispatchEvent(new Event("change"));
    log.push([scatter.value, ...[...document.querySelectorAll(".choice:not([hidden]) figcaption")]
      .map(caption => caption.textContent.split(",")[0])]);
    location.hash = table.querySelector("th a").getAttribute("href");
    dispatchEvent(new Event("hashchange"));
    log.push([...document.querySelectorAll("details.row[open] summary")].map(s => s.textContent));
    log.push(document.querySelectorAll(".hint:not([hidden])").length);
    document.title = JSON.stringify(log);
    </script></body>"""
    page = tmp_path / "page.html"
    page.write_text(to_html(report, drawn).replace("</body>", drive), encoding="utf-8")
    done = subprocess.run(
        [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
            "--enable-logging=stderr",
            "--window-size=500,900",
            f"--user-data-dir={tmp_path / 'profile'}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = re.search(r"<title>(.*?)</title>", done.stdout)
    assert found is not None
    up, down, kept, chosen, opened, hints = json.loads(found[1].replace("&quot;", '"'))
    errors = {row.name: row.test["MAE"].mean for row in report.rows}
    assert up == sorted(errors, key=errors.__getitem__)
    assert down == up[::-1]
    assert kept == ["uegd A"]
    assert chosen[0] == "uegd V"
    assert chosen.count("uegd V") == 3  # the other chooser, and both captions
    assert opened == [down[0]]  # its link is the first of the table
    assert hints > 1  # the tables are wider than 500 pixels, and say so
    assert "CONSOLE" not in done.stderr
