"""The sheet, read back pixel by pixel."""

import os

import numpy as np
import pytest
from PIL import Image

from mitsugo.errors import ResourceError
from mitsugo.report.augmentation import ORIGINAL_EDGE, VARIANT_EDGE, _lines, draw_augmentation


def batch(r, v, c, h, w):
    chance = np.random.default_rng(0)
    return (
        chance.integers(0, 256, (r, c, h, w), dtype=np.uint8),
        chance.integers(0, 256, (r, v, c, h, w), dtype=np.uint8),
    )


def sheet(path, originals, variants, labels=None, title="digits"):
    names = [str(row) for row in range(len(originals))] if labels is None else labels
    draw_augmentation(originals, variants, names, path, title)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def framed(found, color):
    """Corners and sizes (top, left, height, width) of what is framed in a colour, row by row."""
    mask = (found == color).all(axis=2)
    edges = np.pad(mask, 1)
    corners = mask & ~edges[:-2, 1:-1] & ~edges[1:-1, :-2]
    boxes = []
    for top, left in np.argwhere(corners):
        high, wide = int(np.argmin(edges[top + 1 :, left + 1])), int(np.argmin(edges[top + 1, left + 1 :]))
        if min(high, wide) > 6:
            boxes.append((int(top) + 3, int(left) + 3, high - 6, wide - 6))
    return boxes


def enlarged(image, times):
    """Return an image of 1 or 3 channels as RGB with each pixel as a square."""
    rgb = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)
    return rgb.repeat(times, axis=0).repeat(times, axis=1)


@pytest.mark.parametrize(
    ("c", "h", "w", "times"), [(1, 28, 28, 5), (3, 8, 8, 18), (1, 10, 30, 5), (3, 64, 40, 2)]
)
def test_every_pixel_of_a_small_image_is_a_whole_square(tmp_path, c, h, w, times):
    originals, variants = batch(3, 4, c, h, w)
    found = sheet(tmp_path / "sheet.png", originals, variants)
    first, rest = framed(found, ORIGINAL_EDGE), framed(found, VARIANT_EDGE)
    assert len(first) == 3
    assert len(rest) == 12
    assert len({left for _, left, _, _ in first}) == 1
    for boxes, pictures in ((first, originals), (rest, variants.reshape(12, c, h, w))):
        for (top, left, high, wide), image in zip(boxes, pictures, strict=True):
            assert (high, wide) == (h * times, w * times)
            assert np.array_equal(found[top : top + high, left : left + wide], enlarged(image, times))
    assert all(left > first[0][1] for _, left, _, _ in rest)


def test_a_photo_is_made_smaller_as_photos_are(tmp_path):
    originals, variants = batch(1, 2, 3, 200, 400)
    originals[:] = 0
    originals[:, 0] = 200
    found = sheet(tmp_path / "sheet.png", originals, variants)
    ((top, left, high, wide),) = framed(found, ORIGINAL_EDGE)
    assert (high, wide) == (72, 144)
    assert (found[top : top + high, left : left + wide] == (200, 0, 0)).all()
    assert len(framed(found, VARIANT_EDGE)) == 2


@pytest.mark.parametrize(("rows", "variants"), [(1, 1), (12, 8), (2, 0)])
def test_the_sheet_is_as_large_as_what_stands_on_it(tmp_path, rows, variants):
    found = sheet(tmp_path / "sheet.png", *batch(rows, variants, 1, 28, 28))
    assert len(framed(found, ORIGINAL_EDGE)) == rows
    assert len(framed(found, VARIANT_EDGE)) == rows * variants
    edge = np.concatenate(
        [part.reshape(-1) for part in (found[:20], found[-20:], found[:, :20], found[:, -20:])]
    )
    assert (edge == 255).all()
    assert found.shape[1] >= 720


def inked(found, box):
    """Return whether anything is written beside a picture, on its left."""
    top, left, high, _ = box
    return bool((found[top : top + high, : left - 3] < 128).any())


@pytest.mark.parametrize(
    "name", ["7", "打痕（大）のある連結棒の端面の写真", "_$\\frac{x$", "🚗\n" + "x" * 90]
)
def test_names_stand_beside_their_rows_and_touch_no_picture(tmp_path, name):
    found = sheet(tmp_path / "sheet.png", *batch(2, 1, 1, 28, 28), labels=[name, ""])
    first, second = framed(found, ORIGINAL_EDGE)
    assert inked(found, first)
    assert not inked(found, second)
    top, left, high, _ = first
    assert (found[top : top + high, left - 8 : left - 3] == 255).all()
    assert left < 420


def test_the_title_takes_as_many_lines_as_it_needs(tmp_path):
    pictures = batch(1, 1, 1, 28, 28)
    one = sheet(tmp_path / "one.png", *pictures, title="a title")
    many = sheet(tmp_path / "many.png", *pictures, title="a title of many words " * 8)
    assert many.shape[0] == one.shape[0] + 34 * (len(_lines("a title of many words " * 8, 46)) - 1)
    assert many.shape[1] == one.shape[1]
    assert (many[:, -25:] == 255).all()


def test_lines_break_between_words():
    assert _lines("one two three four", 9) == ["one two", "three", "four"]
    assert _lines("傷の 写真 $x$\nb c", 9) == ["傷の 写真", "$x$\\nb c"]
    assert _lines("", 9) == [""]
    assert _lines("a" * 12, 9) == ["a" * 8 + "…"]


def test_the_same_values_give_the_same_bytes(tmp_path):
    for name in ("one.png", "other.png"):
        sheet(tmp_path / name, *batch(1, 2, 1, 8, 8), labels=["良品"])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_a_sheet_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "sheet.png"
    sheet(path, *batch(1, 1, 1, 8, 8))
    old = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match=r"sheet.png: cannot be written: the disk is full"):
        sheet(path, *batch(2, 2, 1, 8, 8))
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
