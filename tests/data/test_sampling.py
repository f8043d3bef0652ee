"""The samplers' laws: what a person can count, and what chance may do."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mitsugo.data.sampling import (
    Draw,
    fixed_pairs,
    fixed_triplets,
    gathered,
    generator_of,
    index_classes,
    random_pairs,
    random_triplets,
)
from mitsugo.errors import DataError

LABELS = np.array([0] * 5 + [1] * 3 + [2] * 2, dtype=np.int64)

label_arrays = st.lists(st.integers(2, 6), min_size=2, max_size=5).flatmap(
    lambda sizes: st.permutations([label for label, size in enumerate(sizes) for _ in range(size)])
)


def expected_positive(labels, anchor):
    return [i for i, label in enumerate(labels) if label == labels[anchor] and i != anchor]


def near(counts, expected):
    """Chi-squared under the 1 - 1e-6 quantile: the seeds are fixed, so this either always or never passes."""
    from scipy.stats import chi2

    statistic = ((counts - expected) ** 2 / expected).sum()
    return statistic < chi2.ppf(1 - 1e-6, len(counts) - 1)


@given(labels=label_arrays, seed=st.integers(0, 1000))
def test_triplets_hold_their_classes_and_every_image_is_an_anchor_once(labels, seed):
    labels = np.array(labels, dtype=np.int64)
    anchors, positives, negatives = random_triplets(index_classes(labels), generator_of(seed, 1)).indices.T
    assert sorted(anchors) == list(range(len(labels)))
    assert (labels[anchors] == labels[positives]).all()
    assert (anchors != positives).all()
    assert (labels[anchors] != labels[negatives]).all()


@given(labels=label_arrays, seed=st.integers(0, 1000))
def test_pairs_are_what_they_say(labels, seed):
    labels = np.array(labels, dtype=np.int64)
    draw = random_pairs(index_classes(labels), generator_of(seed, 1))
    ones, others = draw.indices.T
    assert sorted(ones) == list(range(len(labels)))
    assert ((labels[ones] == labels[others]) == (draw.same == 1)).all()
    assert (ones != others).all()


def test_positives_are_uniform_among_the_others_of_the_class():
    index = index_classes(LABELS)
    drawn = [random_triplets(index, generator_of(0, epoch)).indices for epoch in range(4000)]
    triplets = np.concatenate(drawn)
    for anchor in range(len(LABELS)):
        others = expected_positive(LABELS, anchor)
        positives = triplets[triplets[:, 0] == anchor, 1]
        counts = np.array([(positives == other).sum() for other in others])
        assert counts.sum() == 4000
        if len(others) > 1:
            assert near(counts, 4000 / len(others))


def test_negative_classes_are_uniform_whatever_their_size_and_negatives_uniform_within():
    index = index_classes(LABELS)
    triplets = np.concatenate([random_triplets(index, generator_of(1, e)).indices for e in range(4000)])
    negatives = triplets[LABELS[triplets[:, 0]] == 0, 2]
    classes = np.bincount(LABELS[negatives], minlength=3)
    assert classes[0] == 0
    assert near(classes[1:], len(negatives) / 2)
    within = np.bincount(negatives, minlength=10)[5:8]
    assert near(within, within.sum() / 3)


def test_half_the_pairs_are_positive():
    index = index_classes(LABELS)
    same = np.concatenate([random_pairs(index, generator_of(2, e)).same for e in range(4000)])
    assert near(np.bincount(same.astype(int)), len(same) / 2)


def test_anchors_are_shuffled_anew_each_epoch_and_the_same_for_the_same_epoch():
    index = index_classes(np.repeat(np.arange(10), 20))
    first, again, second = (random_triplets(index, generator_of(3, e)).indices for e in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:, 0], second[:, 0])
    assert not np.array_equal(first[:, 0], np.arange(200))


def test_fixed_triplets_stand_in_order_and_may_take_the_anchor_as_its_positive():
    labels = np.repeat(np.arange(10), 100)
    anchors, positives, negatives = fixed_triplets(index_classes(labels)).indices.T
    assert np.array_equal(anchors, np.arange(1000))
    assert (labels[anchors] == labels[positives]).all()
    assert (labels[anchors] != labels[negatives]).all()
    themselves = (anchors == positives).sum()
    assert 1 <= themselves <= 30  # 10 of 1,000 are expected


def test_fixed_draws_are_the_same_at_every_call():
    index = index_classes(LABELS)
    assert np.array_equal(fixed_triplets(index).indices, fixed_triplets(index).indices)
    assert np.array_equal(fixed_pairs(index).indices, fixed_pairs(index).indices)


def test_fixed_pairs_alternate():
    draw = fixed_pairs(index_classes(LABELS))
    assert draw.same.tolist() == [1, 0] * 5
    assert ((LABELS[draw.indices[:, 0]] == LABELS[draw.indices[:, 1]]) == (draw.same == 1)).all()


def test_classes_without_images_are_never_drawn():
    labels = np.array([3, 3, 7, 7], dtype=np.int64)
    negatives = random_triplets(index_classes(labels), generator_of(0, 1)).indices[:, 2]
    assert set(negatives) <= {0, 1, 2, 3}


def test_one_class_has_no_negatives():
    with pytest.raises(DataError, match="triplets need two classes or more, found 1"):
        index_classes(np.zeros(5, dtype=np.int64))


def test_a_single_image_has_no_positive():
    index = index_classes(np.array([0, 0, 1], dtype=np.int64))
    with pytest.raises(DataError, match="a single image, so it has no positive"):
        random_triplets(index, generator_of(0, 1))
    assert fixed_triplets(index).indices[2, 1] == 2


def test_batches_gather_what_was_drawn_and_keep_the_small_last_one():
    pixels = torch.arange(7, dtype=torch.uint8).reshape(7, 1, 1, 1)
    draw = Draw(indices=np.array([[0, 1, 2], [3, 4, 5], [6, 0, 1]]))
    batches = list(gathered(draw, pixels, lambda images: images.float(), batch_size=2))
    assert [[part.flatten().tolist() for part in inputs] for inputs, _ in batches] == [
        [[0, 3], [1, 4], [2, 5]],
        [[6], [0], [1]],
    ]
    assert [target for _, target in batches] == [None, None]


def test_skipped_batches_are_those_that_were_done():
    pixels = torch.arange(9, dtype=torch.uint8).reshape(9, 1, 1, 1)
    draw = Draw(indices=np.arange(18).reshape(9, 2) % 9, same=np.arange(9, dtype=np.float32) % 2)
    whole = list(gathered(draw, pixels, lambda images: images.float(), batch_size=2))
    rest = list(gathered(draw, pixels, lambda images: images.float(), batch_size=2, skip=3))
    assert len(rest) == 2
    for (one, same), (other, also) in zip(whole[3:], rest, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
        assert torch.equal(same, also)
