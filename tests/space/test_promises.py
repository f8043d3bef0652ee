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
    images_needed,
    kept_chance,
    p_values,
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
    keeping = np.flatnonzero(chances >= confidence - 1e-12)
    assert rank == (int(keeping[0]) + 1 if keeping.size else None)
    if rank is not None:
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


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.integers(0, 20))
def test_p_values_count_what_is_as_large_or_larger(known, score):
    (found,) = p_values(np.array([float(score)]), np.array(known, float))
    assert found == (1 + sum(one >= score for one in known)) / (len(known) + 1)


@pytest.mark.parametrize(
    ("share", "confidence"), [(0.0, 0.95), (1.0, 0.95), (0.1, 0.0), (0.1, 1.0), (math.nan, 0.5)]
)
def test_shares_that_cannot_be_meant_are_refused(share, confidence):
    for ask in (lambda: promised_rank(10, share, confidence), lambda: images_needed(share, confidence)):
        with pytest.raises(UsageError, match="expected more than 0 and less than 1"):
            unwrap(ask)()
