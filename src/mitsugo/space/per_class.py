"""How each class fares, and all of them as equals."""

import numpy as np

from ..shapes import Bool, Int64
from ..values.scores import ClassScore, Score
from .intervals import mean_score, share

__all__ = ["balanced_accuracy", "per_class"]


def per_class(
    true: Int64[np.ndarray, " q"],
    predicted: Int64[np.ndarray, " q"],
    class_names: tuple[str, ...],
    groups: Int64[np.ndarray, " q"] | None = None,
    *,
    seed: int,
) -> tuple[ClassScore, ...]:
    """Return the recall and the precision of every class, in the classes' order.

    Args:
        true: (q,), the classes of the images.
        predicted: (q,), what they were called.
        class_names: a name for each class.
        groups: (q,), which part or lot each image is of.
        seed: of the intervals' bootstrap.

    >>> two = per_class(np.array([0, 0, 1]), np.array([0, 1, 1]), ("a", "b"), seed=0)
    >>> [(score.recall.value, score.precision.value) for score in two]
    [(0.5, 1.0), (1.0, 0.5)]
    """
    right = true == predicted
    found = _by_class(right, true, len(class_names), groups, seed)
    called = _by_class(right, predicted, len(class_names), groups, seed)
    return tuple(
        ClassScore(name=name, recall=recall, precision=precision)
        for name, recall, precision in zip(class_names, found, called, strict=True)
    )


def balanced_accuracy(
    true: Int64[np.ndarray, " q"],
    predicted: Int64[np.ndarray, " q"],
    groups: Int64[np.ndarray, " q"] | None = None,
    *,
    seed: int,
) -> Score | None:
    """Return the mean recall of the classes that occur; None where they are equally many: it is the accuracy.

    >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]), seed=0).value  # accuracy: 0.75
    0.5
    """
    _, sizes = np.unique(true, return_counts=True)
    if len(set(sizes.tolist())) < 2:
        return None
    return mean_score((true == predicted).astype(np.float64), groups, strata=true, seed=seed)


def _by_class(
    right: Bool[np.ndarray, " q"],
    classes: Int64[np.ndarray, " q"],
    count: int,
    groups: Int64[np.ndarray, " q"] | None,
    seed: int,
) -> list[Score | None]:
    """Return the share of right ones among the images of each class, None where there are none."""
    order = np.argsort(classes, kind="stable")
    ends = np.cumsum(np.bincount(classes, minlength=count))
    return [
        share(right[rows], None if groups is None else groups[rows], seed=seed) if len(rows) else None
        for rows in np.split(order, ends[:-1])
    ]
