"""The cheapest threshold, beside every threshold there is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitsugo.errors import UsageError
from mitsugo.space.costs import cheapest_threshold

PARTS = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30).filter(
    lambda parts: len({ng for _, ng in parts}) == 2
)


def cost(threshold, scores, ng, escape, overkill, share):
    return (
        share * escape * (scores[ng] < threshold).mean()
        + (1 - share) * overkill * (scores[~ng] >= threshold).mean()
    )


@given(PARTS, st.floats(0.1, 100), st.floats(0.1, 100), st.floats(0.01, 0.99))
def test_no_threshold_is_cheaper(parts, escape, overkill, share):
    scores = np.array([score / 6 for score, _ in parts])
    ng = np.array([bad for _, bad in parts])
    threshold, found = cheapest_threshold(
        scores, ng, cost_escape=escape, cost_overkill=overkill, ng_share=share
    )
    assert found == pytest.approx(cost(threshold, scores, ng, escape, overkill, share))
    every = np.concatenate([np.linspace(-0.1, 1.1, 73), scores])
    assert found <= min(cost(one, scores, ng, escape, overkill, share) for one in every) + 1e-12


def test_of_equally_cheap_thresholds_the_lowest_is_taken():
    scores, ng = np.array([0.2, 0.4, 0.6, 0.8]), np.array([False, False, True, True])
    threshold, found = cheapest_threshold(scores, ng, cost_escape=1.0, cost_overkill=1.0, ng_share=0.5)
    assert (threshold, found) == (pytest.approx(0.5), 0.0)
    ties = np.array([False, True, False, True])
    threshold, _ = cheapest_threshold(scores, ties, cost_escape=1.0, cost_overkill=1.0, ng_share=0.5)
    assert threshold == pytest.approx(0.3), "0.7 costs the same and lets one escape"


def test_where_an_escape_is_all_that_counts_everything_is_ng():
    scores, ng = np.array([0.9, 0.1]), np.array([False, True])
    threshold, _ = cheapest_threshold(scores, ng, cost_escape=1e6, cost_overkill=1.0, ng_share=0.5)
    assert threshold == 0.1
    threshold, _ = cheapest_threshold(scores, ng, cost_escape=1.0, cost_overkill=1e6, ng_share=0.5)
    assert threshold > 0.9, "and where overkill is, nothing"


def test_both_kinds_are_needed():
    with pytest.raises(UsageError, match="2 of 2 scores are of NG parts"):
        cheapest_threshold(np.zeros(2), np.ones(2, bool), cost_escape=1.0, cost_overkill=1.0, ng_share=0.5)
