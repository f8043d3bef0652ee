"""Escapes and overkill, and how often they may truly happen."""

from inspect import unwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mitsugo.errors import UsageError
from mitsugo.space.rates import inspection, rate, upper_bound
from mitsugo.values import Rate

NAMES = ("ok", "scratch", "dent")


@given(st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_bound_is_clopper_and_pearsons(counts):
    count, n = counts
    if n == 0:
        assert upper_bound(count, n) == 1.0
        return
    expected = stats.binomtest(count, n, alternative="less").proportion_ci(0.95, method="exact").high
    assert upper_bound(count, n) == pytest.approx(expected, abs=1e-9)


def test_none_of_twenty_is_at_most_13_9_percent():
    assert upper_bound(0, 20) == pytest.approx(1 - 0.05 ** (1 / 20))
    assert rate(np.zeros(20, bool)).words == "0 of 20, at most 13.9 %"
    assert rate(np.zeros(0, bool)).words == "0 of 0, at most 100 %"


def test_escapes_and_overkill_by_hand():
    """Six NG images: one is called OK, one another NG class. Four OK images: one is called NG."""
    true = np.array([1, 1, 1, 2, 2, 2, 0, 0, 0, 0])
    said = np.array([1, 2, 0, 2, 2, 2, 0, 0, 0, 2])
    groups = np.array([7, 7, 8, 8, 9, 9, 7, 8, 5, 5])
    found = inspection(true, said, NAMES, ["dent", "scratch"], groups)
    assert found.ng == ("scratch", "dent"), "in the classes' order"
    counts = {name: (getattr(found, name).count, getattr(found, name).n) for name in (
        "escapes", "overkill", "groups_with_escapes", "groups_with_overkill")}  # fmt: skip
    assert counts == {
        "escapes": (1, 6),
        "overkill": (1, 4),
        "groups_with_escapes": (1, 3),
        "groups_with_overkill": (1, 3),
    }
    assert found.escapes.upper == upper_bound(1, 6)
    assert set(found.plain()) == {
        "ng", "escapes", "overkill", "groups_with_escapes", "groups_with_overkill", "bound",
    }  # fmt: skip


def test_without_groups_none_are_counted():
    found = inspection(np.array([0, 1]), np.array([0, 1]), ("ok", "ng"), ["ng"])
    assert found.groups_with_escapes is None
    assert set(found.plain()) == {"ng", "escapes", "overkill", "bound"}


@pytest.mark.parametrize(
    ("ng", "message"),
    [
        (["rust"], "NG class rust: no class of that name; the classes are ok, scratch, dent"),
        ([], "0 NG classes of 3"),
        (list(NAMES), "3 NG classes of 3"),
    ],
)
def test_ng_classes_that_cannot_be_meant(ng, message):
    with pytest.raises(UsageError, match=message):
        inspection(np.zeros(2, int), np.zeros(2, int), NAMES, ng)


def test_arrays_that_do_not_fit_together():
    with pytest.raises(UsageError, match="2 images; expected one prediction"):
        unwrap(inspection)(np.zeros(2, int), np.zeros(3, int), NAMES, ["dent"])
    with pytest.raises(UsageError, match="one group"):
        unwrap(inspection)(np.zeros(2, int), np.zeros(2, int), NAMES, ["dent"], np.zeros(1, int))
    with pytest.raises(UsageError, match="3 of 2 seen; expected 0 to 2"):
        upper_bound(3, 2)
    with pytest.raises(UsageError, match="expected a count within n"):
        Rate(count=1, n=2, upper=0.2)
