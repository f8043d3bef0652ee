"""Whether the classes are found without their names."""

import numpy as np
import pytest

from mitsugo.errors import DataError, UsageError
from mitsugo.space.clustering import adjusted_mutual_information


def heaps(each, *places):
    chance = np.random.default_rng(0)
    vectors = np.concatenate([chance.normal(place, 0.1, (each, 2)) for place in places])
    return vectors, np.repeat(np.arange(len(places)), each)


def test_heaps_are_found_and_halves_agree():
    score = adjusted_mutual_information(*heaps(20, 0, 5, 10), seed=0)
    assert (score.value, score.low, score.high) == pytest.approx((1.0, 1.0, 1.0))
    assert score.n == 60


def test_labels_by_chance_are_worth_nothing():
    vectors, _ = heaps(100, 0, 5)
    labels = np.random.default_rng(1).integers(0, 2, 200)
    score = adjusted_mutual_information(vectors, labels, seed=0)
    assert abs(score.value) < 0.05
    assert score.low < 0.03 < score.high + 0.1


def test_groups_are_halved_whole_and_the_seed_decides():
    vectors, labels = heaps(40, 0, 0.15)
    groups = np.arange(80) % 8
    score = adjusted_mutual_information(vectors, labels, groups, seed=0)
    assert score.groups == 8
    assert score == adjusted_mutual_information(vectors, labels, groups, seed=0)


def test_what_has_no_clusters_is_refused():
    with pytest.raises(UsageError, match="mutual information of 8 images of 1 classes"):
        adjusted_mutual_information(np.zeros((8, 2)), np.zeros(8, int), seed=0)
    with pytest.raises(UsageError, match="mutual information of 3 images of 3 classes"):
        adjusted_mutual_information(np.zeros((3, 2)), np.arange(3), seed=0)
    with pytest.raises(DataError, match="not finite"):
        adjusted_mutual_information(np.array([[np.nan], [0.0]]), np.arange(2), seed=0)
    few = adjusted_mutual_information(np.zeros((40, 1)), np.arange(40) % 2, seed=0)
    assert abs(few.value) < 1e-6, "one place makes one cluster, without a warning"
