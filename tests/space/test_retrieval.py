"""R-precision, MAP@R and recall@k against plain loops, ties and all."""

from inspect import unwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitsugo.errors import UsageError
from mitsugo.space.neighbors import nearest
from mitsugo.space.ranking import own_ranks
from mitsugo.space.retrieval import at_r, found_among


def by_loops(queries, true, gallery, labels, exclude=None):
    """R-precision and MAP@R of each query that has anything to find, by its definition."""
    found = {}
    for row, (query, label) in enumerate(zip(queries, true, strict=True)):
        left_out = -1 if exclude is None else exclude[row]
        distances = np.sqrt(np.square(gallery.astype(np.float64) - query).sum(axis=1)).astype(np.float32)
        order = [i for i in np.lexsort((np.arange(len(gallery)), distances)) if i != left_out]
        to_find = sum(labels[i] == label for i in order)
        if to_find:
            hits = [labels[i] == label for i in order[:to_find]]
            average = sum(np.mean(hits[: i + 1]) for i, hit in enumerate(hits) if hit) / to_find
            found[row] = (np.mean(hits), average)
    return found


@st.composite
def spaces(draw):
    """Small grids: full of ties and of copies."""
    side, d = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size, classes = draw(st.integers(1, 14)), draw(st.integers(1, 4))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vectors = chance.integers(0, side + 1, (size, d)).astype(np.float32) * draw(
        st.sampled_from([1, 1e-3, 7e4])
    )
    return vectors, chance.integers(0, classes, size), chance


@settings(deadline=None, max_examples=150)
@given(spaces())
def test_both_are_those_of_the_definition(space):
    gallery, labels, chance = space
    rows = chance.integers(0, len(gallery), 6)
    queries, true = gallery[rows] + np.float32(0), labels[chance.integers(0, len(labels), 6)]
    for exclude in (None, rows):
        found = at_r(queries, true, gallery, labels, exclude=exclude, seed=0)
        expected = by_loops(queries, true, gallery, labels, exclude)
        assert found.rows.tolist() == sorted(expected)
        assert found.to_find == len(expected)
        for place, row in enumerate(found.rows.tolist()):
            assert (found.r_precision[place], found.map_at_r[place]) == pytest.approx(expected[row])


def test_random_vectors_by_the_definition():
    chance = np.random.default_rng(2)
    gallery = chance.normal(size=(300, 8)).astype(np.float32)
    labels = chance.integers(0, 5, 300)
    everyone = np.arange(300)
    found = at_r(gallery, labels, gallery, labels, exclude=everyone, seed=0)
    expected = by_loops(gallery, labels, gallery, labels, everyone)
    assert found.map_at_r == pytest.approx([expected[row][1] for row in range(300)])


def test_ranks_are_those_of_nearest():
    chance = np.random.default_rng(3)
    gallery = np.repeat(chance.normal(size=(40, 4)), 3, axis=0).astype(np.float32)  # each three times
    labels = chance.integers(0, 3, 120)
    order = nearest(*map(_tensor, (gallery, gallery)), 119).indices
    for own in own_ranks(gallery, labels, gallery, labels, chunk_bytes=4_000):
        ranks = np.flatnonzero(labels[order[own.row]] == labels[own.row]) + 1
        assert own.ranks.tolist() == ranks[ranks <= own.to_find].tolist()


def test_a_class_that_is_not_there_has_no_rank():
    points = np.zeros((2, 1), dtype=np.float32)
    (own,) = own_ranks(points[:1], np.array([7]), points, np.array([0, 1]))
    assert (own.to_find, own.ranks.tolist(), own.measured) == (0, [], 0)


def _tensor(array):
    import torch

    return torch.from_numpy(array)


def test_a_copy_of_oneself_is_found_and_oneself_is_not():
    line = np.array([[0.0], [0.0], [5.0]], dtype=np.float32)
    labels = np.array([0, 0, 1])
    found = at_r(line, labels, line, labels, exclude=np.arange(3), seed=0)
    assert (found.rows.tolist(), found.map_at_r.tolist()) == ([0, 1], [1.0, 1.0]), "the third is alone"


def test_of_too_many_queries_a_sample_is_asked():
    chance = np.random.default_rng(0)
    gallery = chance.normal(size=(50, 2)).astype(np.float32)
    queries = chance.normal(size=(3_000, 2)).astype(np.float32)
    labels, true = chance.integers(0, 2, 50), chance.integers(0, 2, 3_000)
    some = at_r(queries, true, gallery, labels, seed=0, work=1_000)
    assert len(some.rows) <= 1_000
    assert some.to_find == 3_000
    assert np.array_equal(some.rows, at_r(queries, true, gallery, labels, seed=0, work=1_000).rows)
    assert not np.array_equal(some.rows, at_r(queries, true, gallery, labels, seed=1, work=1_000).rows)
    whole = at_r(queries, true, gallery, labels, seed=0)
    assert np.array_equal(whole.map_at_r[some.rows], some.map_at_r)


def test_where_only_ties_are_to_be_measured_the_work_is_bounded():
    points = np.zeros((2_000, 2), dtype=np.float32)
    labels = np.arange(2_000) % 2
    found = at_r(points, labels, points, labels, seed=0, work=10)
    assert 1 <= len(found.rows) < 10
    assert found.to_find == 2_000


def test_recall_by_a_loop_and_beyond_what_was_searched():
    same = np.random.default_rng(0).random((20, 5)) < 0.2
    for k in range(1, 6):
        assert found_among(same, k).tolist() == [any(row[:k]) for row in same.tolist()]
    for k in (0, 6):
        with pytest.raises(UsageError, match=f"recall at {k} of 5 neighbours; expected 1 to 5"):
            found_among(same, k)


def test_labels_that_do_not_fit_are_refused():
    points = np.zeros((3, 2), dtype=np.float32)
    with pytest.raises(UsageError, match="2 labels of 3 queries, 3 of 3 gallery images"):
        unwrap(at_r)(points, np.zeros(2, int), points, np.zeros(3, int), seed=0)
