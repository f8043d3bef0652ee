"""The map: what lies near stays near, and a new image lies among its nearest."""

import numpy as np
import pytest

from mitsugo.tasks import maps
from mitsugo.tasks.maps import mapped, placed


def clusters(count, seed=0):
    """Three clusters, far apart in eight dimensions."""
    chance = np.random.default_rng(seed)
    centres = 20 * np.eye(3, 8)
    labels = np.arange(count) % 3
    return (centres[labels] + chance.normal(size=(count, 8))).astype(np.float32), labels


def test_clusters_lie_apart_and_inside_the_square():
    vectors, labels = clusters(90)
    found = mapped(vectors)
    assert found.rows.tolist() == list(range(90))
    assert np.abs(found.points).max() == pytest.approx(1)
    middles = np.stack([found.points[labels == label].mean(axis=0) for label in range(3)])
    for label in range(3):
        near = np.linalg.norm(found.points[labels == label] - middles[label], axis=1).mean()
        far = min(np.linalg.norm(middles[label] - middles[other]) for other in range(3) if other != label)
        assert near < far / 2


def test_the_same_vectors_give_the_same_map():
    vectors, _ = clusters(60)
    assert np.array_equal(mapped(vectors).points, mapped(vectors).points)


def test_of_many_some_are_laid_flat_and_the_others_lie_among_them(monkeypatch):
    monkeypatch.setattr(maps, "LAID_FLAT", 30)
    monkeypatch.setattr(maps, "MOST_SHOWN", 60)
    vectors, labels = clusters(90)
    found = mapped(vectors)
    assert (len(found.vectors), len(found.rows), len(found.points)) == (30, 60, 60)
    assert (np.diff(found.rows) > 0).all()
    middles = np.stack([found.points[labels[found.rows] == label].mean(axis=0) for label in range(3)])
    closest = np.linalg.norm(found.points[:, None] - middles, axis=2).argmin(axis=1)
    assert (closest == labels[found.rows]).all()


def test_a_new_image_lies_among_its_nearest_and_a_known_one_where_it_was():
    vectors, labels = clusters(60)
    found = mapped(vectors)
    assert placed(found, vectors[7:8])[0] == pytest.approx(found.points[7], abs=1e-6)
    new = placed(found, vectors[7:8] + np.float32(0.01))
    own = found.points[labels == labels[7]]
    assert (own.min(axis=0) - 1e-6 <= new[0]).all()
    assert (new[0] <= own.max(axis=0) + 1e-6).all()


def test_one_image_lies_in_the_middle_and_none_lie_nowhere():
    found = mapped(np.ones((1, 4), np.float32))
    assert found.points.tolist() == [[0.0, 0.0]]
    assert placed(found, np.empty((0, 4), np.float32)).shape == (0, 2)
    assert placed(found, np.zeros((2, 4), np.float32)).tolist() == [[0.0, 0.0]] * 2
