"""Names that people gave to classes, groups and parts -> numbers, in an order that a person expects."""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..shapes import Int64
from ..values import Split

__all__ = [
    "PARTS",
    "PART_OF",
    "check_class_names",
    "in_natural_order",
    "numbered",
    "one_class_refusal",
    "own_split",
]

PARTS: Final = ("train", "validation", "test")
PART_OF: Final = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}
"""What the parts of a split are called in folders and tables, in any case -> which part is meant."""


def in_natural_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names, each once, so that numbers in them count as numbers.

    Digits of any width count (２ is 2); what is still equal goes by its code points, so the order depends on
    the names alone, not on the system's language.

    >>> in_natural_order(["lot10", "lot2", "lot１", "lot2"])
    ('lot１', 'lot2', 'lot10')
    """
    return tuple(sorted(set(names), key=_natural_key))


def numbered(names: Sequence[str]) -> tuple[Int64[np.ndarray, " n"], tuple[str, ...]]:
    """Return the number of each of the n names among the different ones, and those in natural order.

    >>> numbers, names = numbered(["ok", "ng", "ok"])
    >>> numbers.tolist(), names
    ([1, 0, 1], ('ng', 'ok'))
    """
    order = in_natural_order(names)
    number = {name: i for i, name in enumerate(order)}
    return np.fromiter((number[name] for name in names), np.int64, len(names)), order


def check_class_names(names: Iterable[str], who: str) -> None:
    """Refuse two names that are one to the eye: the same letters, composed and decomposed (Unicode NFC, NFD).

    Names that differ in case are two classes.

    Raises:
        DataError: there are such two; `who` and both are named.
    """
    seen: dict[str, str] = {}
    for name in names:
        twin = seen.setdefault(unicodedata.normalize("NFC", name), name)
        if twin != name:
            raise DataError(
                f"{who}: two classes look the same, {twin!a} and {name!a}: one spelling of the name is "
                f"composed, the other decomposed (Unicode NFC, NFD); give them one spelling, or two names"
            )


def one_class_refusal(who: str, name: str, count: int, where: str) -> DataError:
    """Return the error that says why `count` photos of one class are not enough, and what to collect."""
    return DataError(
        f"{who}: holds photos of one class only ({name}, {count:,}): triplets need two classes: "
        f"collect photos of defects, or of another class, {where}"
    )


def own_split(part_of_each: NDArray[np.int8], who: str) -> Split:
    """Return the split that a source came with; without a validation part that part is empty.

    Args:
        part_of_each: int8 (n,): 0 train, 1 validation, 2 test.
        who: the source, in a message.

    Raises:
        DataError: the training or the test part has no photos.
    """
    train, validation, test = (np.flatnonzero(part_of_each == part) for part in range(len(PARTS)))
    for name, indices in (("train", train), ("test", test)):
        if not indices.size:
            raise DataError(
                f"{who}: is divided into parts, but the {name} part has no photos: give it some, "
                f"or leave the parts out and a split is drawn"
            )
    choose = f"{validation.size:,} to choose by, " if validation.size else ""
    return Split(
        train=train,
        validation=validation,
        test=test,
        how=f"the source's own parts: {train.size:,} images to train on, {choose}{test.size:,} to test on",
    )


def _natural_key(name: str) -> tuple[tuple[tuple[str, int, str], ...], str]:
    """Return text and number in turns; a number is compared by its length, then its digits."""
    pieces = re.split("([0-9]+)", unicodedata.normalize("NFKC", name))
    turns = itertools.zip_longest(pieces[::2], (piece.lstrip("0") for piece in pieces[1::2]), fillvalue="")
    return tuple((text, len(digits), digits) for text, digits in turns), name
