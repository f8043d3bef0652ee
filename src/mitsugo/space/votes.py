"""What neighbours say of a query, and who was taken for whom."""

import numpy as np

from ..errors import DataError, UsageError
from ..shapes import Float, Int64

__all__ = ["check_classes", "confusion_matrix", "vote"]


def vote(
    labels: Int64[np.ndarray, "q k"], classes: int
) -> tuple[Int64[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    """Return the class that most of each query's neighbours have, and the share of them that have it.

    A tie goes to the class, among the tied, of the nearest neighbour.

    Args:
        labels: (q, k), the neighbours' classes, nearest first.
        classes: how many classes there are.

    Raises:
        UsageError: no neighbour to vote.
        DataError: a label that is no class.

    >>> predicted, agreement = vote(np.array([[2, 1, 1], [2, 1, 0]]), classes=3)
    >>> predicted.tolist(), agreement.round(2).tolist()
    ([1, 2], [0.67, 0.33])
    """
    k = labels.shape[1]
    if k < 1:
        raise UsageError("a vote of 0 neighbours; expected k of 1 or more")
    check_classes(labels, classes)
    votes = np.zeros(labels.shape, dtype=np.int64)
    for neighbor in range(k):
        votes += labels == labels[:, neighbor : neighbor + 1]
    # every voter knows how many agree with it, and argmax takes the first, the nearest, of the tied
    winner = votes.argmax(axis=1)
    rows = np.arange(len(labels))
    return labels[rows, winner], votes[rows, winner] / k


def confusion_matrix(
    true: Int64[np.ndarray, " n"], predicted: Int64[np.ndarray, " n"], classes: int
) -> Int64[np.ndarray, "c c"]:
    """Count the images of each true class (row) that were taken for each class (column).

    Raises:
        UsageError: not one prediction for each image.
        DataError: a label that is no class.

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    if true.shape != predicted.shape:
        raise UsageError(f"{len(true)} true labels, {len(predicted)} predictions; expected one each an image")
    check_classes(true, classes)
    check_classes(predicted, classes)
    counts = np.bincount(true * classes + predicted, minlength=classes * classes)
    return counts.astype(np.int64).reshape(classes, classes)


def check_classes(labels: Int64[np.ndarray, "..."], classes: int) -> None:
    """Refuse labels that are no class.

    Raises:
        DataError: a label below 0, or beyond the classes.
    """
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise DataError(
            f"labels run from {labels.min()} to {labels.max()}, expected 0 to {classes - 1}: an image "
            f"without a class neither votes nor is scored"
        )
