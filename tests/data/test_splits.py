import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitsugo.data.splits import article_split, carved_split, stratified_split
from mitsugo.errors import DataError, UsageError
from mitsugo.values import LabeledImages, Split


def labeled(labels: list[int], split: Split | None = None) -> LabeledImages:
    return LabeledImages(
        pixels=np.zeros((len(labels), 1, 1, 1), np.uint8),
        labels=np.array(labels, np.int64),
        class_names=tuple(str(c) for c in range(max(labels, default=0) + 1)),
        names=tuple(str(i) for i in range(len(labels))),
        split=split,
    )


@settings(max_examples=200, deadline=None)
@given(
    labels=st.lists(st.integers(0, 6), max_size=80),
    share_in_eighths=st.integers(1, 7),
    seed=st.integers(0, 2**40),
)
def test_every_class_gives_its_rounded_share(labels, share_in_eighths, seed):
    train, test = stratified_split(np.array(labels, np.int64), share_in_eighths / 8, seed)
    assert train.tolist() == sorted(train.tolist())
    assert test.tolist() == sorted(test.tolist())
    assert sorted(train.tolist() + test.tolist()) == list(range(len(labels)))
    for one_class in set(labels):
        count = labels.count(one_class)
        rounded = (2 * count * share_in_eighths + 8) // 16  # half up, in whole numbers
        expected = min(max(rounded, 1), count - 1)
        assert sum(labels[i] == one_class for i in test.tolist()) == expected


@pytest.mark.parametrize(
    ("count", "share", "in_test"),
    [(1, 0.9, 0), (2, 0.01, 1), (2, 0.99, 1), (10, 0.25, 3), (10, 0.2, 2), (3, 0.99, 2)],
)
def test_how_shares_are_rounded(count, share, in_test):
    train, test = stratified_split(np.zeros(count, np.int64), share, 0)
    assert (len(train), len(test)) == (count - in_test, in_test)


def test_the_draw_depends_on_the_seed_and_on_nothing_else():
    labels = np.repeat(np.arange(5), 40)
    np.random.seed(1)  # noqa: NPY002 - the global generator is to be without effect
    one = stratified_split(labels, 0.2, 7)[1].tolist()
    np.random.seed(2)  # noqa: NPY002 - the same
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 - the same
    assert stratified_split(labels, 0.2, 7)[1].tolist() == one
    assert stratified_split(labels, 0.2, 8)[1].tolist() != one
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002 - the same


def test_every_image_is_drawn_alike():
    labels = np.repeat(np.arange(2), 5)
    drawn = np.zeros(10)
    for seed in range(2000):
        drawn[stratified_split(labels, 0.2, seed)[1]] += 1
    # Binomial(2000, 1/5): mean 400, standard deviation 17.9; five of them either side
    assert drawn.sum() == 4000
    assert 310 < drawn.min() <= drawn.max() < 490


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_out_of_range(share):
    with pytest.raises(UsageError, match="expected more than 0 and less than 1"):
        stratified_split(np.zeros(4, np.int64), share, 0)


def test_a_negative_seed():
    with pytest.raises(UsageError, match="a seed of -1: expected 0 or more"):
        stratified_split(np.zeros(4, np.int64), 0.2, -1)


def test_the_article_takes_the_sources_own_parts():
    own = Split(
        train=np.array([0, 1, 4, 5]),
        validation=np.empty(0, np.int64),
        test=np.array([2, 3]),
        how="its own parts",
    )
    split = article_split(labeled([0, 0, 0, 1, 1, 1], own), seed=3)
    assert split.train.tolist() == [0, 1, 4, 5]
    assert split.test.tolist() == [2, 3]
    assert split.validation_is_test
    assert split.how == "its own parts; validation is the test part, and nothing is chosen by it"


def test_the_article_draws_where_there_are_no_parts():
    images = labeled([0] * 10 + [1] * 5)
    split = article_split(images, seed=3)
    train, test = stratified_split(images.labels, 0.2, 3)
    assert split.train.tolist() == train.tolist()
    assert split.test.tolist() == test.tolist()
    assert (len(split.train), len(split.test)) == (12, 3)
    assert split.validation_is_test
    assert split.how == (
        "drawn with seed 3: 80 % of each class to train on, 20 % to test on; "
        "validation is the test part, and nothing is chosen by it"
    )


def test_no_images_cannot_be_split():
    with pytest.raises(DataError, match="there are no images to split"):
        article_split(labeled([]), seed=0)


def test_carved_images_come_from_each_class_of_the_training_part():
    own = Split(
        train=np.arange(34), validation=np.empty(0, np.int64), test=np.arange(34, 40), how="its parts; of old"
    )
    labels = [0] * 20 + [1] * 10 + [2] * 4 + [0, 1, 2, 0, 1, 2]
    split = carved_split(labeled(labels, own), 0.25, seed=3)
    carved = [labels[i] for i in split.validation.tolist()]
    # a quarter of 20, of 10 (2.5, rounded up) and of 4
    assert [carved.count(one_class) for one_class in range(3)] == [5, 3, 1]
    assert sorted([*split.train.tolist(), *split.validation.tolist()]) == list(range(34))
    assert split.test.tolist() == list(range(34, 40))
    assert not split.validation_is_test
    assert split.how == (
        "its parts; of old; 25% of each class of the training part, drawn with seed 3, to choose by"
    )


@settings(max_examples=100, deadline=None)
@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=80), seed=st.integers(0, 2**40))
def test_nothing_is_carved_from_a_class_of_fewer_than_four_training_images(labels, seed):
    images = labeled(labels)
    split, whole = carved_split(images, 0.1, seed), article_split(images, seed)
    assert split.test.tolist() == whole.test.tolist()
    assert sorted([*split.train.tolist(), *split.validation.tolist()]) == whole.train.tolist()
    for one_class in set(labels):
        there = int((images.labels[whole.train] == one_class).sum())
        carved = int((images.labels[split.validation] == one_class).sum())
        # a tenth, halves up, at least one
        assert carved == (0 if there < 4 else max((there + 5) // 10, 1))


def test_a_sources_own_validation_part_is_taken():
    own = Split(
        train=np.arange(6), validation=np.array([8]), test=np.array([6, 7]), how="by its maker; in 2020"
    )
    split = carved_split(labeled([0, 0, 0, 1, 1, 1, 0, 1, 0], own), 0.5, seed=0)
    parts = (split.train.tolist(), split.validation.tolist(), split.test.tolist())
    assert parts == ([0, 1, 2, 3, 4, 5], [8], [6, 7])
    assert split.how == "by its maker; in 2020"


def test_a_validation_part_that_is_the_test_part_chooses_nothing():
    test = np.array([8, 9])
    own = Split(train=np.arange(8), validation=test, test=test, how="its own")
    split = carved_split(labeled([0] * 4 + [1] * 4 + [0, 1], own), 0.25, seed=0)
    assert len(split.validation) == 2
    assert set(split.validation.tolist()) <= set(range(8))


def test_what_is_carved_hangs_on_the_seed():
    images = labeled([0] * 40 + [1] * 40)
    one, again, other = (carved_split(images, 0.2, seed).validation.tolist() for seed in (1, 1, 2))
    assert one == again != other


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_to_carve_out_of_range(share):
    with pytest.raises(UsageError, match="expected more than 0 and less than 1"):
        carved_split(labeled([0] * 8), share, 0)


def test_no_images_cannot_be_carved():
    with pytest.raises(DataError, match="there are no images to split"):
        carved_split(labeled([]), 0.1, seed=0)
