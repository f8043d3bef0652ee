from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitsugo.errors import DataError, UsageError
from mitsugo.space.suspects import doubts, folds_of, ranked


def line(*places):
    return np.array(places, np.float32)[:, None]


def judged(query, label, gallery, labels):
    found = doubts(query, label, gallery, labels)
    return found.score, found.says, found.neighbors


def plain_score(query, label, gallery, labels):
    """The definition, an image at a time: distances sorted, the means of the first m of each side."""
    distances = [(float(np.linalg.norm(query - row)), index) for index, row in enumerate(gallery)]
    around = sorted(distances)[:50]
    own = sorted(d for d, index in distances if labels[index] == label)[:5]
    others = [d for d, index in around if labels[index] != label][: len(own)]
    others += [around[-1][0]] * (len(own) - len(others))
    near, far = sum(own) / len(own), sum(others) / len(own)
    return near / (near + far) if near + far else 0.5


@pytest.mark.parametrize("size", [6, 40, 150])
def test_the_score_is_the_definition_written_as_loops(size):
    chance = np.random.default_rng(size)
    gallery = chance.normal(size=(size, 3)).astype(np.float32)
    labels = np.concatenate(([0, 1, 2], chance.integers(0, 3, size - 3)))
    queries = chance.normal(size=(20, 3)).astype(np.float32)
    said = chance.integers(0, 3, 20)
    score, _, near = judged(queries, said, gallery, labels)
    expected = [plain_score(q, s, gallery, labels) for q, s in zip(queries, said, strict=True)]
    np.testing.assert_allclose(score, expected, rtol=1e-6)
    first = [np.argsort(np.linalg.norm(gallery - q, axis=1), kind="stable")[:5] for q in queries]
    np.testing.assert_array_equal(near.indices, first)


def test_an_image_among_its_own_is_not_doubted_and_one_among_others_is():
    gallery, labels = line(0, 1, 2, 10, 11, 12), np.repeat([0, 1], 3)
    score, says, _ = judged(line(1, 1), np.array([0, 1]), gallery, labels)
    # its own: 0, 1, 1 away, the others 9, 10, 11; the other way round with the other label
    np.testing.assert_allclose(score, [(2 / 3) / (2 / 3 + 10), 10 / (10 + 2 / 3)])
    assert says.tolist() == [1, 0]


def test_a_scale_changes_no_score():
    chance = np.random.default_rng(0)
    gallery, labels = chance.normal(size=(30, 2)).astype(np.float32), np.arange(30) % 2
    queries, said = chance.normal(size=(9, 2)).astype(np.float32), np.arange(9) % 2
    here, there = (
        doubts(s * queries, said, s * gallery, labels).score for s in (np.float32(1), np.float32(64))
    )
    np.testing.assert_array_equal(here, there)


def test_a_class_of_few_is_measured_against_as_few_others():
    score, _, _ = judged(line(0), np.array([1]), line(3, 1, 5, 5, 5, 5), np.array([1, 0, 0, 0, 0, 0]))
    assert score.tolist() == [3 / (3 + 1)]  # its only one against the nearest other alone


def test_where_all_around_are_its_own_the_fiftieth_stands_for_the_others():
    gallery = line(*range(1, 61), 1000)
    labels = np.array([0] * 60 + [1])
    score, says, _ = judged(line(0), np.array([0]), gallery, labels)
    assert score.tolist() == [3 / (3 + 50)]  # the mean of 1 to 5, and 50 five times
    assert says.tolist() == [0]


def test_twins_with_two_labels_leave_it_open():
    score, says, _ = judged(line(0), np.array([0]), line(0, 0), np.array([0, 1]))
    assert (score.tolist(), says.tolist()) == ([0.5], [1])


def test_what_the_others_say_is_their_majority_and_of_equals_the_nearest():
    gallery = line(1, 2, 3, 4, 5, 90)
    for labels, said in (([1, 2, 2, 3, 3, 0], 2), ([1, 2, 2, 3, 1, 0], 1), ([1, 2, 3, 3, 3, 0], 3)):
        assert doubts(line(0), np.array([0]), gallery, np.array(labels)).says.tolist() == [said]


def test_its_own_class_never_says_anything():
    # four of its own are nearer, one other is there, and the own ones must not pad its votes
    labels = np.array([0, 0, 0, 0, 2, 0, 0, 0])
    assert doubts(line(0), np.array([0]), line(*range(1, 9)), labels).says.tolist() == [2]


def test_a_class_that_the_gallery_does_not_have_is_refused():
    with pytest.raises(
        DataError, match=r"class 7 has no image in the gallery; judge images of known classes"
    ):
        doubts(line(0), np.array([7]), line(1, 2), np.array([0, 1]))


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=20))
def test_the_ranking_falls_and_ties_keep_their_order(scores):
    order = ranked(np.array(scores, np.float64)).tolist()
    assert order == sorted(range(len(scores)), key=lambda index: (-scores[index], index))


@given(st.integers(0, 2**32), st.integers(2, 5), st.lists(st.integers(20, 40), min_size=1, max_size=4))
def test_every_fold_holds_the_same_share_of_every_class(seed, count, sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    fold = folds_of(labels, count, seed)
    for label, size in enumerate(sizes):
        inside = np.bincount(fold[labels == label], minlength=count)
        assert inside.sum() == size
        assert inside.max() - inside.min() <= 1
    assert np.ptp(np.bincount(fold, minlength=count)) <= len(sizes)


@given(st.integers(0, 2**32), st.data())
def test_what_is_bound_stays_together_and_every_class_is_known_outside(seed, data):
    n = data.draw(st.integers(1, 40))
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), np.int64)
    bound = np.array(data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n)), np.int64)
    fold = folds_of(labels, 3, seed, bound)
    for one, other in combinations(range(n), 2):
        assert bound[one] != bound[other] or fold[one] == fold[other]
    for judged_by in set(fold.tolist()) - {-1}:
        for label in set(labels[fold == judged_by].tolist()):
            assert np.sum((labels == label) & (fold != judged_by)) >= 2


def test_groups_are_dealt_out_evenly():
    # six groups of each class, of five images each
    labels, bound = np.repeat([0, 1], 30), np.repeat(np.arange(12), 5)
    fold = folds_of(labels, 3, 0, bound)
    held = [[int(np.sum((labels == label) & (fold == f))) for label in (0, 1)] for f in range(3)]
    assert held == [[10, 10]] * 3


def test_a_class_of_one_group_trains_every_model_with_all_that_is_bound_to_it():
    labels = np.array([0] * 9 + [1] * 3 + [0])
    bound = np.array([*range(9), 9, 9, 9, 9])
    fold = folds_of(labels, 3, 0, bound)
    assert fold[9:].tolist() == [-1] * 4
    # ten of class 0 make folds of 4, 3 and 3, and one of them went with class 1
    assert sorted(np.bincount(fold[:9], minlength=3).tolist()) in ([2, 3, 4], [3, 3, 3])


def test_the_same_seed_gives_the_same_folds_and_another_others():
    labels = np.zeros(60, np.int64)
    first, again, other = (folds_of(labels, 3, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_one_fold_is_none():
    with pytest.raises(UsageError, match="1 folds: expected 2 or more"):
        folds_of(np.zeros(9, np.int64), 1, 0)
