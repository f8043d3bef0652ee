import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitsugo.data.splits import article_split, carved_split, drawn_split, stratified_split
from mitsugo.errors import DataError, UsageError
from mitsugo.values import LabeledImages, Split


def labeled(labels: list[int], split: Split | None = None, groups: list[int] | None = None) -> LabeledImages:
    return LabeledImages(
        pixels=np.zeros((len(labels), 1, 1, 1), np.uint8),
        labels=np.array(labels, np.int64),
        class_names=tuple(str(c) for c in range(max(labels, default=0) + 1)),
        names=tuple(str(i) for i in range(len(labels))),
        split=split,
        groups=None if groups is None else np.array(groups, np.int64),
    )


def own_parts(train: list[int], test: list[int], validation: tuple[int, ...] = ()) -> Split:
    return Split(
        train=np.array(train, np.int64),
        validation=np.array(validation, np.int64),
        test=np.array(test, np.int64),
        how="its own parts",
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


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=60), seed=st.integers(0, 2**40))
def test_without_groups_and_twins_the_draws_are_those_of_old(labels, seed):
    images, alone = labeled(labels), np.arange(len(labels))
    for share, other in ((0.0, article_split(images, seed)), (0.2, carved_split(images, 0.2, seed))):
        one = drawn_split(images, alone, seed=seed, validation_share=share)
        assert one.how == other.how
        for part in ("train", "validation", "test"):
            assert getattr(one, part).tolist() == getattr(other, part).tolist()


def test_another_test_share():
    images = labeled([0] * 10 + [1] * 10)
    split = drawn_split(images, np.arange(20), seed=0, test_share=0.3, validation_share=0.5)
    assert (len(split.train), len(split.validation), len(split.test)) == (6, 8, 6)
    assert split.how.startswith("drawn with seed 0: 70 % of each class to train on, 30 % to test on; 50% of")


@settings(max_examples=80, deadline=None)
@given(
    images=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=60),
    share=st.sampled_from([0.0, 0.1, 0.4]),
    seed=st.integers(0, 99),
    kind=st.sampled_from(["stratified", "unseen-classes"]),
)
def test_no_unit_stands_on_two_sides_and_no_image_is_lost(images, share, seed, kind):
    labels, units = [label for label, _ in images], [unit for _, unit in images]
    try:
        split = drawn_split(
            labeled(labels, groups=units), np.array(units), seed=seed, validation_share=share, kind=kind
        )
    except UsageError:
        assert kind == "unseen-classes"
        return
    validation = [] if split.validation_is_test else split.validation.tolist()
    parts = [split.train.tolist(), validation, split.test.tolist()]
    assert sorted([i for part in parts for i in part]) == list(range(len(labels)))
    for unit in set(units):
        assert sum(any(units[i] == unit for i in part) for part in parts) == 1
    if kind == "unseen-classes":
        assert split.unseen
        assert not {labels[i] for i in split.test.tolist()} & {labels[i] for i in parts[0] + parts[1]}
    else:
        assert {labels[i] for i in split.train.tolist()} == set(labels)


def test_a_split_by_group_says_how_many():
    groups = [i // 5 for i in range(100)]  # 20 groups of 5, in two classes
    images = labeled([0] * 50 + [1] * 50, groups=groups)
    split = drawn_split(images, np.array(groups), seed=3)
    assert split.how == (
        "drawn with seed 3 by group: 16 groups to train on, 4 to test on; "
        "validation is the test part, and nothing is chosen by it"
    )
    assert split.validation_is_test
    assert not split.unseen
    assert [int((images.labels[split.test] == label).sum()) for label in (0, 1)] == [10, 10]
    carved = drawn_split(images, np.array(groups), seed=3, validation_share=0.25)
    assert carved.test.tolist() == split.test.tolist()
    assert carved.how == (
        "drawn with seed 3 by group: 16 groups to train on, 4 to test on; "
        "about 25% of the training part by group, 4 of them, to choose by"
    )
    assert (len(carved.train), len(carved.validation)) == (60, 20)


def test_equal_images_are_drawn_together_and_said_so():
    images = labeled([0] * 10 + [1] * 10)
    units = np.array([0, 0, *range(1, 19)])
    split = drawn_split(images, units, seed=0, validation_share=0.25)
    assert split.how == (
        "drawn with seed 0, equal images on one side: 80 % of each class to train on, 20 % to test on; "
        "25% of each class of the training part, drawn with seed 0, to choose by"
    )
    assert [len(part) for part in (split.train, split.validation, split.test)] == [12, 4, 4]


def test_a_class_that_is_one_group_is_named():
    groups = [0, 0, 1, 1, 2, 2, *[3] * 4]
    split = drawn_split(labeled([0] * 6 + [1] * 4, groups=groups), np.array(groups), seed=0)
    assert set(split.train.tolist()) > {6, 7, 8, 9}
    assert "to test on; not tested, as their images belong together: 1 (1); validation is" in split.how


def test_the_sources_own_parts_stay_and_are_carved_by_group():
    own = own_parts([*range(16)], [16, 17, 18, 19])
    groups = [i // 4 for i in range(16)] + [0, 4, 4, 4]  # group 0 is torn; the guard tells of it
    images = labeled([0, 1] * 10, own, groups)
    split = drawn_split(images, np.array(groups), seed=1, validation_share=0.25)
    assert split.test.tolist() == [16, 17, 18, 19]
    assert sorted([*split.train.tolist(), *split.validation.tolist()]) == list(range(16))
    assert len(set((split.validation // 4).tolist())) == 1
    assert len(split.validation) == 4
    assert split.how == "its own parts; about 25% of the training part by group, 1 of them, to choose by"


def test_a_validation_part_of_its_own_is_taken_with_groups_too():
    own = own_parts([0, 1, 2, 3], [6, 7], (4, 5))
    images = labeled([0, 1] * 4, own, groups=[0, 0, 1, 1, 2, 2, 3, 3])
    units = images.groups
    assert drawn_split(images, units, seed=1, validation_share=0.25) is own
    split = drawn_split(images, units, seed=1)
    assert split.validation.tolist() == split.test.tolist() == [6, 7]


def test_unseen_classes_are_held_out_whole():
    images = labeled([i // 4 for i in range(40)])
    split = drawn_split(images, np.arange(40), seed=2, kind="unseen-classes", validation_share=0.2)
    test, train, validation = (
        sorted(set(images.labels[part].tolist())) for part in (split.test, split.train, split.validation)
    )
    assert (len(test), len(validation), len(train)) == (2, 2, 6)  # a fifth of 10, of 8 at least two
    assert sorted(test + validation + train) == list(range(10))
    assert split.unseen
    assert split.validation_unseen
    assert split.how == (
        f"whole classes, drawn with seed 2: 8 to train on, 2 ({test[0]}, {test[1]}) to test on; "
        f"2 ({validation[0]}, {validation[1]}) to choose by"
    )


def test_few_classes_are_chosen_by_images_of_seen_classes():
    images = labeled([i // 8 for i in range(72)])  # 9 classes, of which 7 are left
    split = drawn_split(images, np.arange(72), seed=2, kind="unseen-classes", validation_share=0.25)
    assert split.unseen
    assert not split.validation_unseen
    assert [int((images.labels[split.validation] == label).sum()) for label in range(9)].count(2) == 7


def test_classes_bound_together_are_chosen_by_images_instead():
    labels = [i // 4 for i in range(40)]
    units = list(range(40))
    for label in range(8):
        units[4 * label] = 0  # classes 0 to 7 share a unit, so 8 and 9 are tested
    split = drawn_split(
        labeled(labels), np.array(units), seed=0, kind="unseen-classes", validation_share=0.25
    )
    assert split.test.tolist() == list(range(32, 40))
    assert not split.validation_unseen
    assert {labels[i] for i in split.validation.tolist()} == set(range(8))


def test_unseen_classes_without_images_to_choose_by():
    split = drawn_split(labeled([i // 4 for i in range(40)]), np.arange(40), seed=2, kind="unseen-classes")
    assert split.validation_is_test
    assert split.validation_unseen


def test_unseen_classes_of_a_source_with_parts_are_tested_on_its_test_images():
    labels = [i % 5 for i in range(40)]
    own = own_parts([*range(20)], [*range(25, 40)], (20, 21, 22, 23, 24))
    images = labeled(labels, own)
    split = drawn_split(images, np.arange(40), seed=1, kind="unseen-classes", validation_share=0.2)
    held = {labels[i] for i in split.test.tolist()}
    assert len(held) == 2
    assert split.train.tolist() == [i for i in range(20) if labels[i] not in held]
    assert split.validation.tolist() == [i for i in range(20, 25) if labels[i] not in held]
    assert split.test.tolist() == [i for i in range(25, 40) if labels[i] in held]
    assert split.how.startswith(
        "its own parts; of these whole classes, drawn with seed 1: 3 to train on, 2 ("
    )
    assert split.unseen
    assert not split.validation_unseen


@pytest.mark.parametrize(("validation", "apart"), [((4, 5), True), ((0, 1), False), ((), False)])
def test_parts_whose_classes_are_apart_stay(validation, apart):
    labels = [0, 1, 0, 1, 2, 2, 3, 3, 0, 1]
    train = [i for i in (0, 1, 2, 3, 8, 9) if i not in validation]
    own = own_parts(train, [6, 7], validation)
    split = drawn_split(
        labeled(labels, own), np.arange(10), seed=0, kind="unseen-classes", validation_share=0.4
    )
    assert split.test.tolist() == [6, 7]
    assert split.unseen
    assert split.validation_unseen == apart
    if validation:
        assert split.validation.tolist() == list(validation)
        assert split.train.tolist() == train


def test_a_validation_part_that_is_the_test_part_is_carved_anew_for_unseen_classes():
    test = tuple(range(20, 40))
    images = labeled([i % 5 for i in range(40)], own_parts([*range(20)], list(test), test))
    split = drawn_split(images, np.arange(40), seed=1, kind="unseen-classes", validation_share=0.25)
    assert set(split.validation.tolist()) < set(range(20))
    assert len(split.validation) == 3  # a quarter of four images of each of three classes


def test_few_classes_cannot_be_unseen():
    with pytest.raises(UsageError, match="--split unseen-classes: 3 of 3 classes"):
        drawn_split(labeled([0, 0, 1, 1, 2, 2]), np.arange(6), seed=0, kind="unseen-classes")


@pytest.mark.parametrize("kind", ["stratified", "unseen-classes"])
def test_draws_out_of_range(kind):
    images, units = labeled([0] * 8, groups=[0] * 8), np.arange(8)
    with pytest.raises(UsageError, match=r"a test share of 1.0: expected more than 0"):
        drawn_split(images, units, seed=0, test_share=1.0, kind=kind)
    with pytest.raises(UsageError, match=r"a validation share of 1.0: expected more than 0"):
        drawn_split(images, units, seed=0, validation_share=1.0, kind=kind)
    with pytest.raises(UsageError, match="a seed of -1: expected 0 or more"):
        drawn_split(images, units, seed=-1, kind=kind)
    with pytest.raises(DataError, match="there are no images to split"):
        drawn_split(labeled([]), np.empty(0, np.int64), seed=0, kind=kind)
