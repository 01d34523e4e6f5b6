"""Resampling, intervals and tests against literal and closed forms."""

import math

import numpy as np
import pytest

from sedimental.evaluate.metrics import score
from sedimental.evaluate.resampling import draw_groups, resampled_scores
from sedimental.evaluate.statistics import (
    FEWEST_GROUPS,
    Spread,
    interval,
    mcnemar,
    paired_bootstrap,
    seed_means,
    spreads,
    video_groups,
)


def clips(count: int, seed: int = 0, noise: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.round(rng.normal(0, 1.3, count) * 3) / 3
    return labels, labels * 0.8 + rng.normal(0, noise, count)


@pytest.mark.parametrize("protocol", ["mosi", "sims"])
def test_a_resample_is_the_score_of_repeated_clips(protocol: str) -> None:
    labels, guesses = clips(60)
    if protocol == "sims":
        labels, guesses = labels / 3, guesses / 3
    groups = np.arange(60) % 9
    draws = draw_groups(9, 40, seed=3)
    assert draws.sum(axis=1).tolist() == [9] * 40
    found = resampled_scores(labels, guesses, protocol, groups, draws)
    for number, counts in enumerate(draws):
        kept = np.repeat(np.arange(60), counts[groups])
        expected = score(labels[kept], guesses[kept], protocol)
        assert {k: v[number] for k, v in found.items()} == pytest.approx(
            expected, abs=1e-9, nan_ok=True
        )


def test_undefined_resamples_stay_undefined() -> None:
    labels, groups = np.array([0.0, 0.0, 1.0]), np.array([0, 1, 2])
    draws = np.array([[2, 1, 0], [0, 0, 3]])
    found = resampled_scores(labels, np.array([0.1, 0.2, 0.9]), "mosi", groups, draws)
    assert math.isnan(found["Non0_acc_2"][0])
    assert found["Non0_acc_2"][1] == 1
    assert np.isnan(found["Corr"]).all()
    broken = resampled_scores(labels, np.array([np.nan, 0, 0]), "mosi", groups, draws)
    assert all(np.isnan(v).all() for v in broken.values())


def test_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    rng = np.random.default_rng(1)
    guesses = rng.normal(0, 1, 400)
    labels = np.zeros(400)
    found = spreads(labels, [guesses], "mosi", seed_means(labels, [guesses], "mosi", None, 4000))
    error = np.abs(guesses)
    half = 1.96 * error.std() / math.sqrt(400)
    assert found["MAE"].low == pytest.approx(error.mean() - half, abs=0.01)
    assert found["MAE"].high == pytest.approx(error.mean() + half, abs=0.01)


def test_videos_that_agree_within_widen_the_interval() -> None:
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(20), 10)
    guesses = rng.normal(0, 1, 20)[groups]  # clips of one video are copies of each other
    labels = np.zeros(200)
    wide, narrow = (
        interval(seed_means(labels, [guesses], "mosi", g, 2000)["MAE"]) for g in (groups, None)
    )
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_too_few_videos_are_drawn_as_clips() -> None:
    labels, guesses = clips(50)
    groups = np.arange(50) % (FEWEST_GROUPS - 1)
    by_video = seed_means(labels, [guesses], "mosi", groups, 50)
    by_clip = seed_means(labels, [guesses], "mosi", None, 50)
    assert all(np.array_equal(by_video[k], by_clip[k], equal_nan=True) for k in by_clip)


def test_spread_is_mean_and_population_deviation() -> None:
    labels, first = clips(80)
    second = clips(80, noise=1.0)[1]
    found = spreads(labels, [first, second], "mosi")
    each = [score(labels, p, "mosi")["MAE"] for p in (first, second)]
    assert found["MAE"].values == tuple(each)
    assert found["MAE"].mean == pytest.approx(sum(each) / 2)
    assert found["MAE"].std == pytest.approx(abs(each[0] - each[1]) / 2)
    assert found["MAE"].low is None
    assert math.isnan(Spread((0.5, math.nan)).mean)


def test_interval_leaves_out_undefined_draws_but_not_most_of_them() -> None:
    draws = np.append(np.linspace(0, 1, 1001), [np.nan] * 10)
    assert interval(draws) == pytest.approx((0.025, 0.975))
    assert np.isnan(interval(np.array([1.0, np.nan, np.nan]))).all()


def test_paired_bootstrap_sees_a_difference_that_is_there_and_only_that() -> None:
    labels, good = clips(200, noise=0.4)
    bad = clips(200, noise=1.5)[1]
    groups = np.arange(200) // 10
    found = paired_bootstrap(labels, [good], [bad], "mosi", groups, 500)
    assert found["Corr"].low > 0
    assert found["Corr"].p == pytest.approx(2 / 501)
    assert found["MAE"].value == pytest.approx(
        score(labels, good, "mosi")["MAE"] - score(labels, bad, "mosi")["MAE"]
    )
    same = paired_bootstrap(labels, [good], [good], "mosi", groups, 200)
    assert all(d.value == d.low == d.high == 0 and d.p == 1 for d in same.values())
    turned = paired_bootstrap(labels, [bad], [good], "mosi", groups, 500)
    assert turned["Corr"].high == pytest.approx(-found["Corr"].low)


def test_paired_bootstrap_on_nothing_is_undefined() -> None:
    nothing = np.empty(0)
    found = paired_bootstrap(nothing, [nothing], [nothing], "mosi", None, 10)
    assert all(math.isnan(d.value) and math.isnan(d.p) for d in found.values())


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 0), (9, 2), (3, 3), (40, 61), (1500, 1300)])
def test_mcnemar_is_the_exact_binomial_test(b: int, c: int) -> None:
    first = np.array([True] * b + [False] * c + [True, False])
    second = np.array([False] * b + [True] * c + [True, False])
    found = mcnemar(first, second)
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1))
    assert (found.only_first, found.only_second) == (b, c)
    assert found.p == pytest.approx(min(1.0, 2 * tail / 2 ** (b + c)))


def test_mcnemar_by_hand() -> None:
    hits = np.array([True] * 5)
    assert mcnemar(hits, ~hits).p == pytest.approx(2 / 32)


def test_video_of_a_clip_is_looked_up_or_read_from_its_id() -> None:
    assert video_groups(["a$_$1", "b$_$1", "a$_$2"]).tolist() == [0, 1, 0]
    assert video_groups(["a$_$1", "b$_$1"], {"a$_$1": "x", "b$_$1": "x"}).tolist() == [0, 0]
