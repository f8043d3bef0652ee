import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitsugo.data import holdout
from mitsugo.data.holdout import held_out, key_order

TABLE = Path(__file__).parents[2].parent / "shared" / "data" / "bsd_patches" / "table.csv"


def names_of(n):
    return [f"{i:04d}.png" for i in range(n)]


def held(labels, units, share=0.2, seed=0, fewest=2):
    labels, units = np.array(labels, np.int64), np.array(units, np.int64)
    return held_out(labels, units, names_of(len(labels)), share, seed, fewest)


@settings(max_examples=200, deadline=None)
@given(
    images=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 15)), max_size=60),
    share=st.sampled_from([0.1, 0.2, 0.5, 0.9]),
    seed=st.integers(0, 2**40),
    fewest=st.integers(2, 5),
)
def test_no_unit_is_torn_and_no_class_is_taken_away(images, share, seed, fewest):
    labels, units = [label for label, _ in images], [unit for _, unit in images]
    out = held(labels, units, share, seed, fewest).tolist()
    for unit in set(units):
        assert len({out[i] for i in range(len(images)) if units[i] == unit}) == 1
    for label in set(labels):
        mine = [i for i in range(len(images)) if labels[i] == label]
        assert not all(out[i] for i in mine)
        if len({units[i] for i in mine}) == 1 or len(mine) < fewest:
            assert not any(out[i] for i in mine)


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=20),
    share=st.sampled_from([0.1, 0.25, 0.5]),
    seed=st.integers(0, 99),
)
def test_units_of_one_class_each_leave_every_class_on_both_sides(sizes, share, seed):
    labels = [label for label, size in sizes for _ in range(size)]
    units = [unit for unit, (_, size) in enumerate(sizes) for _ in range(size)]
    out = held(labels, units, share, seed)
    for label in set(labels):
        mine = [unit for unit, (its, _) in enumerate(sizes) if its == label]
        sides = {bool(out[units.index(unit)]) for unit in mine}
        assert sides == ({False, True} if len(mine) > 1 else {False})


@pytest.mark.parametrize(("count", "expected"), [(10, 2), (12, 2), (13, 3), (2, 1), (1, 0), (3, 1)])
def test_images_alone_fill_the_rounded_share(count, expected):
    assert held([0] * count, range(count)).sum() == expected


def test_groups_of_one_size_give_their_share():
    # two classes of 20 groups of 5: a fifth is 4 groups each
    labels, units = np.repeat([0, 1], 100), np.arange(200) // 5
    for seed in range(10):
        out = held(labels, units, 0.2, seed)
        share = [int(out[labels == label].sum()) for label in (0, 1)]
        assert all(15 <= count <= 25 for count in share)


def test_groups_give_their_own_share_and_single_images_theirs():
    # 50 images in pairs and 50 alone: about a fifth of each, not the pairs first
    units = np.concatenate((np.arange(50) // 2, np.arange(50) + 100))
    for seed in range(5):
        out = held([0] * 100, units, 0.2, seed)
        assert 8 <= out[:50].sum() <= 12
        assert out.sum() == 20


def test_what_is_one_large_unit_of_two_is_still_held_out():
    # class 1 is two groups of 10; wanted are 4, and nothing else can be had
    out = held([0] * 20 + [1] * 20, [*range(20), *[50] * 10, *[51] * 10])
    assert out[:20].sum() == 4
    assert out[20:].sum() == 10


def test_a_class_bound_to_one_that_cannot_give_stays():
    # class 0 is in unit 0 alone, which holds all of class 1's images but one
    out = held([0, 0, 1, 1, 1], [0, 0, 0, 0, 1])
    assert out.tolist() == [False, False, False, False, True]


def test_classes_that_bind_each_other_in_a_ring_cannot_all_be_tested():
    # three units, each of two classes: whatever is held out leaves each class a unit, so one at most is
    out = held([0, 1, 0, 2, 1, 2], [0, 0, 1, 1, 2, 2], 0.3)
    assert out.sum() == 2


def test_a_draw_hangs_on_names_and_seed_alone():
    generator = np.random.default_rng(0)
    labels, units = generator.integers(0, 3, 90), generator.integers(0, 40, 90)
    names, order = names_of(90), generator.permutation(90)
    one = held_out(labels, units, names, 0.3, 5)
    other = held_out(labels[order], 1000 - 7 * units[order], [names[i] for i in order], 0.3, 5)
    assert other.tolist() == one[order].tolist()
    assert held_out(labels, units, names, 0.3, 6).tolist() != one.tolist()


def test_the_order_of_keys_takes_names_of_any_bytes():
    names = ["部品.png", "b\udcff.png", "a\nb", ""]
    order = key_order(names, 1)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    assert [names[::-1][i] for i in key_order(names[::-1], 1)] == [names[i] for i in order]


def test_no_image_is_held_out_of_none():
    assert held([], []).tolist() == []


def test_units_are_held_out_about_alike():
    # 20 groups of 3: each in 4 of 20, so Binomial(400, 1/5): mean 80, standard deviation 8
    units = np.arange(60) // 3
    drawn = np.zeros(20)
    for seed in range(400):
        drawn[np.unique(units[held([0] * 60, units, 0.2, seed)])] += 1
    assert drawn.sum() == 1600
    assert 45 < drawn.min() <= drawn.max() < 115


def test_of_many_draws_the_best_is_taken(monkeypatch):
    # one class in groups of 40, 30, 20 and 10: the half is 40 + 10 or 30 + 20, not what each draw finds
    labels, units = [0] * 100, np.repeat(range(4), [40, 30, 20, 10])
    assert {int(held(labels, units, 0.5, seed).sum()) for seed in range(20)} == {50}
    monkeypatch.setattr(holdout, "MOST_DRAWS", 1)
    assert {int(held(labels, units, 0.5, seed).sum()) for seed in range(20)} > {50}


@pytest.mark.skipif(not TABLE.exists(), reason="../shared/data/bsd_patches is not there")
def test_photos_of_surfaces_by_group_keep_the_class_shares():
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = np.array([row["label"] == "ng" for row in rows], np.int64)
    groups = np.unique([row["group"] for row in rows], return_inverse=True)[1].astype(np.int64)
    names = [row["path"] for row in rows]
    assert (len(rows), groups.max() + 1, labels.sum()) == (1273, 75, 485)
    for seed in range(20):
        out = held_out(labels, groups, names, 0.2, seed)
        assert not np.intersect1d(groups[out], groups[~out]).size
        assert abs(out.mean() - 0.2) < 0.03
        assert abs(labels[out].mean() - 485 / 1273) < 0.04
