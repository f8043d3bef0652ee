import math
from inspect import unwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitsugo.errors import DataError, UsageError
from mitsugo.space.separation import between_within, silhouette

SPREAD = np.random.default_rng(0)
VECTORS = SPREAD.normal(size=(40, 3))
LABELS = SPREAD.integers(3, size=40)
VECTORS[:, 0] += 2 * LABELS


def ratio_by_loops(vectors, labels):
    within, between = [], []
    for i in range(len(labels)):
        for j in range(i):
            (within if labels[i] == labels[j] else between).append(math.dist(vectors[i], vectors[j]))
    return (sum(between) / len(between)) / (sum(within) / len(within))


def silhouette_by_loops(vectors, labels):
    values = []
    for i, own in enumerate(labels):
        means = {}
        for label in set(labels):
            others = [
                math.dist(vectors[i], v) for j, v in enumerate(vectors) if labels[j] == label and j != i
            ]
            means[label] = sum(others) / len(others) if others else None
        a, b = means.pop(own), min(means.values())
        values.append(0.0 if a is None else (b - a) / max(a, b))
    return values


def test_the_silhouette_is_its_definition():
    score = silhouette(VECTORS, LABELS, seed=0)
    values = silhouette_by_loops(VECTORS.tolist(), LABELS.tolist())
    error = np.std(values, ddof=1) / math.sqrt(40)
    assert score.value == pytest.approx(np.mean(values))
    assert score.low == pytest.approx(np.mean(values) - 1.959964 * error)
    assert score.high == pytest.approx(np.mean(values) + 1.959964 * error)
    assert (score.n, score.interval) == (40, "normal, 95 %, over images")


def test_the_silhouette_of_a_sample_is_seeded_and_says_so():
    score = silhouette(VECTORS, LABELS, sample=20, seed=3)
    assert (score.n, score.interval) == (
        20,
        "normal, 95 %, over images, on a sample of 20 of 40 drawn from seed 3",
    )
    assert score == silhouette(VECTORS, LABELS, sample=20, seed=3)
    assert score.value != silhouette(VECTORS, LABELS, sample=20, seed=4).value


def test_the_silhouette_of_a_collapsed_embedding_is_zero():
    score = silhouette(np.full((20, 5), 0.1), np.arange(20) % 2, seed=0)
    assert (score.low, score.value, score.high) == (0.0, 0.0, 0.0)


def test_the_silhouettes_interval_ends_at_one():
    labels = np.array([0, 0, 1])
    score = silhouette(np.array([[0.0], [0.0], [1.0]]), labels, seed=0)  # 1, 1 and 0 for the one alone
    assert (score.value, score.high) == (pytest.approx(2 / 3), 1.0)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_a_silhouette_needs_two_classes_and_two_images_in_one(labels):
    with pytest.raises(UsageError, match=f"silhouette of 3 images of {len(set(labels))} classes"):
        silhouette(np.array([[0.0], [1.0], [2.0]]), np.array(labels), seed=0)


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 2)), min_size=6, max_size=30)
)
@settings(deadline=None)
def test_between_to_within_is_its_definition(rows):
    """Three images of each of two classes are added, so that the ratio exists with any one left out."""
    rows += [(9, 0, 0), (9, 1, 0), (9, 3, 0), (-9, 0, 1), (-9, 1, 1), (-9, 3, 1)]
    vectors = np.array([row[:2] for row in rows], dtype=np.float64)
    labels = np.array([row[2] for row in rows])
    score = between_within(vectors, labels, chunk_bytes=200)
    assert score.value == pytest.approx(ratio_by_loops(vectors, labels))
    n = len(rows)
    left = [ratio_by_loops(np.delete(vectors, i, 0), np.delete(labels, i)) for i in range(n)]
    error = math.sqrt((n - 1) / n * sum((x - np.mean(left)) ** 2 for x in left))
    assert score.high == pytest.approx(score.value + 1.959964 * error)
    assert score.low == pytest.approx(max(0.0, score.value - 1.959964 * error), abs=1e-6)
    assert score.n == n


def test_between_to_within_does_not_depend_on_place_or_scale():
    plain = between_within(VECTORS, LABELS)
    moved = between_within(VECTORS * 1e-3 + 1e3, LABELS)
    assert moved.value == pytest.approx(plain.value, rel=1e-6)
    assert moved.high == pytest.approx(plain.high, rel=1e-6)


def test_tight_classes_far_apart_keep_their_digits():
    vectors = np.array([[0.0], [1e-7], [3e-7], [1.0], [1 + 1e-7], [1 + 3e-7]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert between_within(vectors, labels).value == pytest.approx(ratio_by_loops(vectors, labels), rel=1e-6)


def test_a_collapsed_embedding_has_the_ratio_one_and_says_so():
    score = between_within(np.full((20, 5), 0.1), np.arange(20) % 2)
    assert (score.low, score.value, score.high, score.n) == (1.0, 1.0, 1.0, 20)
    assert "collapsed" in score.interval


@pytest.mark.parametrize("points", [[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 5]])
def test_an_infinite_ratio_is_refused(points):
    with pytest.raises(DataError, match="between- to within-class distance is infinite"):
        between_within(np.array(points, dtype=np.float64)[:, None], np.array([0, 0, 0, 1, 1, 1]))


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_a_ratio_needs_two_classes_and_two_images_in_one(labels):
    with pytest.raises(UsageError, match=f"of 3 images of {len(set(labels))} classes"):
        between_within(np.array([[0.0], [1.0], [2.0]]), np.array(labels))


@pytest.mark.parametrize("labels", [[0, 0, 1, 2], [0, 0, 0, 1]])
def test_a_ratio_that_hangs_on_one_image_has_no_interval(labels):
    with pytest.raises(UsageError, match="has no interval"):
        between_within(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array(labels))


@pytest.mark.parametrize("score", [lambda v, y: unwrap(silhouette)(v, y, seed=0), unwrap(between_within)])
def test_vectors_that_cannot_be_scored_are_refused(score):
    with pytest.raises(UsageError, match="3 vectors and 2 labels"):
        score(np.zeros((3, 2)), np.array([0, 1]))
    with pytest.raises(DataError, match="an embedding is not finite"):
        score(np.array([[0.0], [math.nan]]), np.array([0, 1]))
