"""Whether the classes can be found without their names: k-means, and what it has in common with them."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from ..shapes import Float, Int64
from ..values import Score
from .intervals import halved

__all__ = ["adjusted_mutual_information"]

STARTS = 5
"""From so many seeds k-means is started."""


def adjusted_mutual_information(
    vectors: Float[np.ndarray, "n d"],
    labels: Int64[np.ndarray, " n"],
    groups: Int64[np.ndarray, " n"] | None = None,
    *,
    seed: int,
) -> Score:
    """Return the AMI of the classes and of as many clusters found by k-means, the mean over 5 seeds.

    AMI = (MI - E[MI]) / (mean entropy of both - E[MI]): 1 where clusters are classes, 0 on average by
    chance (Vinh, Epps and Bailey, 2010). k-means (Lloyd, started by k-means++) takes k from the classes that
    occur. The interval is the spread over seeds of random halves, see `halved`: each seed has its own half
    and its own start.

    Raises:
        UsageError: fewer than two classes, in all or in a half of them, or fewer than 4 groups.
        DataError: a value that is not finite.

    >>> line = np.concatenate([np.arange(8.0), 100 + np.arange(8.0)])[:, None]
    >>> score = adjusted_mutual_information(line, np.repeat([0, 1], 8), seed=0)
    >>> score.value, score.n
    (1.0, 16)
    """
    if not np.isfinite(vectors).all():
        raise DataError("an embedding is not finite; the model that made it is unusable")
    points = vectors.astype(np.float64)
    values = [_agreement(points, labels, seed + start) for start in range(STARTS)]
    whole = Score(value=float(np.mean(values)), low=-1.0, high=1.0, n=len(labels), interval="none")
    return halved(
        whole,
        lambda some, start: _agreement(points[some], labels[some], start),
        groups,
        limits=(-1.0, 1.0),
        seed=seed,
    )


def _agreement(points: NDArray[np.float64], classes: NDArray[np.int64], seed: int) -> float:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_mutual_info_score

    count = len(np.unique(classes))
    if not 2 <= count < len(classes):
        raise UsageError(
            f"mutual information of {len(classes)} images of {count} classes: expected two classes or more, "
            f"and two images in one of them; take more images"
        )
    kmeans: Any = KMeans(count, n_init=1, random_state=seed % 2**32)
    with warnings.catch_warnings():
        # fewer places than classes make fewer clusters, and the score says so
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters = kmeans.fit_predict(points)
    return float(adjusted_mutual_info_score(classes, clusters))
