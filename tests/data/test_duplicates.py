import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mitsugo.data import duplicates
from mitsugo.data.duplicates import (
    Prints,
    equal_images,
    fingerprints,
    most_pairs,
    near_embedded,
    near_images,
    twins_of,
)
from mitsugo.errors import UsageError
from mitsugo.values import LazyPixels


def photos(count, side=32, channels=1, seed=0):
    """Random images with something in all of the 256 frequencies: noise of 24 x 24, enlarged."""
    small = np.random.default_rng(seed).integers(0, 256, (count, channels, 24, 24), np.uint8)
    return np.stack(
        [
            np.stack([np.asarray(Image.fromarray(plane).resize((side, side))) for plane in image])
            for image in small
        ]
    )


def numbered(keys):
    """Number from 0 in order of appearance, in a plain loop."""
    seen = {}
    return [seen.setdefault(key, len(seen)) for key in keys]


def prints_of(looks, visible=None):
    looks = np.array(looks, np.uint64).reshape(-1, 4)
    return Prints(
        digests=np.stack((np.arange(len(looks)), np.zeros(len(looks))), axis=1).astype(np.uint64),
        looks=looks,
        visible=np.ones(len(looks), np.bool_) if visible is None else np.array(visible, np.bool_),
    )


def pairs_by_loops(prints, numbers):
    """Return each pair of near looks, by counting the bits of every two."""
    found = set()
    rows = [sum(int(word) << (64 * k) for k, word in enumerate(look)) for look in prints.looks.tolist()]
    for i, one in enumerate(rows):
        for j, other in enumerate(rows[:i]):
            both = prints.visible[i] and prints.visible[j] and numbers[i] != numbers[j]
            if both and (one ^ other).bit_count() <= prints.allowed:
                found.add((min(numbers[i], numbers[j]), max(numbers[i], numbers[j])))
    return sorted(map(list, found))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=40))
def test_equal_pixels_share_a_number(values):
    pixels = np.array(values, np.uint8).reshape(-1, 1, 1, 1).repeat(2, axis=3)
    assert equal_images(fingerprints(pixels)).tolist() == numbered(values)


def test_one_grey_level_in_one_corner_is_another_image():
    pixels = photos(1).repeat(3, axis=0)
    pixels[1, 0, -1, -1] ^= 1
    assert equal_images(fingerprints(pixels)).tolist() == [0, 1, 0]


def test_every_planted_duplicate_is_found_in_lazy_pixels_read_in_slices(monkeypatch):
    generator = np.random.default_rng(1)
    pixels = generator.integers(0, 256, (3000, 1, 8, 8), np.uint8)
    pixels[2000:2500] = pixels[:500]
    read = []

    def some(rows):
        read.append(len(rows))
        return pixels[rows]

    monkeypatch.setattr(duplicates, "MOST_ROWS", 256)
    twins = twins_of(LazyPixels(pixels.shape, some))
    assert twins.equal[2000:2500].tolist() == list(range(500))
    assert len(set(twins.equal.tolist())) == 2500
    assert sum(read) == 3000
    assert max(read) == 256
    assert twins.equal.tolist() == equal_images(fingerprints(pixels)).tolist()


def test_large_images_are_read_a_few_at_a_time(monkeypatch):
    pixels = photos(5)
    monkeypatch.setattr(duplicates, "CHUNK_BYTES", 2 * 32 * 32)
    read = []
    lazy = LazyPixels(pixels.shape, lambda rows: (read.append(len(rows)), pixels[rows])[1])
    small = fingerprints(lazy)
    assert read == [2, 2, 1]
    monkeypatch.undo()
    whole = fingerprints(pixels)
    assert small.looks.tolist() == whole.looks.tolist()
    assert small.digests.tolist() == whole.digests.tolist()


def test_a_look_is_the_signs_of_the_lowest_frequencies():
    pixels = np.random.default_rng(2).integers(0, 256, (2, 3, 20, 17), np.uint8)
    order = sorted(
        ((down, across) for down in range(20) for across in range(17) if down + across),
        key=lambda wave: (wave[0] ** 2 + wave[1] ** 2, wave),
    )[:256]
    looks = fingerprints(pixels).looks
    for image, look in zip(pixels, looks.tolist(), strict=True):
        grey = image.astype(float).mean(axis=0)
        bits = "".join(f"{word:064b}" for word in look)
        for bit, (down, across) in zip(bits, order, strict=True):
            wave = np.outer(
                [math.cos(math.pi * down * (y + 0.5) / 20) for y in range(20)],
                [math.cos(math.pi * across * (x + 0.5) / 17) for x in range(17)],
            )
            value = (grey * wave).sum()
            assert abs(value) > 1e-3  # far from rounding, so that the sign is plain
            assert bit == str(int(value > 0))


@pytest.mark.parametrize(("side", "allowed"), [(1, 0), (8, 1), (12, 9), (28, 32), (150, 32)])
def test_small_images_have_fewer_bits_and_fewer_may_differ(side, allowed):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 1, side, side), np.uint8)
    bits = min(side * side - 1, 256)
    assert fingerprints(pixels).allowed == allowed == bits * bits // 2048


def test_brightness_and_contrast_do_not_change_a_look():
    pixels = photos(20) // 2
    brighter = pixels + 100
    assert fingerprints(brighter).looks.tolist() == fingerprints(pixels).looks.tolist()
    assert twins_of(np.concatenate((pixels, brighter))).look.tolist() == [*range(20), *range(20)]


@pytest.mark.parametrize("change", ["noise", "jpeg", "resize"])
def test_every_planted_near_duplicate_is_found_and_nothing_else(change):
    pixels = photos(120, side=64, channels=3)
    changed = pixels.astype(np.float32)
    if change == "noise":
        changed += np.random.default_rng(3).normal(0, 3, pixels.shape)
    else:
        for row, image in enumerate(pixels.transpose(0, 2, 3, 1)):
            file = io.BytesIO()
            small = Image.fromarray(image)
            if change == "jpeg":
                small.save(file, "JPEG", quality=60)
                small = Image.open(file)
            else:
                small = small.resize((48, 48)).resize((64, 64))
            changed[row] = np.asarray(small).transpose(2, 0, 1)
    both = np.concatenate((pixels, np.clip(np.rint(changed), 0, 255).astype(np.uint8)))
    twins = twins_of(both)
    found = {tuple(pair) for pair in twins.near.tolist()}
    wanted = {tuple(sorted(twins.look[[i, 120 + i]].tolist())) for i in range(120)}
    assert found == {pair for pair in wanted if pair[0] != pair[1]}
    assert not twins.countless


@pytest.mark.parametrize(
    "surface",
    [
        lambda k: np.full((32, 32), 20 * k),
        lambda k: np.repeat((np.arange(32) // (k + 1) % 2 * 200)[None], 32, axis=0),
        lambda k: np.add.outer(np.arange(32) * k, np.arange(32)) // 4,
    ],
    ids=["plain", "stripes", "slope"],
)
def test_images_with_little_in_them_match_nothing(surface):
    pixels = np.stack([surface(k) for k in range(1, 9)]).astype(np.uint8)[:, None]
    prints = fingerprints(pixels)
    assert not prints.visible.any()
    assert near_images(prints)[1].shape == (0, 2)
    assert near_images(prints)[0].tolist() == list(range(8))


def test_a_look_of_several_images_is_one_number():
    look, other, far = [5, 0, 0, 0], [4, 0, 0, 0], [2**40 - 1, 0, 0, 0]
    numbers, pairs, countless = near_images(prints_of([look, far, look, other, look]))
    assert numbers.tolist() == [0, 1, 0, 2, 0]
    assert pairs.tolist() == [[0, 2]]
    assert countless is False


def test_what_has_no_look_has_its_own_number():
    look = [5, 0, 0, 0]
    numbers, pairs, _ = near_images(prints_of([look, look, look], [True, False, True]))
    assert numbers.tolist() == [0, 1, 0]
    assert pairs.tolist() == []


@settings(max_examples=40, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 3), st.sets(st.integers(0, 255), max_size=40)), max_size=25),
    hidden=st.integers(0, 30),
)
def test_all_near_pairs_of_a_few_are_found(flips, hidden):
    bases = np.random.default_rng(9).integers(0, 2**64, (4, 4), np.uint64)
    looks = []
    for base, bits in flips:
        look = bases[base].copy()
        for bit in bits:
            look[bit // 64] ^= np.uint64(1 << (bit % 64))
        looks.append(look)
    prints = prints_of(looks, [row != hidden for row in range(len(looks))])
    numbers, pairs, _ = near_images(prints)
    assert pairs.tolist() == pairs_by_loops(prints, numbers.tolist())


def test_of_many_looks_the_near_ones_are_found_in_sorted_orders(monkeypatch):
    monkeypatch.setattr(duplicates, "EXACT", 100)
    monkeypatch.setattr(duplicates, "COMPARISONS", 0)
    generator = np.random.default_rng(4)
    looks = generator.integers(0, 2**64, (4000, 4), np.uint64)
    looks[2000:] = looks[:2000]
    for row in range(2000, 4000):
        # 30 of the 64 highest frequencies change: the 12 orders that begin below them still see a neighbour
        for bit in generator.choice(64, 30, replace=False).tolist():
            looks[row, 3] ^= np.uint64(1 << bit)
    numbers, pairs, countless = near_images(prints_of(looks))
    assert numbers.tolist() == list(range(4000))
    assert pairs.tolist() == [[row, row + 2000] for row in range(2000)]
    assert countless is False


def test_near_pairs_do_not_hang_on_the_order_of_the_images(monkeypatch):
    monkeypatch.setattr(duplicates, "EXACT", 10)
    pixels = np.concatenate((photos(40), np.clip(photos(40), 4, 250)))
    order = np.random.default_rng(0).permutation(80)
    there, shuffled = twins_of(pixels), twins_of(pixels[order])

    def images_of(twins, rows):
        first = np.unique(twins.look, return_index=True)[1]
        return sorted(sorted(rows[first[pair]].tolist()) for pair in twins.near)

    firsts = {}
    for row in range(80):
        firsts.setdefault(int(there.look[row]), row)
    plain = np.array([firsts[int(there.look[row])] for row in range(80)])
    assert images_of(shuffled, plain[order]) == images_of(there, plain)
    assert len(there.near) > 10


def test_pairs_without_end_are_cut_and_said_so(monkeypatch):
    assert most_pairs(10) == 4_000_000
    assert most_pairs(1_000_000) == 16_000_000
    monkeypatch.setattr(duplicates, "most_pairs", lambda n: 5)
    near = [[1 << bit, 0, 0, 0] for bit in range(12)]
    numbers, pairs, countless = near_images(prints_of(near))
    assert len(numbers) == 12
    assert len(pairs) == 5
    assert countless is True
    monkeypatch.setattr(duplicates, "EXACT", 4)
    assert len(near_images(prints_of(near))[1]) == 5


def test_no_images():
    twins = twins_of(np.empty((0, 1, 8, 8), np.uint8))
    assert twins.equal.tolist() == twins.look.tolist() == twins.near.tolist() == []


def test_near_embeddings_lie_much_closer_than_neighbours_do():
    # the nearest are 10, 10, 10, 1 and 1 away: the median is 10, and 1 is less than a quarter of it
    vectors = np.array([[0, 0], [10, 0], [20, 0], [40, 0], [41, 0]], np.float32)
    assert near_embedded(vectors).tolist() == [[3, 4]]
    assert near_embedded(vectors, closeness=1.01).tolist() == [[0, 1], [1, 2], [3, 4]]
    assert near_embedded(vectors[:1]).shape == (0, 2)


@pytest.mark.parametrize("closeness", [0.0, -1.0, math.nan])
def test_a_closeness_out_of_range(closeness):
    with pytest.raises(UsageError, match="expected more than 0"):
        near_embedded(np.zeros((3, 2), np.float32), closeness)
