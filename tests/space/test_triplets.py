import math
from inspect import unwrap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mitsugo.errors import UsageError
from mitsugo.space.triplets import active_triplets, anchors_of, chunked, valid_triplets


def by_loops(distances, labels, margin, rule):
    """The definition: every triplet is looked at."""
    rows, classes, count = distances.tolist(), labels.tolist(), len(labels)
    weights, hinges, active = [[0.0] * count for _ in rows], 0.0, 0
    for a in range(count):
        positives = [p for p in range(count) if classes[p] == classes[a] and p != a]
        negatives = [n for n in range(count) if classes[n] != classes[a]]
        for p in positives:
            for n in negatives:
                near, far = rows[a][p], rows[a][n]
                if near > far - margin and (rule == "all" or near < far):
                    weights[a][p] += 1
                    weights[a][n] -= 1
                    hinges += near - far + margin
                    active += 1
    return weights, hinges, active


def by_cubes(distances, labels, margin, rule):
    """The same with (b, b, b) tensors, d_an - margin rounded as the distances are."""
    near, far = distances[:, :, None], distances[:, None, :]
    same = labels[:, None] == labels
    itself = torch.eye(len(labels), dtype=torch.bool)
    chosen = (same & ~itself)[:, :, None] & ~same[:, None, :] & (near > far - margin)
    if rule == "semi-hard":
        chosen &= near < far
    hinges = (near.double() - far.double() + margin)[chosen].sum()
    return chosen.sum(2) - chosen.sum(1), hinges, chosen.sum()


def assert_same(found, weights, hinges, active):
    assert found.weights.tolist() == weights
    assert (found.hinges.item(), found.active.item()) == (hinges, active)


def embedded(count, seed, dimension=5):
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))


@st.composite
def batches(draw):
    """Distances that are quarters, so that ties are many and every sum is exact."""
    labels = draw(st.lists(st.sampled_from([-7, 0, 1, 2**40]), max_size=11))
    quarters = st.integers(0, draw(st.sampled_from([1, 3, 9])))
    row = st.lists(quarters, min_size=len(labels), max_size=len(labels))
    rows = draw(st.lists(row, min_size=len(labels), max_size=len(labels)))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    distances = torch.tensor(rows, dtype=dtype).view(len(labels), len(labels)) / 4
    return distances, torch.tensor(labels, dtype=torch.int64)


@settings(deadline=None, max_examples=150)
@given(
    batches(),
    st.sampled_from([0.0, 0.25, 0.5, 2.0]),
    st.sampled_from(["all", "semi-hard"]),
    st.sampled_from([None, 1, 100]),
)
def test_the_counts_are_those_of_the_definition(batch, margin, rule, chunk_bytes):
    distances, labels = batch
    found = active_triplets(distances, labels, margin, rule, chunk_bytes=chunk_bytes)
    assert_same(found, *by_loops(distances, labels, margin, rule))
    assert found.weights.dtype == distances.dtype
    assert (found.hinges.dtype, found.active.dtype) == (torch.float64, torch.int64)
    assert valid_triplets(labels) == by_loops(distances, labels, math.inf, "all")[2]


def spread(kind, count):
    numbers = torch.rand(count, count, generator=torch.Generator().manual_seed(5))
    return {
        "even": numbers,
        "over forty orders of magnitude": 10 ** (40 * numbers - 20),
        "one far outlier": torch.where(numbers > 0.98, 1e9, numbers),
        "nearly equal": 1 + numbers * 1e-6,
        "few values": (numbers * 3).round(),
        "all equal": torch.full_like(numbers, 0.3),
        "all zero": torch.zeros_like(numbers),
        "below zero": numbers - 0.5,
        "as small as numbers get": (numbers * 5).round() * 1e-45,
    }[kind]


@pytest.mark.parametrize("rule", ["all", "semi-hard"])
@pytest.mark.parametrize("margin", [0.0, 1e-30, 1e-7, 0.3, 1e6])
@pytest.mark.parametrize(
    "kind",
    [
        "even",
        "over forty orders of magnitude",
        "one far outlier",
        "nearly equal",
        "few values",
        "all equal",
        "all zero",
        "below zero",
        "as small as numbers get",
    ],
)
def test_the_counts_are_exact_however_the_distances_are_spread(kind, margin, rule):
    labels = torch.tensor([0] * 25 + [1] * 9 + [2] * 2 + [3])
    distances = spread(kind, len(labels))
    weights, hinges, active = by_cubes(distances, labels, margin, rule)
    found = active_triplets(distances, labels, margin, rule)
    assert torch.equal(found.weights, weights.float())
    assert found.active == active
    largest = distances.abs().max().item() + margin
    assert found.hinges.item() == pytest.approx(hinges.item(), rel=1e-6, abs=1e-6 * largest * active.item())


def test_a_margin_that_rounding_swallows_leaves_nothing_semi_hard():
    # 2^24 - 0.25 is 2^24 in float32: the tie is neither active nor between the two
    distances = torch.full((3, 3), 2.0**24)
    labels = torch.tensor([0, 0, 1])
    for rule in ("all", "semi-hard"):
        assert_same(active_triplets(distances, labels, 0.25, rule), [[0.0] * 3] * 3, 0.0, 0)


def test_both_counts_agree_to_the_last_triplet():
    labels = torch.arange(200) % 7
    distances = torch.cdist(embedded(200, 1), embedded(200, 1)).square()
    for rule in ("all", "semi-hard"):
        weights, _, active = active_triplets(distances, labels, 1.0, rule)
        assert weights.sum(1).abs().max().item() == 0
        assert weights.clamp_min(0).sum().item() == active.item() > 10_000


def test_the_diagonal_is_never_used():
    labels = torch.tensor([0, 1, 0, 1, 1])
    distances = torch.cdist(embedded(5, 2), embedded(5, 2))
    plain = active_triplets(distances, labels, 0.5)
    for value in (7.0, -3.0, math.inf, math.nan):
        other = active_triplets(distances.clone().fill_diagonal_(value), labels, 0.5)
        assert torch.equal(other.weights, plain.weights)
        assert other.hinges == plain.hinges


def test_the_order_of_the_batch_and_the_chunks_change_nothing():
    labels = torch.tensor([3] * 20 + [1] * 11 + [0] * 11 + [5])
    distances = torch.cdist(embedded(43, 3), embedded(43, 3))
    whole = active_triplets(distances, labels, 0.5)
    order = torch.randperm(43, generator=torch.Generator().manual_seed(4))
    for chunk_bytes in (1, 43 * 4 * 7, 1 << 40):
        mixed = active_triplets(distances[order][:, order], labels[order], 0.5, chunk_bytes=chunk_bytes)
        assert torch.equal(mixed.weights, whole.weights[order][:, order])
        assert mixed.active == whole.active
        assert mixed.hinges.item() == pytest.approx(whole.hinges.item(), rel=1e-12)


def test_a_chunk_is_as_large_as_was_asked_and_memory_is_used_again():
    anchors = anchors_of(torch.arange(100) % 4)
    works = [(len(part.rows), work) for part, work in chunked(anchors, torch.zeros(0), 100 * 4 * 30)]
    assert [rows for rows, _ in works] == [25, 25, 25, 25]
    assert {work.distances.data_ptr() for _, work in works} == {works[0][1].distances.data_ptr()}
    assert {tuple(array.shape) for _, work in works for array in work} == {(25, 100)}


def test_distances_are_left_as_they_were_and_no_gradient_runs_through_the_counts():
    distances = torch.rand(6, 6).requires_grad_()
    before = distances.detach().clone()
    found = active_triplets(distances, torch.tensor([0, 0, 1, 1, 2, 2]), 1.0)
    assert torch.equal(distances, before)
    assert not found.weights.requires_grad
    assert not found.hinges.requires_grad


def test_half_precision_is_counted_in_single():
    distances = (torch.arange(36).view(6, 6) % 5).half()
    found = active_triplets(distances, torch.tensor([0, 0, 0, 1, 1, 2]), 1.0)
    assert found.weights.dtype == torch.float32
    assert_same(found, *by_loops(distances, torch.tensor([0, 0, 0, 1, 1, 2]), 1.0, "all"))


def test_what_is_not_a_number_shows_in_the_sum():
    labels = torch.tensor([0, 0, 0, 1, 1])
    for value in (math.nan, math.inf):
        for place in ((0, 1), (0, 3)):
            distances = torch.rand(5, 5)
            distances[place] = value
            assert not active_triplets(distances, labels, 1.0).hinges.isfinite()


@pytest.mark.parametrize("labels", [[], [4], [1, 1, 1], [0, 1, 2]])
def test_a_batch_without_triplets_has_none(labels):
    count = len(labels)
    labels = torch.tensor(labels, dtype=torch.int64)
    found = active_triplets(torch.ones(count, count), labels, 1.0)
    assert_same(found, [[0.0] * count] * count, 0.0, 0)
    assert valid_triplets(labels) == 0


def test_valid_triplets_of_unequal_classes():
    # 3 anchors with 2 positives and 3 negatives, 2 with 1 and 4, 1 without a positive
    assert valid_triplets(torch.tensor([0, 1, 0, 1, 0, 9])) == 3 * 2 * 3 + 2 * 1 * 4


def test_what_cannot_be_meant_is_refused():
    labels = torch.tensor([0, 0, 1])
    with pytest.raises(UsageError, match=r"distances of shape \(3, 2\) and 3 labels"):
        active_triplets(torch.zeros(3, 2), labels, 1.0)
    with pytest.raises(UsageError, match="margin -1.0: expected a finite number of 0 or more"):
        active_triplets(torch.zeros(3, 3), labels, -1.0)
    with pytest.raises(UsageError, match="rule 'hard': expected one of all, semi-hard"):
        unwrap(active_triplets)(torch.zeros(3, 3), labels, 1.0, "hard")
