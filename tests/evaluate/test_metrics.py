"""Metrics against a slow literal implementation, scikit-learn, and what must always hold."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score

from sedimental.evaluate.metrics import correlation, score, score_classes
from sedimental.evaluate.protocols import PROTOCOLS, explain

MOSI_KEYS = "Has0_acc_2 Has0_F1_score Non0_acc_2 Non0_F1_score Mult_acc_5 Mult_acc_7 MAE Corr"
SIMS_KEYS = "Mult_acc_2 Mult_acc_3 Mult_acc_5 F1_score MAE Corr"
VECTORS = int(os.environ.get("SEDIMENTAL_VECTORS", "2000"))
"""Pairs of vectors a protocol; 50000 before a release."""
EDGES = {
    "mosi": [0, -0.0, 0.5, -0.5, 1, -1, 1.5, -1.5, 2, 2.5, -2.5, 3, -3, 3.5, -4, 1e-9, -1e-9],
    "sims": [0, -0.0, 0.1, -0.1, 0.7, -0.7, 0.2, -0.2, 1, -1, 1.4, -1.3, 0.6, 1e-9, -1e-9],
}


Pairs = Sequence[tuple[float, float]]


def literal(labels: list[float], guesses: list[float], protocol: str) -> dict[str, float]:
    """The definitions of the field, one clip after the other."""
    nan = float("nan")

    def share(pairs: Pairs) -> float:
        return sum(a == b for a, b in pairs) / len(pairs) if pairs else nan

    def weighted_f1(pairs: Pairs) -> float:
        total = 0.0
        for name in {a for a, _ in pairs}:
            tp = sum(a == name and b == name for a, b in pairs)
            fp = sum(a != name and b == name for a, b in pairs)
            fn = sum(a == name and b != name for a, b in pairs)
            precision = tp / (tp + fp) if tp + fp else 0.0
            recall = tp / (tp + fn)
            f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
            total += f1 * (tp + fn) / len(pairs)
        return total if pairs else nan

    def clip(v: float, limit: float) -> float:
        return min(max(v, -limit), limit)

    if protocol == "sims":
        labels, guesses = [clip(v, 1) for v in labels], [clip(v, 1) for v in guesses]
    pairs = list(zip(labels, guesses, strict=True))
    n = len(pairs)
    mae = sum(abs(a - b) for a, b in pairs) / n if n else nan
    corr = nan
    if len(set(labels)) > 1 and len(set(guesses)) > 1:
        ma, mb = math.fsum(labels) / n, math.fsum(guesses) / n
        cov = math.fsum((a - ma) * (b - mb) for a, b in pairs)
        va, vb = (math.fsum((v - m) ** 2 for v in vs) for vs, m in ((labels, ma), (guesses, mb)))
        corr = cov / math.sqrt(va) / math.sqrt(vb)
    if protocol == "mosi":
        has0 = [(a >= 0, b >= 0) for a, b in pairs]
        non0 = [(a > 0, b > 0) for a, b in pairs if a != 0]
        five = [(round(clip(a, 2)), round(clip(b, 2))) for a, b in pairs]
        seven = [(round(clip(a, 3)), round(clip(b, 3))) for a, b in pairs]
        values = [
            share(has0),
            weighted_f1(has0),
            share(non0),
            weighted_f1(non0),
            share(five),
            share(seven),
            mae,
            corr,
        ]
        return dict(zip(MOSI_KEYS.split(), values, strict=True))

    def bins(edges: list[float]) -> list[tuple[int, int]]:
        def one(v: float) -> int:
            for number, edge in enumerate(edges):
                if v <= edge:
                    return number
            return len(edges)

        return [(one(a), one(b)) for a, b in pairs]

    two, three, five = bins([0]), bins([-0.1, 0.1]), bins([-0.7, -0.1, 0.1, 0.7])
    values = [share(two), share(three), share(five), weighted_f1(two), mae, corr]
    return dict(zip(SIMS_KEYS.split(), values, strict=True))


def vectors(
    protocol: str, count: int, seed: int = 7
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    rng = np.random.default_rng(seed)
    edges, scale = np.array(EDGES[protocol]), PROTOCOLS[protocol].high
    for _ in range(count):
        size = int(rng.integers(1, 24))
        pair = []
        for _ in range(2):
            smooth = rng.normal(0, scale / 2, size)
            pair.append(np.where(rng.random(size) < 0.6, rng.choice(edges, size), smooth))
        yield pair[0], pair[1]


@pytest.mark.parametrize(("protocol", "keys"), [("mosi", MOSI_KEYS), ("sims", SIMS_KEYS)])
def test_agrees_with_the_literal_definitions(protocol: str, keys: str) -> None:
    for labels, guesses in vectors(protocol, VECTORS):
        found = score(labels, guesses, protocol)
        assert list(found) == keys.split()
        assert found == pytest.approx(
            literal(labels.tolist(), guesses.tolist(), protocol), abs=1e-9, nan_ok=True
        )


def test_agrees_with_scikit_learn() -> None:
    for labels, guesses in vectors("mosi", 150, seed=8):
        found = score(labels, guesses, "mosi")
        kept = labels != 0
        assert found["Has0_F1_score"] == pytest.approx(
            f1_score(labels >= 0, guesses >= 0, average="weighted", zero_division=0)
        )
        assert found["Has0_acc_2"] == pytest.approx(accuracy_score(labels >= 0, guesses >= 0))
        if kept.any():
            assert found["Non0_F1_score"] == pytest.approx(
                f1_score(labels[kept] > 0, guesses[kept] > 0, average="weighted", zero_division=0)
            )


def test_classes_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(9)
    names = ["anger", "joy", "fear"]
    for _ in range(60):
        labels, guesses = rng.integers(0, 3, (2, 40))
        found = score_classes(labels, guesses, names)
        each = f1_score(labels, guesses, average=None, labels=[0, 1, 2], zero_division=0)
        assert found["Accuracy"] == pytest.approx(accuracy_score(labels, guesses))
        assert found["Weighted_F1"] == pytest.approx(f1_score(labels, guesses, average="weighted"))
        assert [found[f"F1_{n}"] for n in names] == pytest.approx(each)


def test_class_without_clips_has_no_f1() -> None:
    found = score_classes([0, 0], [0, 1], ["a", "b", "c"])
    assert found["F1_b"] == 0
    assert math.isnan(found["F1_c"])
    with pytest.raises(ValueError, match=r"0\.\.1"):
        score_classes([0, 2], [0, 1], ["a", "b"])


values = st.lists(
    st.tuples(st.floats(-4, 4), st.floats(-4, 4)) | st.sampled_from([(0.5, 1.5), (2.5, 2.0)]),
    min_size=1,
    max_size=30,
)


@given(values)
def test_five_classes_are_never_harder_than_seven(pairs: list[tuple[float, float]]) -> None:
    found = score(np.array(pairs)[:, 0], np.array(pairs)[:, 1], "mosi")
    assert found["Mult_acc_5"] >= found["Mult_acc_7"]


@given(values, st.floats(-3, 3))
def test_neutral_clips_change_nothing_in_non0(
    pairs: list[tuple[float, float]], guess: float
) -> None:
    labels, guesses = np.array(pairs).T
    more = score(np.append(labels, 0.0), np.append(guesses, guess), "mosi")
    less = score(labels, guesses, "mosi")
    for key in ("Non0_acc_2", "Non0_F1_score"):
        assert more[key] == pytest.approx(less[key], nan_ok=True)


@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(-50, 50))
def test_correlation_ignores_scale_and_shift(seed: int, scale: float, shift: float) -> None:
    x, y = np.random.default_rng(seed).normal(size=(2, 12))
    assert correlation(x, scale * y + shift) == pytest.approx(correlation(x, y), abs=1e-9)
    assert correlation(x, -scale * y + shift) == pytest.approx(-correlation(x, y), abs=1e-9)


def test_sims_clips_before_everything() -> None:
    found = score([1.0, -1.0, 0.0], [5.0, -7.0, 0.0], "sims")
    assert found["MAE"] == 0
    assert found["Corr"] == pytest.approx(1)


def test_zero_counts_where_the_field_counts_it() -> None:
    mosi = score([0.0, 1.0], [0.0, 0.0], "mosi")
    assert mosi["Has0_acc_2"] == 1  # zero is not negative
    assert mosi["Non0_acc_2"] == 0  # and a predicted zero not positive
    assert score([0.2], [0.0], "sims")["Mult_acc_2"] == 0  # on CH-SIMS zero is negative


@pytest.mark.parametrize("protocol", ["mosi", "sims"])
def test_degenerate_cases_are_defined(protocol: str) -> None:
    constant = score([1.0, -1.0, 0.3], [0.1, 0.1, 0.1], protocol)
    assert math.isnan(constant["Corr"])
    assert all(math.isfinite(v) for k, v in constant.items() if k != "Corr")
    for nothing in (score([], [], protocol), score([1.0, 0.0], [math.nan, 0.0], protocol)):
        assert all(math.isnan(v) for v in nothing.values())
    assert math.isnan(score([0.0], [1.0], "mosi")["Non0_acc_2"])
    with pytest.raises(ValueError, match="one a clip"):
        score([1.0], [1.0, 2.0], protocol)
    with pytest.raises(ValueError, match="Known: mosi, sims"):
        score([1.0], [1.0], "mosei")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_metric_is_explained_in_order(protocol: str) -> None:
    keys = list(score([0.0], [0.0], protocol))
    assert [m.key for m in PROTOCOLS[protocol].metrics] == keys
    assert all(key in explain(protocol) for key in keys)


def test_bins_of_the_confusion_matrix() -> None:
    mosi, sims = PROTOCOLS["mosi"], PROTOCOLS["sims"]
    assert [mosi.bins[i] for i in mosi.classes(np.array([-9, -2.5, 0.5, 1.5, 3]))] == [
        "-3",
        "-2",
        "0",
        "2",
        "3",
    ]
    assert [sims.bins[i] for i in sims.classes(np.array([-2, -0.7, -0.1, 0.1, 0.7, 0.8]))] == [
        "<= -0.7",
        "<= -0.7",
        "<= -0.1",
        "<= 0.1",
        "<= 0.7",
        "> 0.7",
    ]


def test_metrics_load_without_torch_or_matplotlib() -> None:
    code = (
        "import sys, sedimental.evaluate.metrics, sedimental.evaluate.report; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib', 'jinja2')))"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
