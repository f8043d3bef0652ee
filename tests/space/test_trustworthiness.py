import math
from inspect import unwrap

import numpy as np
import pytest
from sklearn.manifold import trustworthiness as sklearn_trustworthiness

from mitsugo.errors import DataError, UsageError
from mitsugo.space.trustworthiness import trustworthiness

RANDOM = np.random.default_rng(0)
HIGH = RANDOM.normal(size=(60, 5))
FLAT = HIGH[:, :2] + 0.1 * RANDOM.normal(size=(60, 2))


def by_loops(high, flat, k):
    n = len(high)
    values = []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        shown = sorted(others, key=lambda j, i=i: (np.float32(math.dist(flat[i], flat[j])), j))[:k]
        penalty = 0
        for j in shown:
            rank = 1 + sum(math.dist(high[i], high[m]) < math.dist(high[i], high[j]) for m in others)
            penalty += max(0, rank - k)
        values.append(1 - 2 / (k * (2 * n - 3 * k - 1)) * penalty)
    return values


@pytest.mark.parametrize("k", [1, 5, 10, 29])
def test_each_point_is_its_definition_and_the_mean_is_scikit_learns(k):
    for chunk_bytes in (1, 5_000, 1 << 26):
        result = trustworthiness(HIGH, FLAT, k, chunk_bytes=chunk_bytes)
        assert result.points.tolist() == pytest.approx(by_loops(HIGH.tolist(), FLAT.tolist(), k))
        assert result.mean == pytest.approx(sklearn_trustworthiness(HIGH, FLAT, n_neighbors=k), abs=1e-12)
    assert 0 < result.mean < 1


def test_a_true_picture_is_fully_trusted():
    assert trustworthiness(FLAT, FLAT * 3 + 5).points.tolist() == [1.0] * 60


def test_a_point_whose_shown_neighbours_are_its_farthest_reads_zero():
    line = np.arange(9.0)[:, None]
    flat = np.c_[line, np.zeros(9)]
    flat[0, 0] = 7.6  # the first stands between the last ones
    assert trustworthiness(line, flat, k=2).points[0] == pytest.approx(0.0, abs=1e-12)


def test_ties_in_the_embedding_are_in_the_pictures_favour():
    high = np.array([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])  # four at distance 1 of the first
    assert trustworthiness(high, RANDOM.normal(size=(5, 2)), k=2).points[0] == 1.0


@pytest.mark.parametrize("k", [0, 30])
def test_a_k_where_it_is_not_defined_is_refused(k):
    with pytest.raises(UsageError, match=f"trustworthiness of 60 points with k = {k}"):
        trustworthiness(HIGH, FLAT, k)


def test_a_picture_of_other_points_is_refused():
    with pytest.raises(UsageError, match=r"a picture of shape \(5, 2\) of 60 points; expected \(60, 2\)"):
        unwrap(trustworthiness)(HIGH, FLAT[:5])


def test_what_is_not_finite_is_refused():
    broken = HIGH.copy()
    broken[3, 1] = math.inf
    with pytest.raises(DataError, match="an embedding is not finite"):
        trustworthiness(broken, FLAT)
