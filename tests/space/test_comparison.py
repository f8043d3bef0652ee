import math
from inspect import unwrap

import numpy as np
import pytest
from scipy import stats

from mitsugo.errors import DataError, UsageError
from mitsugo.space.comparison import PairedDifference, compare_pair, holm, verdict


def predictions(seed, seeds, images, level, seed_noise=0.0):
    """Right or wrong: images of unlike difficulty, and seeds that are better or worse as a whole."""
    random = np.random.default_rng(seed)
    difficulty = random.normal(size=images)
    return [
        level[side]
        + difficulty
        + seed_noise * random.normal(size=(seeds, 1))
        + random.normal(size=(seeds, images))
        > 0
        for side in (0, 1)
    ]


def bootstrap_by_loops(gains, seed, resamples):
    random = np.random.default_rng(seed)
    return [gains[random.integers(len(gains), size=len(gains))].mean() for _ in range(resamples)]


def test_the_difference_is_of_mean_accuracies():
    a, b = np.array([[1, 1, 0, 1], [1, 0, 0, 1]]), np.array([[1, 0, 0, 0], [0, 0, 0, 1]])
    result = compare_pair(a, b, seed=0)
    assert result.difference == pytest.approx(5 / 8 - 2 / 8)
    assert (result.images, result.seeds) == (4, 2)
    assert result.low <= result.difference <= result.high


def test_the_bootstrap_is_over_images():
    """Two sides that no seed changes: 900 and 800 of 1,000 right, and 260 images on which they differ."""
    a, b = np.ones(1000, dtype=bool), np.ones(1000, dtype=bool)
    a[:100], b[80:280] = False, False
    result = compare_pair(np.tile(a, (3, 1)), np.tile(b, (3, 1)), seed=0)
    loops = bootstrap_by_loops(a.astype(float) - b, 1, 4_000)
    assert result.difference == pytest.approx(0.1)
    assert [result.low, result.high] == pytest.approx(np.quantile(loops, [0.025, 0.975]), abs=0.002)
    assert result.p == pytest.approx(2 / 10_001)
    assert result.method == "bootstrap over images"
    assert result == compare_pair(np.tile(a, (3, 1)), np.tile(b, (3, 1)), seed=0)


def test_students_t_over_seeds_decides_where_it_is_wider():
    gains = [50, -20, 30]  # of 1000 images, so the differences are 0.05, -0.02 and 0.03
    a, b = np.zeros((3, 1000), dtype=np.int64), np.zeros((3, 1000), dtype=np.int64)
    for row, gain in enumerate(gains):
        (a if gain > 0 else b)[row, : abs(gain)] = 1
    result = compare_pair(a, b, seed=0)
    differences = [0.05, -0.02, 0.03]
    low, high = stats.t.interval(0.95, 2, np.mean(differences), stats.sem(differences))
    assert (result.low, result.high) == (pytest.approx(low), pytest.approx(high))
    assert result.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert result.method == "t over seeds, wider than bootstrap over images; the larger p of both"


def test_the_bootstrap_decides_where_it_is_wider():
    rng = np.random.default_rng(0)
    a = np.stack([rng.permutation(np.arange(100) < 60) for _ in range(4)])
    b = np.stack([rng.permutation(np.arange(100) < 50) for _ in range(4)])
    result = compare_pair(a, b, seed=0)  # every seed differs by 0.1: the t interval is one image narrow
    assert result.method == "bootstrap over images, wider than t over seeds; the larger p of both"
    loops = bootstrap_by_loops((a.astype(float) - b).mean(axis=0), 1, 4_000)
    assert [result.low, result.high] == pytest.approx(np.quantile(loops, [0.025, 0.975]), abs=0.01)


def test_equal_differences_of_a_few_seeds_are_taken_as_one_image_apart():
    a, b = np.zeros((2, 50), dtype=bool), np.zeros((2, 50), dtype=bool)
    a[0, :5], a[1, 5:10] = True, True
    result = compare_pair(a, b, seed=0)
    assert result.p == pytest.approx(2 * stats.t.sf(0.1 / (1 / 50 / math.sqrt(2)), 1))


def test_a_side_against_itself_cannot_be_told():
    side = predictions(0, 3, 200, (0.5, 0.5))[0]
    for seeds in (1, 3):
        result = compare_pair(side[:seeds], side[:seeds], seed=0)
        assert (result.difference, result.p) == (0.0, 1.0)
        assert result.low <= 0 <= result.high
    fixed = np.tile(side[0], (3, 1))
    result = compare_pair(fixed, fixed, seed=0)
    assert (result.low, result.difference, result.high, result.p) == (0.0, 0.0, 0.0, 1.0)


def test_one_seed_tells_nothing_but_where_no_seed_matters():
    a, b = np.ones((1, 500), dtype=bool), np.zeros((1, 500), dtype=bool)
    result = compare_pair(a, b, seed=0)
    assert (result.difference, result.p) == (1.0, 1.0)
    assert "cannot tell: one seed" in result.method
    assert verdict(result, result.p) == "cannot tell"
    fixed = compare_pair(a, b, seed=0, deterministic=True)
    assert verdict(fixed, fixed.p) == "better"


@pytest.mark.parametrize("seed_noise", [0.0, 0.1, 0.3])
def test_no_difference_is_seldom_decided(seed_noise):
    """At most 1 in 20, and two standard errors of 400 trials; images alone would decide half of the last."""
    decided = 0
    for trial in range(400):
        a, b = predictions(trial, 3, 300, (1.0, 1.0), seed_noise)
        decided += compare_pair(a, b, trial, resamples=1_000).p < 0.05
    assert decided / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_a_real_difference_is_decided():
    a, b = predictions(1, 3, 3_000, (1.6, 0.4))
    for first, second, word in ((a, b, "better"), (b, a, "worse")):
        result = compare_pair(first, second, seed=0)
        assert verdict(result, holm([result.p, 0.02, 0.02])[0]) == word


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.6, 0.7]) == (1.0, 1.0)
    assert holm([]) == ()


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_what_is_no_p_value_is_refused(p):
    with pytest.raises(UsageError, match="expected each between 0 and 1"):
        holm([0.5, p])


@pytest.mark.parametrize(
    ("difference", "adjusted", "said"),
    [
        (0.1, 0.0499, "better"),
        (-0.1, 0.0499, "worse"),
        (0.1, 0.05, "cannot tell"),
        (0.1, math.nan, "cannot tell"),
    ],
)
def test_the_verdict(difference, adjusted, said):
    result = PairedDifference(
        difference=difference, low=-1.0, high=1.0, p=0.01, method="by hand", images=1, seeds=1
    )
    assert verdict(result, adjusted) == said


def test_what_cannot_be_compared_is_refused():
    side = np.ones((2, 3), dtype=bool)
    with pytest.raises(UsageError, match=r"sides of shapes \(2, 3\) and \(2, 4\)"):
        unwrap(compare_pair)(side, np.ones((2, 4), dtype=bool), seed=0)
    with pytest.raises(UsageError, match=r"sides of shapes \(2, 0\) and \(2, 0\)"):
        compare_pair(side[:, :0], side[:, :0], seed=0)
    with pytest.raises(UsageError, match="0 bootstrap resamples"):
        compare_pair(side, side, seed=0, resamples=0)
    with pytest.raises(DataError, match="neither right"):
        compare_pair(side.astype(float), side * 0.5, seed=0)
