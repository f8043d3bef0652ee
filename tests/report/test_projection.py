import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitsugo.report.projection import flatten


def three_clusters(a_cluster):
    """Return points of three clusters, 20 apart with a spread of 1, class by class."""
    centres = 20 * np.eye(8)[np.repeat(np.arange(3), a_cluster)]
    return (centres + np.random.default_rng(0).normal(size=centres.shape)).astype(np.float32)


def test_two_dimensions_stay_as_they_are():
    vectors = three_clusters(2)[:, :2]
    assert np.array_equal(flatten(vectors, seed=1), vectors)


@pytest.mark.parametrize("a_cluster", [1, 3, 5, 40])
def test_clusters_stay_apart(a_cluster):
    flat = flatten(three_clusters(a_cluster), seed=0)
    labels = np.repeat(np.arange(3), a_cluster)
    centres = np.stack([flat[labels == label].mean(axis=0) for label in range(3)])
    nearest_centre = np.square(flat[:, None] - centres).sum(axis=2).argmin(axis=1)
    assert np.array_equal(nearest_centre, labels)


def test_the_same_seed_gives_the_same_picture_and_another_one_another():
    vectors = three_clusters(10)
    assert np.array_equal(flatten(vectors, seed=3), flatten(vectors, seed=3))
    assert not np.array_equal(flatten(vectors, seed=3), flatten(vectors, seed=4))


def test_few_vectors_are_laid_on_their_principal_plane():
    plane = np.array(
        [[-4, 0], [-2, 1], [2, 1], [4, -2]], dtype=np.float32
    )  # centred, axes uncorrelated but one
    vectors = np.hstack([plane, np.zeros((4, 3), np.float32)])
    flat = flatten(vectors, seed=0)
    between = [np.linalg.norm(given[:, None] - given, axis=2) for given in (plane, flat)]
    assert np.allclose(between[0] / between[0].max(), between[1] / between[1].max(), atol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 2, 11, 12, 40])
def test_equal_vectors_lie_on_the_origin(n):
    assert np.array_equal(flatten(np.full((n, 5), 0.1, np.float32), seed=0), np.zeros((n, 2)))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 30), st.integers(3, 6), st.sampled_from([1e-30, 1.0, 1e30]), st.booleans())
def test_every_number_of_vectors_of_every_size_has_a_picture(n, dimension, scale, twins):
    vectors = np.random.default_rng(n).normal(size=(n, dimension)) * scale
    if twins:
        vectors[n // 2 :] = vectors[0]
    flat = flatten(vectors.astype(np.float32), seed=0)
    assert flat.shape == (n, 2)
    assert np.isfinite(flat).all()
