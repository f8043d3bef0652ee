"""Intervals over images and over groups, against closed forms, plain loops and their own promise."""

import math
from inspect import unwrap

import numpy as np
import pytest
from scipy import stats

from mitsugo.errors import UsageError
from mitsugo.space import intervals
from mitsugo.space.intervals import accuracy, halved, mean_score, share
from mitsugo.values import Score


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (9, 10), (5, 10), (0, 500), (499, 500)])
def test_wilsons_interval_is_scipys(right, n):
    score = accuracy(np.arange(n) < right)
    expected = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert (score.low, score.high) == pytest.approx((expected.low, expected.high), abs=1e-4)
    assert (score.value, score.n, score.groups) == (right / n, n, None)


def test_without_groups_a_share_is_an_accuracy():
    correct = np.array([True, False, True])
    assert share(correct, None, seed=0) == accuracy(correct)


def test_few_groups_have_students_interval_by_hand():
    """Three groups with means 1, 0 and ½ of two images each: the mean of group means, with t and n = 3."""
    correct, groups = np.array([1, 1, 0, 0, 1, 0], bool), np.array([4, 4, 9, 9, 5, 5])
    score = share(correct, groups, seed=0)
    deviation = np.std([1, 0, 0.5], ddof=1)
    reach = stats.t.ppf(0.975, 2) * deviation / math.sqrt(3)
    assert reach > 0.5
    assert (score.value, score.low, score.high) == (0.5, 0.0, 1.0), "cut off at 0 and 1"
    assert (score.n, score.groups, score.interval) == (6, 3, "t, 95 %, over 3 groups")
    many = np.tile(correct, 5), np.concatenate([groups + 100 * i for i in range(5)])
    score = share(*many, seed=0)
    deviation = np.std(np.tile([1, 0, 0.5], 5), ddof=1)
    reach = stats.t.ppf(0.975, 14) * deviation / math.sqrt(15)
    assert (score.low, score.high) == pytest.approx((0.5 - reach, 0.5 + reach))


def test_large_groups_weigh_by_their_images():
    values, groups = np.array([1.0] * 8 + [0.0] * 2), np.array([0] * 8 + [1] * 2)
    assert mean_score(values, groups, seed=0).value == 0.8


def test_many_groups_are_redrawn_whole():
    chance = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 5)
    values = np.repeat(chance.random(60) < 0.8, 5).astype(float)
    score = mean_score(values, groups, seed=3)
    means = values.reshape(60, 5)[:, 0]
    drawn = [means[np.random.default_rng(i).integers(0, 60, 60)].mean() for i in range(4_000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (score.low, score.high) == pytest.approx((low, high), abs=0.02)
    assert score.interval == "bootstrap, 95 %, over 60 groups, 2000 draws from seed 3"
    alone = accuracy(values.astype(bool))
    assert score.high - score.low > 1.8 * (alone.high - alone.low), "five photos are not five witnesses"
    assert mean_score(values, groups, seed=3) == score
    assert mean_score(values, groups, seed=4) != score


@pytest.mark.parametrize("count", [12, 60])
def test_the_interval_covers_the_truth_as_often_as_it_says(count):
    """300 draws of parts whose photos succeed together: 95 % of the intervals hold the true share."""
    chance, held = np.random.default_rng(1), 0
    groups = np.repeat(np.arange(count), 3)
    for seed in range(300):
        chances = chance.beta(4, 2, count)
        values = (chance.random(3 * count) < np.repeat(chances, 3)).astype(float)
        score = mean_score(values, groups, seed=seed)
        held += score.low <= 4 / 6 <= score.high
    assert held / 300 >= 0.91


def test_of_very_many_units_the_interval_is_students():
    values = (np.arange(20_000) % 4 > 0).astype(float)
    score = mean_score(values, None, seed=0)
    assert score.interval == "t, 95 %, over images"
    reach = 1.96 * math.sqrt(0.75 * 0.25 / 20_000)
    assert (score.low, score.high) == pytest.approx((0.75 - reach, 0.75 + reach), abs=1e-4)


def test_strata_count_alike():
    """Class 0 is right 3 of 4 times, class 1 once of once: the mean is 7/8, whatever the sizes."""
    values, strata = np.array([1.0, 1.0, 1.0, 0.0, 1.0]), np.array([0, 0, 0, 0, 1])
    assert mean_score(values, None, seed=0, strata=strata).value == pytest.approx(0.875)
    many = np.tile(values, 20), np.tile(strata, 20)
    score = mean_score(many[0], None, seed=0, strata=many[1])
    assert score.value == pytest.approx(0.875)
    assert score.interval.startswith("bootstrap")
    assert score.low < 0.875 < score.high


def test_one_group_says_nothing_and_equal_groups_are_counted():
    one = mean_score(np.array([1.0, 0.0]), np.array([3, 3]), seed=0)
    assert (one.low, one.value, one.high, one.groups) == (0.0, 0.5, 1.0, 1)
    equal = mean_score(np.ones(10), np.repeat(np.arange(5), 2), seed=0)
    assert equal.low == pytest.approx(accuracy(np.ones(5, bool)).low)
    assert equal.interval == "Wilson, 95 %, over 5 groups, as none differs from another"


def test_halves_estimate_the_standard_error_of_a_mean():
    values = np.random.default_rng(0).normal(0.5, 0.1, 400).clip(0, 1)
    plain = Score(value=float(values.mean()), low=0.0, high=1.0, n=400, interval="none")
    reaches = []
    for seed in range(0, 400, 8):
        score = halved(plain, lambda some, _: float(values[some].mean()), limits=(0.0, 1.0), seed=seed)
        reaches.append((score.high - score.low) / 2 / stats.t.ppf(0.975, 7))
    expected = values.std(ddof=1) / math.sqrt(400)
    assert math.sqrt(np.mean(np.square(reaches))) == pytest.approx(expected, rel=0.15)


def test_halves_are_of_groups_where_there_are_groups():
    groups = np.repeat(np.arange(6), 4)
    plain = Score(value=0.5, low=0.0, high=1.0, n=24, interval="none")
    seen = []
    score = halved(
        plain,
        lambda some, _: seen.append(np.bincount(groups[some])) or 0.5,
        groups,
        limits=(0.0, 1.0),
        seed=0,
    )
    assert len(seen) == 8
    assert all(set(counts.tolist()) <= {0, 4} and counts.sum() == 12 for counts in seen)
    assert (score.low, score.high, score.groups) == (0.5, 0.5, 6)
    assert "each of a random half of the 6 groups" in score.interval


def test_what_cannot_be_scored_is_refused():
    plain = Score(value=0.5, low=0.0, high=1.0, n=3, interval="none")
    with pytest.raises(UsageError, match="an accuracy of 0 images"):
        accuracy(np.empty(0, bool))
    with pytest.raises(UsageError, match="a score of 0 images"):
        mean_score(np.empty(0), None, seed=0)
    with pytest.raises(UsageError, match=r"values run from 0\.0 to 1\.5; expected 0 to 1"):
        mean_score(np.array([0.0, 1.5]), None, seed=0)
    with pytest.raises(UsageError, match="values run from nan"):
        mean_score(np.array([np.nan]), None, seed=0)
    with pytest.raises(UsageError, match="1 groups for 2 images"):
        unwrap(intervals._check)(np.ones(2), np.zeros(1, int), None)
    with pytest.raises(UsageError, match="3 strata for 2 images"):
        unwrap(intervals._check)(np.ones(2), None, np.zeros(3, int))
    with pytest.raises(UsageError, match="random halves of 3 images or groups; expected 4 or more"):
        halved(plain, lambda _some, _seed: 0.0, limits=(0.0, 1.0), seed=0)
