"""Lazy pixels look like the array that they stand for, and read no row before it is asked for."""

import numpy as np
import pytest

from mitsugo.errors import DataError
from mitsugo.values import LabeledImages, LazyPixels, picked

PIXELS = np.arange(48, dtype=np.uint8).reshape(4, 3, 2, 2)


@pytest.fixture
def asked():
    return []


@pytest.fixture
def lazy(asked):
    def read(rows):
        asked.append(rows.tolist())
        return PIXELS[rows]

    return LazyPixels(PIXELS.shape, read)


def test_it_looks_like_its_array(lazy, asked):
    assert (lazy.shape, lazy.ndim, lazy.dtype, lazy.size, len(lazy)) == (PIXELS.shape, 4, np.uint8, 48, 4)
    assert asked == []


@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        slice(1, 3),
        slice(None),
        ...,
        np.array([3, 0, 3]),
        np.array([True, False, True, False]),
        (slice(None), 1),
        (2, 0),
        (..., slice(None, None, -1)),
        (np.array([1]), 2, 1, 0),
    ],
    ids=str,
)
def test_what_is_read_is_what_the_array_holds(lazy, key):
    assert np.array_equal(lazy[key], PIXELS[key])


def test_no_row_is_read_that_was_not_asked_for(lazy, asked):
    assert np.array_equal(lazy[1:3], PIXELS[1:3])
    assert asked == [[1, 2]]
    with pytest.raises(IndexError):
        lazy[4]
    assert asked == [[1, 2]]


def test_rows_are_picked_without_reading(lazy, asked):
    some = picked(picked(lazy, np.array([3, 1, 0])), np.array([2, 0]))
    assert isinstance(some, LazyPixels)
    assert (some.shape, asked) == ((2, 3, 2, 2), [])
    assert np.array_equal(some[:], PIXELS[[0, 3]])


def test_rows_of_a_memory_map_are_read_later_and_those_of_an_array_now(tmp_path):
    PIXELS.tofile(tmp_path / "pixels")
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "r", shape=PIXELS.shape)
    rows = np.array([2, 2, 0])
    later, now = picked(mapped, rows), picked(PIXELS, rows)
    assert isinstance(later, LazyPixels)
    assert isinstance(now, np.ndarray)
    assert np.array_equal(later[...], now)


def test_other_pixels_than_promised_are_refused():
    short = LazyPixels((2, 3, 2, 2), lambda rows: PIXELS[rows][:, :1])
    with pytest.raises(
        DataError, match=r"pixels uint8 \(1, 1, 2, 2\) were read, expected uint8 \(1, 3, 2, 2\)"
    ):
        short[0]


def test_labelled_images_may_be_lazy(lazy, asked):
    images = LabeledImages(
        pixels=lazy,
        labels=np.array([0, 1, 0, 1]),
        class_names=("a", "b"),
        names=("p", "q", "r", "s"),
        groups=np.array([0, 0, 1, 1]),
        group_names=("lot 1", "lot 2"),
    )
    some = images.take(np.array([3, 0]))
    assert (asked, some.names, some.groups.tolist(), some.image_shape) == ([], ("s", "p"), [1, 0], (3, 2, 2))
    assert np.array_equal(some.pixels[0], PIXELS[3])
    with pytest.raises(DataError, match="a group lies outside the 1 group names"):
        LabeledImages(
            pixels=lazy,
            labels=images.labels,
            class_names=images.class_names,
            names=images.names,
            groups=images.groups,
            group_names=("lot 1",),
        )
