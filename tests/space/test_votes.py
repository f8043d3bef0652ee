"""Votes and confusion, by loops."""

from inspect import unwrap

import numpy as np
import pytest

from mitsugo.errors import DataError, UsageError
from mitsugo.space.votes import check_classes, confusion_matrix, vote


def test_votes_by_a_loop():
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 4, (300, 5))
    predicted, agreement = vote(labels, 4)
    for row, said, share in zip(labels.tolist(), predicted.tolist(), agreement.tolist(), strict=True):
        most = max(row.count(label) for label in row)
        assert said == next(label for label in row if row.count(label) == most), "the nearest of the tied"
        assert share == most / 5


def test_confusion_by_a_loop():
    chance = np.random.default_rng(1)
    true, said = chance.integers(0, 3, (2, 50))
    expected = np.zeros((3, 3), int)
    for one, other in zip(true, said, strict=True):
        expected[one, other] += 1
    assert np.array_equal(confusion_matrix(true, said, 3), expected)


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(UsageError, match="a vote of 0 neighbours"):
        vote(np.empty((2, 0), int), 3)
    with pytest.raises(UsageError, match="2 true labels, 3 predictions"):
        unwrap(confusion_matrix)(np.zeros(2, int), np.zeros(3, int), 1)
    for labels in ([-1], [3]):
        with pytest.raises(DataError, match="expected 0 to 2: an image without a class"):
            check_classes(np.array(labels), 3)
    check_classes(np.empty(0, int), 3)
