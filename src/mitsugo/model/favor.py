"""When a class that was taught wins over the one that was voted for, and what that may cost the others.

The few images of a class that was taught cannot win a vote among thousands. So it also wins where an image
lies not much farther from it than from the class that was voted for, by the mean of the nearest images of
each (`space.local_means`). How much farther is let go of, class by class, where calibration images that
were right would be lost by it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..shapes import Int64, Vectors
from ..space.classed import ClassNeighbors, classed, nearest_of_each
from ..space.local_means import to_local_means
from ..space.metrics import vote
from ..values import Calibration
from .known import Known

__all__ = ["FAVOR", "favored", "favors_of", "standing"]

FAVOR: Final = 4 / 3
"""A class that was taught wins where it is less than so many times as far as the class that was voted for:
training drew that one's images together and not the new one's. Chosen on MNIST's training digits, four of
which were taught to three models of the other six: of 20 images, 95 % of the new digit are found, and of the
known ones 0.15 % are lost."""
LEAST_FAVOR: Final = 1 / FAVOR
"""So that a lesson is never in vain: calibration images may hold what nobody knew of before it was taught."""
MOST_LOST: Final = 0.002
"""The share of calibration images that were right and may be lost to a class that was taught. With
2,400 of them 93 % of those digits were found of 20 images, and 0.11 % of the others lost."""
STRANGER: Final = 3
"""It also wins where the class that was voted for is so many times as strange; of those digits 0.02 % are."""


def standing(
    vectors: Vectors, labels: Int64[np.ndarray, " n"], near: ClassNeighbors, known: Known
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return how images stand before more is taught.

    Args:
        vectors: float32 (n, d).
        labels: int64 (n,), their classes.
        near: the nearest images of each class.
        known: what they are compared with.

    Returns:
        Whether the vote finds the class of each and it was learnt, bool (n,), and how far each is from the
        local mean of the class that was voted for, float64 (n,).
    """
    gallery = known.embeddings
    indices, _ = near.of_all(min(known.k, len(gallery)))
    voted, _ = vote(gallery.labels[indices], len(gallery.class_names))
    right: NDArray[np.bool_] = (voted == labels) & ~known.new[voted]
    rows = near.indices[np.arange(len(vectors)), voted, : known.k]
    return right, to_local_means(vectors, rows, gallery.vectors, known.within)


def favors_of(calibration: Calibration | None, known: Known) -> NDArray[np.float64]:
    """Return for each class how many times as far it may be and still win, float64 (c,); 0 if it was learnt.

    `FAVOR`, or less where more than `MOST_LOST` of the calibration images that were right would be lost to
    it, but `LEAST_FAVOR` at the least.
    """
    favors = np.where(known.new, FAVOR, 0.0)
    if calibration is None or not calibration.right.any():
        return favors
    vectors, away = calibration.kept.vectors[calibration.right], calibration.away[calibration.right]
    white = (vectors @ known.within).astype(np.float32)
    for label in np.flatnonzero(known.new).tolist():
        own = known.embeddings.vectors[known.embeddings.labels == label]
        near = nearest_of_each(vectors, classed(own, np.zeros(len(own), np.int64), 1), known.k)
        far = to_local_means(white, near.indices[:, 0], (own @ known.within).astype(np.float32), None)
        ratios = np.divide(far, away, out=np.full(len(far), np.inf), where=away > 0)
        favors[label] = np.clip(_at_most(np.sort(ratios), MOST_LOST), LEAST_FAVOR, FAVOR)
    return favors


def _at_most(ascending: NDArray[np.float64], share: float) -> float:
    """Return what a share of values to come lies below: the order statistic, or between two of them.

    >>> _at_most(np.array([0.8, 1.0, 4.0]), 0.5), _at_most(np.array([0.8, 1.0, 4.0]), 0.01)
    (1.0, 0.8)
    """
    place = share * (len(ascending) + 1) - 1
    return float(np.interp(place, np.arange(len(ascending)), np.minimum(ascending, FAVOR)))


def favored(
    vectors: Vectors,
    voted: Int64[np.ndarray, " n"],
    near: ClassNeighbors,
    scaled: NDArray[np.float64],
    known: Known,
    favors: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return the class that was voted for, or a taught one that is likelier.

    Args:
        vectors: float32 (n, d), of images.
        voted: (n,), the classes that were voted for.
        near: the nearest images of each class.
        scaled: float64 (n, c), how strange each image is to each class.
        known: what they are compared with.
        favors: float64 (c,), of each class, from `favors_of`.
    """
    doubtful = np.flatnonzero(~known.new[voted])
    if not known.new.any() or not len(doubtful):
        return voted
    gallery, asked = known.embeddings.vectors, vectors[doubtful]

    def far(labels: NDArray[np.int64] | int) -> NDArray[np.float64]:
        return to_local_means(asked, near.indices[doubtful, labels, : known.k], gallery, known.within)

    taught = np.flatnonzero(known.new)
    away = np.stack([far(label) / favors[label] for label in taught.tolist()])
    best = taught[away.argmin(axis=0)]
    nearer = away.min(axis=0) < far(voted[doubtful])
    likelier = STRANGER * scaled[doubtful, best] < scaled[doubtful, voted[doubtful]]
    winner = voted.copy()
    winner[doubtful] = np.where(nearer | likelier, best, voted[doubtful])
    return winner
