import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitsugo.data import duplicates
from mitsugo.data.duplicates import Twins, twins_of
from mitsugo.data.guard import findings, units
from mitsugo.data.splits import drawn_split
from mitsugo.errors import UsageError
from mitsugo.values import LabeledImages, Split


def labeled(labels, groups=None, split=None, pixels=None):
    return LabeledImages(
        pixels=np.zeros((len(labels), 1, 1, 1), np.uint8) if pixels is None else pixels,
        labels=np.array(labels, np.int64),
        class_names=("ok", "ng"),
        names=tuple(f"{i}.png" for i in range(len(labels))),
        groups=None if groups is None else np.array(groups, np.int64),
        split=split,
    )


def twins(equal, look=None, near=(), *, countless=False):
    return Twins(
        equal=np.array(equal, np.int64),
        look=np.array(equal if look is None else look, np.int64),
        near=np.array(near, np.int64).reshape(-1, 2),
        countless=countless,
    )


def split_of(train, test, validation=()):
    parts = (np.array(part, np.int64) for part in (train, validation, test))
    return Split(**dict(zip(("train", "validation", "test"), parts, strict=True)), how="drawn")


def joined_by_loops(n, same):
    """Merge what is the same until nothing changes."""
    numbers = list(range(n))
    for _ in range(n):
        for i in range(n):
            for j in range(n):
                if same(i, j):
                    numbers[i] = numbers[j] = min(numbers[i], numbers[j])
    seen = {}
    return [seen.setdefault(number, len(seen)) for number in numbers]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_units_are_what_groups_and_twins_join(data):
    n = data.draw(st.integers(0, 12))

    def some(most):
        return data.draw(st.lists(st.integers(0, most), min_size=n, max_size=n))

    groups = data.draw(st.none()) if data.draw(st.booleans()) else [7 * g - 3 for g in some(6)]
    equal = np.unique(some(8), return_inverse=True)[1].tolist()
    images = labeled([0] * n, groups)
    expected = joined_by_loops(
        n, lambda i, j: equal[i] == equal[j] or (groups is not None and groups[i] == groups[j])
    )
    assert units(images, twins(equal)).tolist() == expected


def test_near_images_join_only_where_asked():
    # 40 images: 0 and 1 are equal, 2 has the look of 1, and the look of 3 is near it
    equal = [0, 0, *range(1, 39)]
    look = [0, 0, 0, *range(1, 38)]
    images, found = labeled([0] * 40), twins(equal, look, [(0, 1)])
    assert units(images, found).tolist() == equal
    assert units(images, found, "near").tolist() == [0, 0, 0, 0, *range(1, 37)]


def test_a_chain_over_a_tenth_of_the_images_is_refused():
    near = [(i, i + 1) for i in range(10)]  # 11 of 110 are a tenth, 12 are more
    assert np.bincount(units(labeled([0] * 110), twins(range(110), near=near), "near")).max() == 11
    more = twins(range(110), near=[*near, (10, 11)])
    with pytest.raises(
        UsageError,
        match=r"--keep-together near: near-duplicates would chain 12 of 110 images into one that cannot be "
        r"split, expected a tenth at most: .* --group-by or a group column, and take --keep-together equal",
    ):
        units(labeled([0] * 110), more, "near")
    assert units(labeled([0] * 110), more, "equal").tolist() == list(range(110))


def test_what_groups_join_anyway_is_no_chain():
    groups = [0] * 15 + list(range(1, 16))
    images = labeled([0] * 30, groups)
    found = twins(range(30), near=[(0, 1), (20, 21)])
    assert np.bincount(units(images, found, "near")).tolist() == [15, *[1] * 5, 2, *[1] * 8]
    with pytest.raises(UsageError, match="16 of 30 images"):
        units(images, twins(range(30), near=[(0, 20)]), "near")


def test_a_handful_may_always_be_joined():
    assert units(labeled([0] * 8), twins(range(8), near=[(0, 1), (1, 2), (2, 3)]), "near").max() == 4
    with pytest.raises(UsageError, match="5 of 8 images"):
        units(labeled([0] * 8), twins(range(8), near=[(0, 1), (1, 2), (2, 3), (3, 4)]), "near")


def test_more_near_pairs_than_were_kept_are_refused():
    found = twins(range(100), near=[(0, 1)], countless=True)
    with pytest.raises(UsageError, match="2 of 100 images or more, by 1 pairs or more, into one"):
        units(labeled([0] * 100), found, "near")


def test_photos_of_a_fixed_pose_are_refused_and_others_are_not():
    generator = np.random.default_rng(0)
    scene = generator.integers(0, 200, (1, 1, 32, 32))
    fixed = np.clip(scene + generator.normal(0, 2, (60, 1, 32, 32)), 0, 255).astype(np.uint8)
    with pytest.raises(UsageError, match="would chain 60 of 60 images"):
        units(labeled([0] * 60), twins_of(fixed), "near")
    others = generator.integers(0, 256, (60, 1, 32, 32), np.uint8)
    assert units(labeled([0] * 60), twins_of(others), "near").tolist() == list(range(60))


def test_findings_count_what_is_twice():
    # equal: {0, 3, 5} under two labels, {1, 4}; the look of 2 is that of 1 and 4, and near that of 6
    images = labeled([0, 1, 0, 1, 1, 0, 0])
    found = findings(
        images,
        twins([0, 1, 2, 0, 1, 0, 3], [0, 1, 1, 0, 1, 0, 2], [(1, 2)]),
        split_of(train=[0, 1, 6], test=[2, 3, 4, 5]),
    )
    assert (found.equal_images, found.equal_sets) == (5, 2)
    assert found.equal == (("0.png", "3.png", "5.png"), ("1.png", "4.png"))
    assert (found.contradictory_images, found.contradictory_sets) == (3, 1)
    assert found.contradictory == ((("0.png", "ok"), ("3.png", "ng"), ("5.png", "ok")),)
    assert (found.near_images, found.near_pairs) == (4, 2)
    assert found.near == (("1.png", "2.png"), ("1.png", "6.png"))
    # 3, 4 and 5 have equals in training, 2 has the look of 1
    assert (found.tested, found.equal_across, found.near_across) == (4, 3, 1)
    assert (found.groups_across, found.grouped_across, found.chosen_across) == (0, 0, 0)
    assert not found.strict
    plain = json.loads(json.dumps(found.plain()))
    assert plain["equal_across"] == 3
    assert plain["contradictory"] == [[["0.png", "ok"], ["3.png", "ng"], ["5.png", "ok"]]]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_what_stands_on_both_sides_is_counted_by_loops(data):
    n = data.draw(st.integers(1, 12))

    def some(most):
        return data.draw(st.lists(st.integers(0, most), min_size=n, max_size=n))

    equal = np.unique(some(6), return_inverse=True)[1].tolist()
    looks = some(4)
    look = np.unique([looks[e] for e in equal], return_inverse=True)[1].tolist()
    pairs = st.tuples(st.integers(0, max(look)), st.integers(0, max(look))).filter(lambda p: p[0] < p[1])
    near = sorted(data.draw(st.sets(pairs, max_size=4))) if max(look) else []
    groups, part, labels = some(5), some(2), some(1)
    train, validation, test = ([i for i in range(n) if part[i] == p] for p in range(3))
    found = findings(labeled(labels, groups), twins(equal, look, near), split_of(train, test, validation))
    rest = train + validation
    alike = [i for i in test if any(equal[i] == equal[j] for j in rest)]
    close = {(a, b) for one in near for a, b in (one, one[::-1])}

    def looks_near(i, j):
        return look[i] == look[j] or (look[i], look[j]) in close

    assert found.equal_across == len(alike)
    assert found.near_across == sum(any(looks_near(i, j) for j in rest) and i not in alike for i in test)
    torn = [i for i in test if any(groups[i] == groups[j] for j in rest)]
    assert (found.groups_across, found.grouped_across) == (len({groups[i] for i in torn}), len(torn))
    assert found.chosen_across == sum(any(equal[i] == equal[j] for j in train) for i in validation)
    assert found.equal_images == sum(equal.count(e) > 1 for e in equal)
    assert found.contradictory_images == sum(
        len({labels[j] for j in range(n) if equal[j] == e}) > 1 for e in equal
    )
    assert found.near_images == sum(
        any(looks_near(i, j) and equal[i] != equal[j] for j in range(n)) for i in range(n)
    )
    assert found.strict == (not (alike or torn or found.chosen_across or found.contradictory_sets))


def test_the_lines_for_a_person():
    images = labeled([0, 1, 0, 1, 1, 0, 0], groups=[1, 2, 3, 1, 2, 4, 5])
    found = findings(
        images,
        twins([0, 1, 2, 0, 1, 0, 3], [0, 1, 1, 0, 1, 0, 2], [(1, 2)], countless=True),
        split_of(train=[0, 1], validation=[6, 5], test=[2, 3, 4]),
    )
    assert found.notes() == (
        "equal pixels: 5 images in 2 sets: 0.png = 3.png = 5.png; 1.png = 4.png",
        (
            "near-duplicates: 4 images look nearly the same as another, in more than 2 pairs: "
            "1.png ~ 2.png; 1.png ~ 6.png"
        ),
    )
    assert found.warnings() == (
        (
            "contradictory labels: 1 set of equal images under several classes: "
            "0.png (ok) = 3.png (ng) = 5.png (ok); correct the labels, or take these images out"
        ),
        (
            "leak: 2 groups on both sides of the split, with 2 of 3 test images: the scores will "
            "flatter; leave the source's own parts out and a split by group is drawn"
        ),
        (
            "leak: 2 of 3 test images are equal to one that trains or is chosen by: the scores will "
            "flatter; take them out of one of the parts"
        ),
        (
            "leak: 1 validation image equal to one that trains: choices lean on what was learnt by heart; "
            "take them out of one of the parts"
        ),
        (
            "1 of 3 test images look nearly the same as one that trains or is chosen by: if they are photos "
            "of one part, the scores will flatter; say so with --group-by or a group column, or take "
            "--keep-together near"
        ),
    )


def test_nothing_found_says_nothing():
    found = findings(labeled([0, 1, 0, 1]), twins(range(4)), split_of([0, 1], [2, 3]))
    assert found.notes() == found.warnings() == ()
    assert found.strict


def test_long_lists_are_cut_and_counted():
    images = labeled([0] * 230)
    equal = [i // 2 for i in range(220)] + [110] * 10
    found = findings(images, twins(equal), split_of([0], [1]))
    assert (found.equal_images, found.equal_sets, len(found.equal)) == (230, 111, 100)
    assert found.notes() == (
        "equal pixels: 230 images in 111 sets: 0.png = 1.png; 2.png = 3.png; 4.png = 5.png; …",
    )
    many = findings(labeled([0] * 9), twins([0] * 9), split_of([0], [1]))
    assert many.notes() == (
        "equal pixels: 9 images in 1 set: 0.png = 1.png = 2.png = 3.png = 4.png = 4 more",
    )


def test_names_that_are_no_text_stay_on_one_line():
    images = labeled([0, 1])
    odd = LabeledImages(
        pixels=images.pixels,
        labels=images.labels,
        class_names=("ok", "n\ng"),
        names=("a\n.png", "b\udcff.png"),
    )
    found = findings(odd, twins([0, 0]), split_of([0], [1]))
    assert "'a\\n.png' (ok) = 'b\\udcff.png' ('n\\ng')" in found.warnings()[0]
    assert not any("\n" in line for line in (*found.warnings(), *found.notes()))


def test_validation_that_is_the_test_part_is_no_leak():
    split = split_of(train=[0, 1], test=[2, 3], validation=[2, 3])
    found = findings(labeled([0, 1, 0, 1], groups=[0, 1, 2, 3]), twins([0, 1, 2, 2]), split)
    assert (found.equal_across, found.chosen_across, found.groups_across) == (0, 0, 0)


def test_a_split_by_units_leaks_nothing_where_a_random_one_does(monkeypatch):
    monkeypatch.setattr(duplicates, "MOST_ROWS", 64)
    generator = np.random.default_rng(5)
    once = generator.integers(0, 256, (150, 1, 24, 24), np.uint8)
    pixels = np.concatenate((once, once[:90], once[:30]))  # 90 of them twice or three times
    images = labeled((np.arange(270) % 150 % 2).tolist(), pixels=pixels)
    found = twins_of(pixels)
    alone = findings(images, found, drawn_split(images, np.arange(270), seed=1))
    assert 30 <= alone.equal_across <= alone.tested == 54
    assert not alone.strict
    kept = findings(images, found, drawn_split(images, units(images, found), seed=1, validation_share=0.2))
    assert kept.equal_sets == 90
    assert (kept.equal_across, kept.near_across, kept.chosen_across) == (0, 0, 0)
    assert kept.strict
