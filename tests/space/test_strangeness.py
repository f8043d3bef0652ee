"""Distances to classes, over what is usual in them, against slow loops and by hand."""

from inspect import unwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitsugo.errors import UsageError
from mitsugo.space.classed import classed, nearest_of_each
from mitsugo.space.strangeness import (
    PRIOR,
    class_scales,
    distances_at,
    place_of,
    usual_by_size,
    usual_of,
)


def normal(count, dimension, seed):
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


def class_distances(queries, gallery, labels, classes, k, own):
    ready = classed(gallery, labels, classes)
    return distances_at(nearest_of_each(queries, ready, k, own[:, None]), ready.counts, k)


def slow(query, gallery, labels, classes, k, own):
    found = []
    for label in range(classes):
        far = sorted(
            float(np.linalg.norm((query - gallery[row]).astype(np.float64)))
            for row in np.flatnonzero(labels == label)
            if row != own
        )
        n = int((labels == label).sum())
        found.append(far[min(place_of(k, n), len(far)) - 1] if far else np.inf)
    return found


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 7), st.integers(0, 1000))
def test_distances_are_those_of_a_slow_loop(rows, classes, k, seed):
    chance = np.random.default_rng(seed)
    gallery, labels = normal(rows, 3, seed), chance.integers(0, classes, rows)
    queries = np.concatenate([normal(4, 3, seed + 1), gallery[:3]])
    own = np.array([-1, -1, -1, -1, *range(min(3, rows))])
    found = class_distances(queries, gallery, labels, classes, k, own)
    expected = [slow(q, gallery, labels, classes, k, o) for q, o in zip(queries, own, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    alone = [
        class_distances(queries[i : i + 1], gallery, labels, classes, k, own[i : i + 1])[0]
        for i in range(len(queries))
    ]
    assert (np.stack(alone) == found).all(), "the same to the bit, alone or among others"


def test_the_place_grows_with_the_class():
    assert [place_of(3, n) for n in (1, 5, 6, 10, 11, 1000)] == [1, 1, 2, 2, 3, 3]


def test_k_below_one_is_refused():
    with pytest.raises(UsageError, match="k = 0 neighbours"):
        unwrap(distances_at)(
            nearest_of_each(normal(1, 2, 0), classed(normal(2, 2, 0), np.array([0, 1]), 2), 1), np.ones(2), 0
        )


def test_a_larger_class_lies_nearer():
    vectors, labels = normal(4000, 4, 0), np.repeat([0, 1], 2000)
    usual = usual_by_size(vectors, labels, np.arange(0, 4000, 20), 5)
    assert list(usual) == [1, 2, 3, 6, 10, 18, 32, 56, 100, 178, 316, 562, 1000, 1778]
    values = list(usual.values())
    assert values[0] > values[4] > values[8] > values[12] > 0
    assert usual == usual_by_size(vectors, labels, np.arange(0, 4000, 20), 5), "drawn by a seed"


def test_between_sizes_it_is_interpolated_and_beyond_them_it_stays():
    usual = {1: 4.0, 100: 1.0}
    assert usual_of(usual, 10) == pytest.approx(2.0)
    assert usual_of(usual, 0) == usual_of(usual, 1) == pytest.approx(4.0)
    assert usual_of(usual, 10**6) == pytest.approx(1.0)


def test_classes_of_one_image_tell_nothing():
    vectors, labels = normal(3, 2, 0), np.arange(3)
    assert usual_by_size(vectors, labels, np.arange(3), 5) == {1: 1.0}
    scales = class_scales(vectors, labels, np.arange(3), 4, 5, {1: 2.5})
    assert scales.tolist() == [2.5, 2.5, 2.5, 1.0], "what its size lets expect; 1 for a class without images"


def test_equal_images_have_no_distance_and_yet_a_scale():
    vectors, labels = np.zeros((8, 2), np.float32), np.zeros(8, np.int64)
    usual = usual_by_size(vectors, labels, np.arange(8), 5)
    assert all(value > 0 for value in usual.values())
    assert class_scales(vectors, labels, np.arange(8), 1, 5, usual)[0] > 0


def test_a_tight_class_and_a_loose_one_are_measured_by_their_own():
    """Each has 1,000 images, one ten times as wide: so are their scales, but for the prior."""
    vectors = np.concatenate([normal(1000, 4, 0), 10 * normal(1000, 4, 1)])
    labels = np.repeat([0, 1], 1000)
    rows = np.arange(2000)
    usual = usual_by_size(vectors, labels, rows, 5)
    tight, loose = class_scales(vectors, labels, rows, 2, 5, usual)
    assert loose / tight == pytest.approx(10, rel=0.15)


def test_of_few_images_the_expectation_counts():
    """Five images at 1 from each other where 100 is expected: the ratio counts by 5 / (5 + prior)."""
    vectors, labels = np.eye(5, dtype=np.float32) / np.float32(np.sqrt(2)), np.zeros(5, np.int64)
    (scale,) = class_scales(vectors, labels, np.arange(5), 1, 5, {1: 100.0})
    assert scale == pytest.approx(100 * 0.01 ** (5 / (5 + PRIOR)), rel=1e-5)
    (scale,) = class_scales(vectors, labels, np.arange(5), 1, 5, {1: 100.0}, 0.25)
    assert scale == pytest.approx(100 * 0.01 ** (0.25 * 5 / (5 + PRIOR)), rel=1e-5)
