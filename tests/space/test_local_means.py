"""Distances to the mean of a class's nearest images, against slow loops and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mitsugo.space.local_means as module
from mitsugo.space.local_means import to_local_means, within_whitener


def normal(count, dimension, seed):
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


def slow(query, rows, gallery, whitener):
    there = [row for row in rows.tolist() if row >= 0]
    if not there:
        return math.inf
    middle = sum(gallery[row].astype(np.float64) for row in there) / len(there)
    white = (query.astype(np.float64) - middle) @ whitener
    return math.sqrt(float(white @ white) / (1 + 1 / len(there)))


@settings(max_examples=40)
@given(st.integers(1, 20), st.integers(1, 6), st.integers(1, 9), st.integers(1, 5), st.integers(0, 99))
def test_as_a_loop_has_it_and_the_same_alone_or_in_a_batch(count, size, dimension, k, seed):
    queries, gallery = normal(count, dimension, seed), normal(size, dimension, seed + 1)
    rows = np.random.default_rng(seed).integers(-1, size, (count, k))
    whitener = within_whitener(gallery, np.arange(size) % 2)
    found = to_local_means(queries, rows, gallery, whitener)
    slowly = [slow(*one, gallery, whitener) for one in zip(queries, rows, strict=True)]
    assert found == pytest.approx(slowly, rel=1e-9)
    alone = [to_local_means(queries[i : i + 1], rows[i : i + 1], gallery, whitener)[0] for i in range(count)]
    assert found.tolist() == alone


def test_many_queries_are_looked_at_in_parts(monkeypatch):
    queries, gallery, rows = normal(50, 3, 0), normal(8, 3, 1), np.tile(np.arange(4), (50, 1))
    whole = to_local_means(queries, rows, gallery, np.eye(3))
    monkeypatch.setattr(module, "AT_ONCE", 100)
    assert (to_local_means(queries, rows, gallery, np.eye(3)) == whole).all()


def test_of_no_queries_there_are_no_distances():
    found = to_local_means(normal(0, 3, 0), np.empty((0, 2), np.int64), normal(4, 3, 1), np.eye(3))
    assert found.shape == (0,)


def test_differences_within_classes_become_alike_in_all_directions():
    """Of variance 1 on average, shrunk by a tenth of it: v / (v + 0.1 mean) each."""
    spread = np.array([1, 5, 20], np.float32)
    labels = np.arange(30_000) % 3
    vectors = normal(30_000, 3, 0) * spread + 100 * labels[:, None].astype(np.float32)
    white = vectors @ within_whitener(vectors, labels)
    within = sum(np.cov(white[labels == label].T) for label in range(3)) / 3
    variances = np.sort(spread**2 / (spread**2 + 0.1 * (spread**2).mean()))
    scale = np.trace(within) / variances.sum()
    assert np.sort(np.linalg.eigvalsh(within)) == pytest.approx(scale * variances, rel=0.05)


@pytest.mark.parametrize("labels", [np.arange(4), np.array([0, 0, 1, 1])])
def test_classes_without_spread_leave_plain_distances(labels):
    vectors = normal(4, 3, 0)[labels]
    assert (within_whitener(vectors, labels) == np.eye(3)).all()
