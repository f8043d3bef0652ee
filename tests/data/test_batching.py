"""Labelled batches: what an epoch holds can be counted, and chance comes by the door alone."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mitsugo.data.batching import drawing, labeled_batches, p_by_k, shuffled
from mitsugo.data.sampling import generator_of, index_classes
from mitsugo.errors import DataError

class_sizes = st.lists(st.integers(1, 30), min_size=2, max_size=8)


def indexed(sizes):
    """Classes of these sizes, one after the other."""
    return index_classes(np.repeat(np.arange(len(sizes)), sizes))


def planned(sizes, batch_size, images_per_class):
    return drawing(indexed(sizes), batch_size=batch_size, images_per_class=images_per_class)


def drawn(sizes, batch_size, images_per_class, seed=0):
    index = indexed(sizes)
    plan = drawing(index, batch_size=batch_size, images_per_class=images_per_class)
    return plan, index.labels, p_by_k(index, plan, generator_of(seed, 1))


@pytest.mark.parametrize(
    ("sizes", "batch_size", "least", "p", "k", "batches", "draws"),
    [
        # ten classes fill a batch of 200 by 20 each, and each has five parts of 20
        ([100] * 10, 200, 8, 10, 20, 5, [100] * 10),
        # parts of 4: two and one; the second class gives its part twice, so that each batch has two classes
        ([5, 3], 8, 2, 2, 4, 2, [8, 8]),
        # parts of 2: five, one, one; three places are left, and go in turn to the two that are used least
        ([10, 1, 1], 4, 2, 2, 2, 5, [10, 6, 4]),
        # 50 of each class would fill the batch, but none has more than 3
        ([3, 2], 100, 2, 2, 3, 1, [3, 3]),
        # classes smaller than K give their images again
        ([1, 1, 1], 6, 2, 3, 2, 1, [2, 2, 2]),
        # more classes than fit: two by four, five batches for ten of them
        ([4] * 10, 8, 4, 2, 4, 5, [4] * 10),
        # an odd number of parts leaves one place, and it goes to the class that is used least a head
        ([4, 4, 3], 8, 4, 2, 4, 2, [8, 4, 4]),
    ],
)
def test_what_an_epoch_holds(sizes, batch_size, least, p, k, batches, draws):
    plan = planned(sizes, batch_size, least)
    assert (plan.classes_per_batch, plan.images_per_class, plan.batches) == (p, k, batches)
    assert plan.draws.tolist() == draws


@settings(deadline=None)
@given(sizes=class_sizes, batch_size=st.integers(4, 60), least=st.integers(1, 6), seed=st.integers(0, 99))
def test_every_batch_is_p_classes_by_k_images_and_no_image_is_left_out(sizes, batch_size, least, seed):
    least = min(least, batch_size // 2)
    plan, labels, rows = drawn(sizes, batch_size, least, seed)
    p, k = plan.classes_per_batch, plan.images_per_class
    assert rows.shape == (plan.batches, p * k)
    assert p * k <= batch_size
    assert k >= least
    for row in rows:
        found = [int((labels[row] == label).sum()) for label in range(len(sizes))]
        assert sorted(found) == [0] * (len(sizes) - p) + [k] * p
    times = np.bincount(rows.reshape(-1), minlength=len(labels))
    for label, draws in enumerate(plan.draws.tolist()):
        own = times[labels == label]
        assert own.sum() == draws
        # over and over the whole class: no image comes twice more often than another
        assert (own.min(), own.max()) == (draws // len(own), -(-draws // len(own)))
    assert times.min() >= 1


@given(sizes=class_sizes, batch_size=st.integers(4, 60), least=st.integers(1, 2))
def test_no_batch_more_than_the_images_need(sizes, batch_size, least):
    plan = planned(sizes, batch_size, least)
    p, k = plan.classes_per_batch, plan.images_per_class
    parts = [math.ceil(size / k) for size in sizes]
    fewer = plan.batches - 1
    assert sum(parts) > fewer * p or max(parts) > fewer  # no room, or a class twice in a batch


def test_equal_classes_give_each_image_exactly_once():
    _, _, rows = drawn([40] * 10, 200, 8)
    assert sorted(rows.reshape(-1).tolist()) == list(range(400))


@pytest.mark.parametrize(("batch_size", "least", "needed"), [(7, 4, 8), (3, 2, 4), (1, 2, 4), (16, 16, 32)])
def test_a_batch_too_small_for_two_classes_is_refused_and_what_it_says_helps(batch_size, least, needed):
    message = (
        rf"a batch of {batch_size} holds fewer than two classes by {least} images; "
        rf"take a --batch-size of {needed} or more"
    )
    with pytest.raises(DataError, match=message):
        planned([9, 9, 9], batch_size, least)
    assert planned([9, 9, 9], needed, least).classes_per_batch == 2


def test_the_same_chance_draws_the_same_and_another_another():
    one, again, other = (drawn([30, 20, 10], 12, 2, seed)[2] for seed in (5, 5, 6))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_every_two_classes_meet_sooner_or_later():
    met = set()
    for seed in range(100):
        _, labels, rows = drawn([4] * 5, 8, 4, seed)
        met |= {pair for row in rows for pair in itertools.combinations(sorted(set(labels[row].tolist())), 2)}
    assert met == set(itertools.combinations(range(5), 2))


def test_images_of_a_class_come_in_another_order_each_epoch():
    partners = {
        frozenset(row[row < 8].tolist()) for seed in range(50) for row in drawn([8, 8], 4, 2, seed)[2]
    }
    assert len(partners) == 28  # every two of eight images


@given(images=st.integers(1, 60), batch_size=st.integers(1, 70), seed=st.integers(0, 99))
def test_shuffled_batches_hold_every_image_and_none_twice_in_one(images, batch_size, seed):
    rows = shuffled(images, batch_size, generator_of(seed, 1))
    size = min(images, batch_size)
    assert rows.shape == (-(-images // size), size)
    assert set(rows.reshape(-1).tolist()) == set(range(images))
    assert all(len(set(row)) == size for row in rows.tolist())
    assert sorted(rows.reshape(-1)[:images].tolist()) == list(range(images))


def test_shuffled_batches_are_shuffled_by_their_chance_alone():
    one, again, other = (shuffled(100, 32, generator_of(seed, 1)) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert one.reshape(-1)[:100].tolist() != list(range(100))


def test_batches_carry_the_images_and_labels_that_were_drawn():
    pixels = torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1)
    rows = np.array([[5, 0, 0], [2, 3, 1]])
    found = list(labeled_batches(rows, pixels, 10 * torch.arange(6), lambda images: images / 2))
    assert [(images.flatten().tolist(), labels.tolist()) for (images,), labels in found] == [
        ([2.5, 0, 0], [50, 0, 0]),
        ([1, 1.5, 0.5], [20, 30, 10]),
    ]


def test_batches_that_were_done_are_skipped_unprepared():
    pixels = torch.arange(8, dtype=torch.uint8).reshape(8, 1, 1, 1)
    prepared = []

    def prepare(images):
        prepared.append(images.flatten().tolist())
        return images.float()

    rows = np.arange(8).reshape(2, 4).T  # not in one piece
    list(labeled_batches(rows, pixels, torch.arange(8), prepare, skip=2))
    assert prepared == [[2, 6], [3, 7]]
