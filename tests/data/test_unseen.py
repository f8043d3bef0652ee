import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitsugo.data.unseen import held_out_classes
from mitsugo.errors import UsageError


def held(labels, units=None, share=0.2, seed=0, testable=None):
    labels = np.array(labels, np.int64)
    units = np.arange(len(labels)) if units is None else np.array(units, np.int64)
    names = [f"class {c}" for c in range(int(labels.max()) + 1)]
    testable = None if testable is None else np.array(testable)
    return held_out_classes(labels, units, names, share, seed, testable).tolist()


@pytest.mark.parametrize(
    ("classes", "share", "expected"),
    [(4, 0.2, 2), (4, 0.9, 2), (10, 0.2, 2), (10, 0.25, 3), (10, 0.24, 2), (10, 0.95, 8), (100, 0.2, 20)],
)
def test_the_rounded_share_of_the_classes_but_two_on_either_side(classes, share, expected):
    assert len(held(np.arange(2 * classes) // 2, share=share)) == expected


def test_a_class_of_one_image_is_never_held_out():
    labels = [0, *range(1, 6), *range(1, 6)]
    assert all(0 not in held(labels, share=0.9, seed=seed) for seed in range(20))


def test_only_what_may_be_tested_is_held_out():
    may = [True, False, True, False, True, False]
    for seed in range(10):
        assert set(held(np.arange(12) // 2, share=0.5, seed=seed, testable=may)) == {0, 2, 4}


@settings(max_examples=150, deadline=None)
@given(
    images=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 20)), min_size=1, max_size=50),
    share=st.sampled_from([0.2, 0.5, 0.8]),
    seed=st.integers(0, 99),
)
def test_classes_that_share_a_unit_stay_together(images, share, seed):
    labels, units = [label for label, _ in images], [unit for _, unit in images]
    try:
        out = held(labels, units, share, seed)
    except UsageError:
        return
    assert out == sorted(out)
    assert 2 <= len(out) <= len(set(labels)) - 2
    assert all(labels.count(label) > 1 for label in out)
    for unit in set(units):
        assert len({label in out for label, its in images if its == unit}) == 1


def test_bound_classes_are_taken_whole_where_nothing_smaller_will_do():
    # classes 0, 1, 2 share a unit and 3, 4, 5 another: a fifth of six is one, at least two, so three it is
    labels, units = np.arange(12) // 2, [0, 1, 0, 2, 0, 3, 4, 5, 4, 6, 4, 7]
    assert {tuple(held(labels, units, seed=seed)) for seed in range(20)} == {(0, 1, 2), (3, 4, 5)}


def test_the_draw_hangs_on_class_names_and_seed_alone():
    labels = np.arange(40) // 2
    names = [f"class {c}" for c in range(20)]
    order = np.random.default_rng(0).permutation(20)
    place = np.argsort(order)
    one = held_out_classes(labels, np.arange(40), names, 0.3, 4)
    other = held_out_classes(place[labels], np.arange(40), [names[c] for c in order], 0.3, 4)
    assert {names[c] for c in one} == {names[order[c]] for c in other}
    assert held(labels, share=0.3, seed=4) != held(labels, share=0.3, seed=5)


@pytest.mark.parametrize(
    ("labels", "able"), [([0, 0, 1, 1, 2, 2], "3 of 3"), ([0, 0, 1, 1, 2, 2, 3], "3 of 4")]
)
def test_too_few_classes(labels, able):
    with pytest.raises(
        UsageError,
        match=f"--split unseen-classes: {able} classes have two images or more to test on, expected two of "
        f"them and two others to train on: collect more classes, or take --split stratified",
    ):
        held(labels)


def test_too_few_classes_in_the_test_part():
    with pytest.raises(UsageError, match="1 of 5 classes have two images"):
        held(np.arange(10) // 2, testable=[True, False, False, False, False])


def test_groups_that_bind_all_classes():
    with pytest.raises(
        UsageError,
        match=r"groups and equal images bind 5 of 5 classes together \(class .*\), so that no two can be "
        r"held out whole; take --split stratified",
    ):
        held(np.arange(10) // 2, [0, 1] * 5)
