"""Each class by itself, and all of them as equals."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, precision_score, recall_score

from mitsugo.space.per_class import balanced_accuracy, per_class


def test_recall_and_precision_are_scikit_learns():
    chance = np.random.default_rng(0)
    true, said = chance.integers(0, 4, (2, 200))
    found = per_class(true, said, tuple("abcd"), seed=0)
    assert [one.name for one in found] == list("abcd")
    assert [one.recall.value for one in found] == pytest.approx(recall_score(true, said, average=None))
    assert [one.precision.value for one in found] == pytest.approx(precision_score(true, said, average=None))
    assert [one.recall.n for one in found] == np.bincount(true).tolist()
    assert [one.precision.n for one in found] == np.bincount(said).tolist()


def test_a_class_without_images_has_no_recall_and_one_never_said_no_precision():
    absent, unsaid, _ = per_class(np.array([1, 2]), np.array([0, 2]), tuple("abc"), seed=0)
    assert absent.recall is None
    assert absent.precision.value == 0.0
    assert unsaid.precision is None
    assert unsaid.plain() == {"class": "b", "recall": unsaid.plain()["recall"], "precision": None}


def test_intervals_are_over_the_groups_of_the_class():
    groups = np.array([0, 0, 1, 2])
    (one, other) = per_class(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ("a", "b"), groups, seed=0)
    assert (one.recall.groups, one.recall.n, other.recall.groups) == (2, 3, 1)


def test_balanced_accuracy_is_scikit_learns_and_only_said_where_it_differs():
    true = np.array([0] * 30 + [1] * 10)
    said = np.array([0] * 24 + [1] * 6 + [1] * 5 + [0] * 5)
    score = balanced_accuracy(true, said, seed=0)
    assert score.value == pytest.approx(balanced_accuracy_score(true, said))
    assert balanced_accuracy(true[20:40], said[20:40], seed=0) is None, "ten of each: it is the accuracy"
