"""A protocol for any range of labels, and what reports say of labels that fill no scale."""

import re
from pathlib import Path

import numpy as np
import pytest
from simulated_runs import simulate

from sedimental.config import EvaluateConfig
from sedimental.evaluate.compare import compare
from sedimental.evaluate.metrics import score
from sedimental.evaluate.output.write import write_report
from sedimental.evaluate.protocols import protocol_of
from sedimental.evaluate.report import report_folder
from sedimental.evaluate.resampling import resampled_scores

STARS = [1, 2, 3, 4, 5, 3]
SAID = [1.7, 1.7, 3.5, 4.1, 4.9, 2.2]


def test_scores_of_a_range_worked_out_by_hand() -> None:
    found = score(STARS, SAID, "1..5")
    assert list(found) == ["Mult_acc_2", "F1_score", "Mult_acc_5", "MAE", "Corr"]
    assert found["Mult_acc_2"] == 5 / 6  # 3 is up to the middle, 3.5 is above it
    assert found["Mult_acc_5"] == 3 / 6  # fifths end at 1.8, 2.6, 3.4 and 4.2
    assert found["MAE"] == pytest.approx((0.7 + 0.3 + 0.5 + 0.1 + 0.1 + 0.8) / 6)
    given = score(STARS, SAID, "1..5 at 2.5, 3.5")
    assert given["Mult_acc_3"] == 5 / 6
    assert all(np.isnan(value) for value in score([], [], "0..1").values())


@pytest.mark.parametrize("name", ["1..5", "0..1 at 0.4, 0.6", "0..10 at 5", "-0.08..0.86"])
def test_the_table_knows_every_metric_and_class_of_a_range(name: str) -> None:
    protocol = protocol_of(EvaluateConfig(protocol=name).protocol)
    values = np.linspace(protocol.low, protocol.high, 40)
    assert [m.key for m in protocol.metrics] == list(score(values, values, name))
    assert set(protocol.classes(values)) == set(range(len(protocol.bins)))
    words = [protocol.polarity(value) for value in values]
    assert (words[0], words[-1]) == ("negative", "positive")
    assert ("neutral" in words) == (len(protocol.bins) % 2 == 1)


def test_resamples_of_a_range_score_as_repeated_clips() -> None:
    labels, answers = np.array(STARS, dtype=float), np.array(SAID)
    draws = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 1, 1, 1, 1]])
    found = resampled_scores(labels, answers, "1..5", np.arange(6), draws)
    again = np.repeat(np.arange(6), draws[1])
    for key, value in score(labels[again], answers[again], "1..5").items():
        assert found[key][1] == pytest.approx(value)


@pytest.mark.parametrize("wrong", ["5..1", "1..5 at 9", "1..5 at 4, 2", "1-5", "stars"])
def test_what_is_no_range_is_a_fault(wrong: str) -> None:
    with pytest.raises(ValueError, match="protocol"):
        EvaluateConfig(protocol=wrong)


def test_a_report_and_a_comparison_by_a_range(tmp_path: Path) -> None:
    manifest = simulate(tmp_path, ("TA", "T"), scale=2 / 3, shift=3.0)
    settings = EvaluateConfig(protocol="1..5", bootstrap=50)
    report = report_folder(tmp_path, settings, manifest)
    assert not [c.text for c in report.cautions if "scale" in c.text or "labels lie" in c.text]
    assert len(report.metrics.bins) == 5
    page = write_report(tmp_path, report).read_text(encoding="utf-8")
    assert "labels from 1 to 5" in page
    found = compare("uegd TA", "uegd T", tmp_path, settings)
    assert found.question == "Mult_acc_2"


@pytest.mark.parametrize(
    ("protocol", "shift", "scale", "said"),
    [
        ("mosi", 3.0, 2 / 3, 'lie outside -3..3, the scale of protocol "mosi".*"1[.]2'),
        ("mosi", 0.39, 0.157, "within -1..1 although.*for others their range"),
        ("sims", 0.39, 0.157, 'little of -1[.][.]1.*such as protocol = "'),
        ("mosi", 0.0, 1.0, None),
    ],
)
def test_labels_that_fit_no_scale_are_a_caution(
    tmp_path: Path, protocol: str, shift: float, scale: float, said: str | None
) -> None:
    manifest = simulate(tmp_path, ("T",), scale=scale, shift=shift)
    report = report_folder(tmp_path, EvaluateConfig(protocol=protocol, bootstrap=0), manifest)
    found = [c.text for c in report.cautions if "protocol" in c.text]
    if said is None:
        assert not found
    else:
        assert any(re.search(said, text) for text in found), found
