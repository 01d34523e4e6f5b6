"""Area under a metric's curve over missing rates (AUILC)."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedimental.evaluate.auilc import RATES, auilc, auilc_of_scores

values = st.floats(-10, 10, allow_nan=False)


def literal(rates: list[float], found: list[float]) -> float:
    """EMT-DLFR, Eq. 17, term by term."""
    total = 0.0
    for i in range(len(rates) - 1):
        total += 0.5 * (found[i] + found[i + 1]) * (rates[i + 1] - rates[i])
    return total


@given(st.lists(values, min_size=11, max_size=11), st.permutations(range(11)))
def test_equation_17(found: list[float], order: list[int]) -> None:
    rates = list(RATES["mosi"])
    assert auilc(rates, found) == pytest.approx(literal(rates, found), abs=1e-12)
    mixed = auilc(np.array(rates)[order], np.array(found)[order])
    assert mixed == pytest.approx(auilc(rates, found), abs=1e-12)


def test_rates_are_the_papers_and_0() -> None:
    """Acc-2 of CH-SIMS, 0.384 in the paper, needs five intervals: four of 80 % reach 0.32 only."""
    assert RATES["mosi"] == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    assert RATES["sims"] == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    assert auilc(RATES["sims"], [0.8] * 6) == pytest.approx(0.4)
    assert auilc(RATES["sims"][1:], [0.8] * 5) == pytest.approx(0.32)


@given(values)
def test_of_a_constant_it_is_the_constant_times_the_range(value: float) -> None:
    assert auilc(RATES["mosi"], [value] * 11) == pytest.approx(value, abs=1e-12)


def test_nan_stays_nan() -> None:
    assert math.isnan(auilc([0.0, 0.5, 1.0], [1.0, math.nan, 1.0]))


@pytest.mark.parametrize(
    ("rates", "found", "said"),
    [
        ([0.0], [1.0], "two at least"),
        ([0.0, 1.0], [1.0], "one value a rate"),
        ([[0.0, 1.0]], [[1.0, 1.0]], "one value a rate"),
        ([0.0, 0.5, 0.5], [1.0, 1.0, 1.0], "twice"),
        ([0.0, math.nan], [1.0, 1.0], "not a number"),
    ],
)
def test_what_has_no_area(rates: list[float], found: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        auilc(rates, found)


def test_every_metric_has_its_area() -> None:
    scores = {0.0: {"MAE": 1.0, "Corr": 0.8}, 1.0: {"MAE": 1.4, "Corr": 0.0}}
    assert auilc_of_scores(scores) == pytest.approx({"MAE": 1.2, "Corr": 0.4})
    with pytest.raises(ValueError, match=r"missing rate 1\.0: .* in Corr"):
        auilc_of_scores({0.0: {"MAE": 1.0, "Corr": 0.8}, 1.0: {"MAE": 1.4}})
    with pytest.raises(ValueError, match=r"missing rate 1\.0"):
        auilc_of_scores({0.0: {"MAE": 1.0}, 1.0: {}})
    assert auilc_of_scores({}) == {}
