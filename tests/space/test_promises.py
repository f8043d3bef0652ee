"""Order statistics that keep what they promise."""

import math
from inspect import unwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mitsugo.errors import UsageError
from mitsugo.space.promises import (
    ROOM,
    images_needed,
    kept_chance,
    p_values,
    promised_limits,
    promised_rank,
    promised_threshold,
    smallest_share,
)

SHARES = st.floats(0.001, 0.5)
CONFIDENCES = st.floats(0.5, 0.999)


@given(SHARES, CONFIDENCES)
def test_the_images_needed_are_the_fewest_that_allow_the_promise(share, confidence):
    n = images_needed(share, confidence)
    assert promised_rank(n, share, confidence) is not None
    assert n == 1 or promised_rank(n - 1, share, confidence) is None


@given(st.integers(1, 2000), SHARES, CONFIDENCES)
def test_the_rank_is_the_least_whose_beta_tail_keeps_the_promise(n, share, confidence):
    """The share above the k-th smallest is Beta(n + 1 - k, k): wanted is P(it is at most the share)."""
    rank = promised_rank(n, share, confidence)
    chances = stats.beta.cdf(share, n + 1 - np.arange(1, n + 1), np.arange(1, n + 1))
    # a chance of just the confidence may round to either side, as the half of an odd number does
    assert (chances[: n if rank is None else rank - 1] < confidence + 1e-9).all()
    if rank is not None:
        assert chances[rank - 1] >= confidence - 1e-9
        assert kept_chance(n, rank, share) == pytest.approx(chances[rank - 1], abs=1e-9)


def test_the_figures_that_textbooks_give():
    assert (images_needed(0.01), images_needed(0.05), images_needed(0.1)) == (299, 59, 29)
    assert promised_rank(299, 0.01) == 299
    assert promised_rank(1000, 0.01) == 996


@given(st.integers(1, 5000), CONFIDENCES)
def test_the_smallest_share_is_what_the_largest_score_promises(n, confidence):
    share = smallest_share(n, confidence)
    assert (1 - share) ** n == pytest.approx(1 - confidence)
    assert promised_rank(n, min(share * (1 + 1e-9) + 1e-15, 0.999), confidence) == n


def test_without_images_nothing_is_promised():
    assert smallest_share(0) == 1.0
    assert promised_rank(0, 0.5) is None
    with pytest.raises(UsageError, match="no score to draw a threshold from"):
        promised_threshold(np.empty(0), 0.1)


def test_too_few_scores_promise_what_they_can():
    threshold, promised = promised_threshold(np.array([3.0, 1.0, 2.0]), 0.01)
    assert threshold == 3.0
    assert promised == pytest.approx(1 - 0.05 ** (1 / 3))


def test_the_promise_holds_over_the_draw():
    """2,000 draws of 299: the true share above the threshold exceeds 1 % in about 5 % of them."""
    chance = np.random.default_rng(0)
    kept = sum(1 - promised_threshold(chance.uniform(size=299), 0.01)[0] <= 0.01 for _ in range(2000))
    expected = kept_chance(299, 299, 0.01)
    assert stats.binomtest(kept, 2000, expected).pvalue > 0.001


@given(st.integers(1, 4), SHARES, CONFIDENCES)
def test_the_images_that_more_blocks_need_are_the_fewest(blocks, share, confidence):
    n = images_needed(share, confidence, blocks)
    assert stats.binom.cdf(blocks - 1, n, share) <= 1 - confidence + 1e-9
    assert n == blocks or stats.binom.cdf(blocks - 1, n - 1, share) > 1 - confidence - 1e-9
    assert smallest_share(n, confidence, blocks) <= share * (1 + 1e-6)


@pytest.mark.parametrize(("n", "blocks"), [(2, 2), (30, 2), (298, 2), (628, 3), (1000, 5), (3000, 21)])
@pytest.mark.parametrize("alike", [0.0, 0.7, -0.9])
def test_limits_on_two_scores_leave_as_much_as_one_on_one(n, blocks, alike):
    """The share that lies beyond either is Beta(blocks, n + 1 - blocks), however the two hang together."""
    chance = np.random.default_rng(n)
    shares = []
    wide = stats.multivariate_normal(cov=[[1, alike], [alike, 1]])
    for _ in range(300):
        first, second = chance.multivariate_normal([0, 0], [[1, alike], [alike, 1]], n).T
        one, other, promised = promised_limits(first, second, 0.01)
        assert (first > one).sum() + ((second > other) & (first <= one)).sum() < blocks
        shares.append(1 - wide.cdf([one, other]))
    assert stats.kstest(shares, stats.beta(blocks, n + 1 - blocks).cdf).pvalue > 0.001
    assert promised == (0.01 if n > 299 else pytest.approx(smallest_share(n, blocks=2)))


def test_where_one_or_two_may_lie_beyond_there_is_no_room_for_two_limits():
    scores = np.arange(1000.0)
    for n, room in ((298, True), (299, False), (473, False), (627, False), (628, True), (1, False)):
        assert (promised_limits(scores[:n], scores[:n], 0.01) is not None) is room
    assert images_needed(0.01, blocks=ROOM) == 628


def test_equal_scores_promise_no_less():
    assert promised_limits(np.ones(40), np.ones(40), 0.01)[:2] == (1.0, 1.0)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.integers(0, 20))
def test_p_values_count_what_is_as_large_or_larger(known, score):
    (found,) = p_values(np.array([float(score)]), np.array(known, float))
    as_large = sum(one >= score for one in known)
    assert found == (1 + as_large) / (len(known) + 1)
    (weighed,) = p_values(np.array([float(score)]), np.array(known, float), 2)
    assert weighed == min(1, (2 + as_large) / (len(known) + 1))


@pytest.mark.parametrize(
    ("share", "confidence"), [(0.0, 0.95), (1.0, 0.95), (0.1, 0.0), (0.1, 1.0), (math.nan, 0.5)]
)
def test_shares_that_cannot_be_meant_are_refused(share, confidence):
    for ask in (lambda: promised_rank(10, share, confidence), lambda: images_needed(share, confidence)):
        with pytest.raises(UsageError, match="expected more than 0 and less than 1"):
            unwrap(ask)()
