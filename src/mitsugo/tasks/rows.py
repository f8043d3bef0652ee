"""Rows of any numbers, as scikit-learn hands them around, become images."""

# ruff: noqa: N803 - X is what scikit-learn calls it

import dataclasses
import numbers
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from ..errors import DataError, UsageError
from ..model.bundle import Model
from ..recipes import RECIPES, Recipe
from ..settings import changed, named, remade
from ..shapes import Int64, UInt8
from ..values import Embeddings, LabeledImages, Split

__all__ = [
    "Data",
    "Shape",
    "images_of",
    "is_count",
    "pixels_of",
    "range_of",
    "recipe_for",
    "rows_of",
    "seed_of",
    "shape_of",
    "voting",
    "words",
]

Data = Any
"""Arrays, lists or data frames; as a parameter what `fit` will refuse, as scikit-learn wants it."""
Shape = tuple[int, int, int]
Range = tuple[np.ndarray | np.float64, np.ndarray | np.float64]
WHITE = 255
IN_COLOUR = (1, 3)
TOGETHER = 4096
"""Rows that are mapped at once."""
IN_SPACE = ("shift", "rotation", "scale", "shear", "erase", "flip_horizontal", "flip_vertical")
"""Augmentation that moves pixels."""


def rows_of(X: Data) -> tuple[Data, Shape | None]:
    """Return X as rows, and the shape of an image where X holds images; colour comes first in both."""
    if getattr(X, "ndim", 3) <= 2:
        return X, None
    array = np.asarray(X)
    if array.ndim <= 2:
        return X, None
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4:
        raise DataError(
            f"X is {words(array.shape)}, expected rows (n, features) or images (n, h, w), (n, c, h, w) or "
            f"(n, h, w, 3)"
        )
    if array.shape[1] not in IN_COLOUR and array.shape[3] in IN_COLOUR:
        array = np.moveaxis(array, 3, 1)
    count, channels, height, width = array.shape
    return array.reshape(count, channels * height * width), (channels, height, width)


def shape_of(asked: Data, found: Shape | None, features: int) -> Shape:
    """Return the shape of an image: the images' own, what rows are folded to, or that of a row."""
    if asked is None:
        return found or (1, 1, features)
    if np.ndim(asked) != 1 or len(asked) not in {2, 3} or not all(map(is_count, asked)):
        raise UsageError(f"image_shape {asked}: expected (h, w) or (c, h, w)")
    channels, height, width = map(int, (1, *asked)[-3:])
    if found is not None and found != (channels, height, width):
        raise UsageError(f"image_shape {asked}: X holds images of {words(found)}; leave it out")
    if channels * height * width != features:
        raise UsageError(
            f"image_shape {asked}: {channels * height * width} values, but a row of X has {features}"
        )
    return channels, height, width


def range_of(rows: np.ndarray, *, is_image: bool) -> Range:
    """Return the values that become 0 and 255: of uint8 themselves, else the least and the greatest.

    An image has one range, so that its pixels can be compared; values that are no image have one a column.
    """
    if rows.dtype == np.uint8:
        return np.float64(0), np.float64(WHITE)
    axis = None if is_image else 0
    return np.float64(rows.min(axis=axis)), np.float64(rows.max(axis=axis))


def pixels_of(rows: np.ndarray, value_range: Range) -> UInt8[np.ndarray, "n f"]:
    """Return rows in 256 shades of a range; where it is but a point, in none.

    >>> pixels_of(np.array([[-9.0, 0.0, 0.5, 1.0]]), (np.float64(0), np.float64(1))).tolist()
    [[0, 0, 128, 255]]
    """
    low, high = value_range
    if rows.dtype == np.uint8 and np.all(low == 0) and np.all(high == WHITE):
        return rows
    span = high / 2 - low / 2  # halved, for the whole may be more than a number holds
    pixels = np.empty(rows.shape, np.uint8)
    for start in range(0, len(rows), TOGETHER):
        some = np.clip(rows[start : start + TOGETHER].astype(np.float64), low, high) / 2 - low / 2
        shares = np.divide(some, span, out=np.zeros_like(some), where=span > 0)
        pixels[start : start + TOGETHER] = np.rint(WHITE * shares)
    return pixels


def images_of(
    pixels: UInt8[np.ndarray, "n c h w"], labels: Int64[np.ndarray, " n"], names: tuple[str, ...]
) -> LabeledImages:
    """Return all rows as training images, then the only images of their class once more, as positives.

    Behind them stands one of each class again: a training needs some to read losses on, and chooses nothing
    by them.
    """
    _, first, counts = np.unique(labels, return_index=True, return_counts=True)
    rows = np.concatenate((np.arange(len(labels)), first[counts == 1], first))
    training = len(rows) - len(first)
    judged = np.arange(training, len(rows))
    return LabeledImages(
        pixels=pixels[rows],
        labels=labels[rows],
        class_names=names,
        names=tuple(f"row {row}" for row in rows.tolist()),
        split=Split(train=np.arange(training), validation=judged, test=judged, how="every row trains"),
    )


def voting(model: Model, count: int) -> Model:
    """Return the model with the first images of its gallery alone: each row of `fit` votes once."""
    whole = model.gallery
    gallery = Embeddings(
        vectors=whole.vectors[:count],
        labels=whole.labels[:count],
        class_names=whole.class_names,
        names=whole.names[:count],
        fingerprint=whole.fingerprint,
    )
    return dataclasses.replace(model, gallery=gallery)


def recipe_for(estimator: Data, *, is_image: bool) -> Recipe:
    """Return the recipe with the estimator's changes; where rows are no images it is one for rows."""
    recipe = estimator.recipe if isinstance(estimator.recipe, Recipe) else named(str(estimator.recipe))
    asked = {name: getattr(estimator, name) for name in ("epochs", "dimension", "margin")}
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in asked.items()}
    recipe = changed(recipe, **plain)
    if is_image or recipe.batches == "none":
        return recipe
    if recipe.network != "mlp":
        hidden = RECIPES["article"].hidden
        recipe = dataclasses.replace(recipe, network="mlp", channels=(), hidden=hidden)
    # no change of an image means anything to values that lie nowhere in space
    still = dict.fromkeys(IN_SPACE, 0.0)
    return remade({**recipe.plain(), **still}, recipe.name)


def seed_of(random_state: Data) -> int:
    """Return the seed that scikit-learn's random_state means; None is 0.

    Raises:
        UsageError: a negative number.
    """
    if random_state is None:
        return 0
    if isinstance(random_state, numbers.Integral):
        if random_state < 0:
            raise UsageError(f"random_state {random_state}: expected 0 or more")
        return int(random_state)
    return int(check_random_state(random_state).randint(1 << 31))


def is_count(value: Data) -> bool:
    """Return whether a parameter is a whole number of 1 or more."""
    return isinstance(value, numbers.Integral) and int(value) >= 1


def words(shape: Data) -> str:
    """Return a shape as words.

    >>> words((3, 8, 8))
    '3 x 8 x 8'
    """
    return " x ".join(str(size) for size in shape)
