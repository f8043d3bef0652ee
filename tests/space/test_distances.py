import math
from inspect import unwrap

import pytest
import torch
from torch.autograd import gradcheck

from mitsugo.errors import UsageError
from mitsugo.space.distances import (
    DISTANCES,
    cosine,
    euclidean,
    paired_euclidean,
    paired_squared_euclidean,
    squared_euclidean,
)


def rows(count, dimension, seed, dtype=torch.float64):
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def squared_by_loops(q, g):
    return [[sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) for b in g] for a in q]


def cosine_by_loops(q, g):
    def one(a, b):
        return 1 - sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    return [[one(a, b) for b in g] for a in q]


def test_each_distance_is_its_definition():
    q, g = rows(3, 5, 1), rows(4, 5, 2)
    squared = squared_by_loops(q.tolist(), g.tolist())
    assert squared_euclidean(q, g).tolist() == [pytest.approx(row) for row in squared]
    assert euclidean(q, g).tolist() == [pytest.approx([math.sqrt(d) for d in row]) for row in squared]
    assert cosine(q, g).tolist() == [pytest.approx(row) for row in cosine_by_loops(q.tolist(), g.tolist())]


def test_paired_distances_are_the_diagonal():
    a, b = rows(4, 3, 1), rows(4, 3, 2)
    squared = [squared_by_loops(a.tolist(), b.tolist())[i][i] for i in range(4)]
    assert paired_squared_euclidean(a, b).tolist() == pytest.approx(squared)
    assert paired_euclidean(a, b, under_root=0.0).tolist() == pytest.approx([math.sqrt(d) for d in squared])


def test_what_stands_under_the_root_is_the_distance_of_equal_rows():
    same = torch.ones(1, 2, dtype=torch.float64)
    assert paired_euclidean(same, same).item() == pytest.approx(math.sqrt(1e-9))


def test_squared_distances_of_small_integers_are_exact():
    q, g = torch.tensor([[3.0, -4.0], [2.0, 2.0]]), torch.tensor([[0.0, 0.0], [2.0, 2.0]])
    assert squared_euclidean(q, g).tolist() == [[25.0, 37.0], [8.0, 0.0]]


def test_what_rounding_made_negative_reads_zero():
    q = 1000 * rows(50, 64, 3, torch.float32)
    assert squared_euclidean(q, q).diagonal().min() >= 0
    assert cosine(q, q).min() >= 0


def test_equal_rows_far_from_the_origin_are_at_euclidean_distance_zero():
    q = rows(5, 64, 4, torch.float32) + 1000
    assert euclidean(q, q).diagonal().tolist() == [0.0] * 5


def test_a_vector_without_direction_is_at_right_angles_to_all():
    q = torch.tensor([[0.0, 0.0], [1e-13, 0.0]])
    assert cosine(q, torch.tensor([[1.0, 2.0], [0.0, 0.0]])).tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_gradients_are_those_of_finite_differences(name):
    q, g = rows(3, 4, 5).requires_grad_(), rows(2, 4, 6).requires_grad_()
    assert gradcheck(DISTANCES[name], (q, g))


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_gradients_are_finite_at_distance_zero_and_at_zero_vectors(name):
    q = torch.tensor([[0.0, 0.0], [1.0, 2.0], [1e-20, 0.0]], requires_grad=True)
    g = torch.tensor([[0.0, 0.0], [1.0, 2.0]], requires_grad=True)
    DISTANCES[name](q, g).sum().backward()
    assert q.grad.isfinite().all()
    assert g.grad.isfinite().all()


def test_gradients_at_distance_zero_are_zero():
    a = torch.tensor([[1.0, 2.0]], requires_grad=True)
    b = torch.tensor([[1.0, 2.0]])
    for value in (euclidean(a, b), squared_euclidean(a, b), paired_euclidean(a, b)):
        (gradient,) = torch.autograd.grad(value.sum(), a)
        assert gradient.tolist() == [[0.0, 0.0]]
    zero = torch.zeros(1, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(cosine(zero, b).sum(), zero)
    assert gradient.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_other_dimensions_are_refused(name):
    with pytest.raises(UsageError, match="queries of dimension 2 and a gallery of dimension 3"):
        unwrap(DISTANCES[name])(torch.zeros(1, 2), torch.zeros(1, 3))


def test_pairs_are_never_broadcast():
    with pytest.raises(UsageError, match=r"pairs of shapes \(1, 2\) and \(3, 2\)"):
        unwrap(paired_squared_euclidean)(torch.zeros(1, 2), torch.zeros(3, 2))


def test_nothing_against_something_is_nothing():
    for distance in DISTANCES.values():
        assert distance(torch.zeros(0, 2), torch.zeros(3, 2)).shape == (0, 3)
