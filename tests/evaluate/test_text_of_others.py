"""Class names, clip ids and transcripts are text in every figure, page and table (H12)."""

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_runs import simulate

from sedimental.cache.manifest import Manifest
from sedimental.cache.runs import Predictions, Run
from sedimental.config import EvaluateConfig
from sedimental.escape import for_csv, for_latex, for_markdown, for_terminal
from sedimental.evaluate.figures.canvas import Canvas
from sedimental.evaluate.output.html import to_html
from sedimental.evaluate.output.tables import to_csv, to_latex, to_markdown
from sedimental.evaluate.report import report_folder
from sedimental.evaluate.results import Report

CLASSES = ("$\\foo$", "<script>alert(1)</script>", "=1+1|x", 'a\x1b[31m & "b" #1_%', "\u202e高兴")


def of_classes(run: Run) -> Run:
    """The run with five classes of nasty names, each clip's by its number."""
    found, count = run.predictions, len(CLASSES)
    labels = np.arange(len(found.ids)) % count
    values = np.where(np.arange(len(labels)) % 3, labels, (labels + 1) % count)
    shares = np.full((len(labels), count), 0.1)
    shares[np.arange(len(labels)), values] = 0.6
    made = Predictions(found.ids, found.splits, labels * 1.0, values * 1.0, CLASSES, shares)  # type: ignore[arg-type]
    scores = {split: {"Accuracy": 0.5, "Weighted_F1": 0.5} for split in ("train", "valid", "test")}
    history = tuple(replace(e, valid={"Accuracy": 0.5}) for e in run.history)
    return replace(run, predictions=made, metrics=scores, history=history)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    root = tmp_path_factory.mktemp("runs")
    manifest = simulate(root, ("TA", "T"), (1, 2), change=of_classes)
    clips = tuple(replace(c, text=f"{c.text} \x1b[2J{CLASSES[1]}") for c in manifest.clips)
    settings = EvaluateConfig(bootstrap=10)
    return report_folder(root, settings, Manifest(manifest.corpus, root, clips))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.text = 0, ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.scripts += tag == "script"

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_every_name_as_it_is(report: Report) -> None:
    page = to_html(report)
    tags = Tags()
    tags.feed(page)
    assert tags.scripts == 1  # our own, which sorts the tables
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page)
    for name in CLASSES:
        assert for_terminal(name) in tags.text
    assert "alert(1)</script> \\x1b[2J" not in page


def test_tables_keep_their_shape(report: Report) -> None:
    rows = list(csv.reader(io.StringIO(to_csv(report))))
    assert len({len(row) for row in rows}) == 1
    lines = [x for x in to_markdown(report).splitlines() if x.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    table = [x for x in to_latex(report).splitlines() if x.endswith(r"\\")]
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in table}) == 1
    assert r"\textless{}script\textgreater{}" in to_latex(report)


@given(st.text(max_size=40) | st.sampled_from(CLASSES))
def test_what_is_made_for_a_place_means_nothing_there(text: str) -> None:
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2028]", for_terminal(text))
    assert not re.search(r"(?<!\\)(\\\\)*[|<>`*$\[\]]", for_markdown(text))
    latex = for_latex(text)
    for command in (r"\\text\w+\{\}", r"\$\\\w+\$", r"\\[&%$#_{}]"):
        latex = re.sub(command, "", latex)
    assert not re.search(r"[\\&%$#_{}~^]", latex)
    cell = for_csv(text)
    assert cell.lstrip("'") == text.lstrip("'")
    if cell[:1] in ("=", "@", "+", "-", "\t", "\r", "\n"):
        float(cell)  # no formula: a number


@settings(max_examples=25)
@given(st.text(max_size=20) | st.sampled_from(CLASSES))
def test_a_figure_is_whole_whatever_its_labels_say(text: str) -> None:
    """H12: between dollar signs matplotlib reads mathematics, and XML knows no control characters.

    The names a drawing is styled by are no words of its labels either.
    """
    name = f'{text} id="x" #1b1f24'
    with Canvas("key", 100) as canvas:
        canvas.panels[0].set_title(name)
    tree = ElementTree.fromstring(canvas.svg)
    drawn = ["".join(one.itertext()) for one in tree.iter() if one.tag.endswith("text")]
    shown = " ".join(for_terminal(name, keep="\t").split())
    assert any(" ".join(one.split()).endswith(shown) for one in drawn) or "\n" in text


def test_a_clean_name_is_not_touched(tmp_path: Path) -> None:
    for name in ("uegd", "mag_bert", "Trung Quốc", "happy, or not", "-0.5", "4:3"):
        assert for_terminal(name) == for_markdown(name) == for_csv(name) == name
