"""More of the gallery, and what it brings."""

import numpy as np
import pytest

from mitsugo.errors import UsageError
from mitsugo.space.learning import learning_curve
from mitsugo.values import Embeddings


def embedded(vectors, labels, classes=2):
    vectors = np.asarray(vectors, dtype=np.float32)
    return Embeddings(
        vectors=vectors.reshape(len(vectors), -1),
        labels=np.asarray(labels, dtype=np.int64),
        class_names=tuple(map(str, range(classes))),
        names=tuple(map(str, range(len(vectors)))),
        fingerprint="f",
    )


def noisy(count, seed):
    """Two classes a standard deviation and a half apart in two dimensions."""
    chance = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return embedded(chance.normal(size=(count, 2)) + 1.5 * labels[:, None], labels)


def test_the_whole_gallery_is_the_k_nn_accuracy_by_a_plain_loop():
    gallery, queries = noisy(80, 0), noisy(40, 1)
    right = 0
    for vector, label in zip(queries.vectors, queries.labels, strict=True):
        near = np.argsort(np.square(gallery.vectors - vector).sum(axis=1))[:5]
        right += (gallery.labels[near].sum() > 2) == label
    *parts, whole = learning_curve(gallery, queries, seed=0)
    assert (whole.images, whole.draws, whole.n, whole.accuracy) == (80, 1, 40, right / 40)
    assert [(point.images, point.draws) for point in parts] == [(10, 5), (20, 5), (40, 5)]
    assert all(point.low <= point.accuracy <= point.high for point in parts)


def test_the_same_seed_draws_the_same_parts():
    gallery, queries = noisy(80, 0), noisy(40, 1)
    assert learning_curve(gallery, queries, seed=3) == learning_curve(gallery, queries, seed=3)
    assert learning_curve(gallery, queries, seed=3) != learning_curve(gallery, queries, seed=4)


def test_groups_are_drawn_whole():
    """Sixteen groups of five: a query stands upon each group, and is right only where it was drawn."""
    place = np.repeat(np.arange(16), 5)
    gallery = embedded(100.0 * place, place % 2)
    queries = embedded(100.0 * np.arange(16) + 1, np.arange(16) % 2)
    points = learning_curve(gallery, queries, seed=0, groups=place)
    assert [point.images for point in points[-2:]] == [40, 80]
    assert all(point.images % 5 == 0 for point in points)
    assert points[-1].accuracy == 1.0
    assert points[-2].low >= 0.5, "the half that was drawn is right"


def test_parts_that_are_too_small_or_miss_a_class_are_left_out():
    rare = embedded(np.arange(16.0), [0] * 15 + [1])
    assert [point.images for point in learning_curve(rare, rare, seed=0, k=2)] == [16]
    few = embedded(np.arange(12.0), np.arange(12) % 2)
    assert [point.images for point in learning_curve(few, few, seed=1, k=6)][-1] == 12
    with pytest.raises(UsageError):
        learning_curve(few, few, seed=0, k=13)


def test_of_many_queries_two_thousand_are_asked():
    gallery, queries = noisy(64, 0), noisy(2_500, 1)
    assert {point.n for point in learning_curve(gallery, queries, seed=0)} == {2_000}
