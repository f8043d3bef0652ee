"""What figures and page both read out of the values: recall, confused pairs, the centres of classes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

__all__ = ["Confused", "class_centres", "confused_pairs", "most_confused", "recalls"]

MOST_CLASSES = 60
FEW_CLASSES = 12


@dataclass(frozen=True, kw_only=True)
class Confused:
    """How many images of class `true` were taken for class `predicted`, of how many."""

    true: int
    predicted: int
    count: int
    of: int


def recalls(confusion: Int64[np.ndarray, "k k"]) -> tuple[float | None, ...]:
    """Return the share of each class that was recognised, None for a class without an image.

    >>> recalls(np.array([[3, 1], [0, 0]]))
    (0.75, None)
    """
    totals = confusion.sum(axis=1).tolist()
    right = confusion.diagonal().tolist()
    return tuple(hits / total if total else None for hits, total in zip(right, totals, strict=True))


def confused_pairs(confusion: Int64[np.ndarray, "k k"], most: int) -> tuple[Confused, ...]:
    """Return at most `most` pairs of classes, those that were confused most often first.

    >>> [(pair.true, pair.predicted, pair.count) for pair in confused_pairs(np.array([[3, 1], [2, 4]]), 5)]
    [(1, 0, 2), (0, 1, 1)]
    """
    totals = confusion.sum(axis=1)
    wrong = confusion - np.diag(confusion.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(order, wrong.shape)
    return tuple(
        Confused(true=true, predicted=predicted, count=int(wrong[true, predicted]), of=int(totals[true]))
        for true, predicted in zip(rows.tolist(), columns.tolist(), strict=True)
        if wrong[true, predicted]
    )


def most_confused(confusion: Int64[np.ndarray, "k k"]) -> Int64[np.ndarray, " m"]:
    """Return the classes that a matrix shows: all up to 60, of more the 60 with the most errors, in order.

    An error counts for the class that was missed and for the one that was said. Of more than 12 classes those
    that have no image and that no image was taken for are left out.
    """
    classes = np.arange(len(confusion))
    if len(classes) > FEW_CLASSES:
        classes = np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))
    if len(classes) <= MOST_CLASSES:
        return classes
    errors = confusion.sum(axis=0) + confusion.sum(axis=1) - 2 * confusion.diagonal()
    return np.sort(np.argsort(-errors, kind="stable")[:MOST_CLASSES])


def class_centres(flat: Float32[np.ndarray, "n 2"], labels: Int64[np.ndarray, " n"]) -> dict[int, int]:
    """Return for each class that occurs the index of its image nearest to the median of its positions.

    >>> flat = np.array([[0, 0], [1, 0], [9, 0], [5, 5]], dtype=np.float32)
    >>> class_centres(flat, np.array([0, 0, 0, 2]))
    {0: 1, 2: 3}
    """
    centres = {}
    for label in np.unique(labels).tolist():
        members = np.flatnonzero(labels == label)
        away = flat[members] - np.median(flat[members], axis=0)
        centres[label] = int(members[np.square(away).sum(axis=1).argmin()])
    return centres
