"""The nearest of each class are those of a search of the class alone, to the bit."""

from inspect import unwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mitsugo.errors import DataError, UsageError
from mitsugo.space import classed as module
from mitsugo.space.classed import classed, nearest_of_each
from mitsugo.space.neighbors import nearest


def normal(count, dimension, seed):
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


def by_loops(queries, gallery, labels, classes, k, exclude):
    """Rows and distances by the definition, for coordinates whose squares are exact."""
    found = []
    for q, query in enumerate(queries):
        of_each = []
        for label in range(classes):
            ranked = sorted(
                (float(np.float32(np.sqrt(np.square(query - gallery[row]).sum(dtype=np.float64)))), row)
                for row in np.flatnonzero(labels == label).tolist()
                if row not in exclude[q]
            )[:k]
            of_each.append(ranked + [(np.inf, -1)] * (k - len(ranked)))
        found.append(of_each)
    return found


@st.composite
def grids(draw):
    seed, classes = draw(st.integers(0, 10**6)), draw(st.integers(1, 4))
    chance = np.random.default_rng(seed)
    n, d, q = draw(st.integers(1, 60)), draw(st.integers(1, 3)), draw(st.integers(1, 6))
    gallery = chance.integers(-2, 3, (n, d)).astype(np.float32)
    queries = chance.integers(-2, 3, (q, d)).astype(np.float32)
    exclude = chance.integers(-1, n, (q, draw(st.integers(0, 3))))
    return queries, gallery, chance.integers(0, classes, n), classes, draw(st.integers(1, 9)), exclude


@given(grids())
@settings(max_examples=150, deadline=None)
def test_grids_full_of_ties(grid):
    queries, gallery, labels, classes, k, exclude = grid
    found = nearest_of_each(queries, classed(gallery, labels, classes), k, exclude)
    expected = by_loops(queries, gallery, labels, classes, k, exclude)
    assert found.indices.tolist() == [[[row for _, row in one] for one in query] for query in expected]
    assert found.distances.tolist() == [[[far for far, _ in one] for one in query] for query in expected]


@pytest.mark.parametrize("dimension", [5, 40, 64])
@pytest.mark.parametrize("aside", [0.01, 0.1, 1])
def test_of_many_rows_the_screens_find_the_same(dimension, aside):
    labels = np.arange(6000) % 5
    gallery = normal(6000, dimension, 0)
    if clustered := aside < 1:
        # few directions tell nearly all, so that the others are screened by their length alone; where that
        # leaves something open, by all dimensions
        gallery[:, 8:] *= aside
        gallery += 20 * np.eye(5, dimension, dtype=np.float32)[labels]
    queries = gallery[:300] + 0.1 * normal(300, dimension, 1)
    ready = classed(gallery, labels, 5)
    assert (len(ready.screens) == 2) == (clustered and dimension > 5)
    exclude = np.arange(300)[:, None]
    found = nearest_of_each(queries, ready, 4, exclude)
    for label in range(5):
        rows = np.flatnonzero(labels == label)
        inside = np.where(labels[:300] == label, np.searchsorted(rows, np.arange(300)), -1)
        alone = nearest(
            torch.from_numpy(queries),
            torch.from_numpy(gallery[rows]),
            4,
            exclude=torch.from_numpy(np.where(np.isin(np.arange(300), rows), inside, -1)),
        )
        assert np.array_equal(found.indices[:, label], rows[alone.indices])
        assert np.array_equal(found.distances[:, label], alone.distances)
    whole = nearest(
        torch.from_numpy(queries), torch.from_numpy(gallery), 4, exclude=torch.from_numpy(exclude[:, 0])
    )
    indices, distances = found.of_all(4)
    assert np.array_equal(indices, whole.indices)
    assert np.array_equal(distances, whole.distances)
    one = nearest_of_each(queries[7:8], ready, 4, exclude[7:8])
    assert np.array_equal(one.indices[0], found.indices[7])
    assert np.array_equal(one.distances[0], found.distances[7])


def test_a_class_without_rows_among_many_has_no_neighbours():
    gallery = normal(module.MANY, module.NARROW, 0)
    labels = np.where(np.arange(len(gallery)) % 2, 2, 0)
    found = nearest_of_each(gallery[:3], classed(gallery, labels, 3), 2)
    assert (found.indices[:, 1] == -1).all()
    assert np.isinf(found.distances[:, 1]).all()
    assert found.indices[[0, 1, 2], [0, 2, 0], 0].tolist() == [0, 1, 2]


def test_many_copies_are_found_by_their_index():
    gallery = np.zeros((3000, 2), np.float32)
    gallery[1500:] = 1
    labels = np.zeros(3000, np.int64)
    found = nearest_of_each(
        np.zeros((2, 2), np.float32), classed(gallery, labels, 1), 5, np.array([[0], [3]])
    )
    assert found.indices[:, 0].tolist() == [[1, 2, 3, 4, 5], [0, 1, 2, 4, 5]]
    with pytest.raises(UsageError, match="32 neighbours and 1 left out: expected 32 at most together"):
        nearest_of_each(np.zeros((1, 2), np.float32), classed(gallery, labels, 1), 32, np.array([[0]]))
    deep = nearest_of_each(np.zeros((1, 2), np.float32), classed(gallery, labels, 1, copies=50), 50)
    assert deep.indices[0, 0].tolist() == list(range(50))


def test_where_float32_is_not_multiplied_as_such_the_screen_is_finer(monkeypatch):
    monkeypatch.setattr(module, "multiplies_in_float32", lambda _: False)
    gallery, labels = normal(500, 6, 0), np.arange(500) % 2
    ready = classed(gallery, labels, 2)
    assert [screen.slab.factors.dtype for screen in ready.screens] == [torch.float64]
    found = nearest_of_each(gallery[:3], ready, 1)
    assert [found.indices[row, row % 2, 0] for row in range(3)] == [0, 1, 2]


def test_of_all_is_padded_where_there_are_no_more():
    found = nearest_of_each(normal(1, 2, 0), classed(normal(2, 2, 1), np.array([0, 1]), 2), 1)
    indices, distances = found.of_all(4)
    assert indices[0, 2:].tolist() == [-1, -1]
    assert np.isinf(distances[0, 2:]).all()


@pytest.mark.parametrize(
    ("gallery", "labels", "error", "message"),
    [
        (np.empty((0, 2), np.float32), np.empty(0, np.int64), UsageError, "has nothing to be found"),
        (normal(2, 2, 0), np.array([0, 3]), UsageError, "labels of 2 rows: expected 2 of 0 to 1"),
        (normal(2, 2, 0), np.array([0]), UsageError, "labels of 1 rows"),
        (np.array([[np.nan]], np.float32), np.array([0]), DataError, "gallery holds a value that is not fin"),
    ],
)
def test_a_gallery_that_cannot_be_searched_is_refused(gallery, labels, error, message):
    with pytest.raises(error, match=message):
        unwrap(classed)(gallery, labels, 2)


def test_queries_that_cannot_be_searched_for_are_refused():
    ready = classed(normal(3, 2, 0), np.zeros(3, np.int64), 1)
    for queries, k, error, message in (
        (normal(1, 2, 0), 0, UsageError, "k = 0 neighbours"),
        (normal(1, 3, 0), 1, UsageError, "queries of dimension 3 in a gallery of dimension 2"),
        (np.full((1, 2), np.inf, np.float32), 1, DataError, "queries hold a value that is not finite"),
        (np.full((1, 2), 3e38, np.float32), 1, DataError, "lie farther apart than float32 can tell"),
    ):
        with pytest.raises(error, match=message):
            unwrap(nearest_of_each)(queries, ready, k)


def test_distances_beyond_float32_are_refused():
    gallery = np.array([[3e38], [0]], np.float32)
    with pytest.raises(DataError, match="farther apart than float32 can tell"):
        nearest_of_each(np.array([[-3e38]], np.float32), classed(gallery, np.array([0, 1]), 2), 1)
