"""What an embedding is worth: votes, accuracy with its interval, confusion, the worst mistakes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import DataError, ModelError, UsageError
from ..shapes import Bool, Float, Float32, Int64
from ..values import Embeddings, Neighbors, Score, Scores
from .neighbors import nearest
from .separation import Z, between_within, silhouette

__all__ = ["Evaluation", "accuracy", "confusion_matrix", "evaluate", "most_confidently_wrong", "vote"]

VOTERS = 5
"""k of `knn_accuracy`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What the queries' neighbours in the gallery say.

    Args:
        scores: the numbers, each with its interval, and the confusion.
        neighbors: each query's nearest gallery rows, k = 5.
        predicted: int64 (q,), what they vote for.
        agreement: float64 (q,), the share of them that does.
    """

    scores: Scores
    neighbors: Neighbors
    predicted: Int64[np.ndarray, " q"]
    agreement: Float[np.ndarray, " q"]


def evaluate(gallery: Embeddings, queries: Embeddings, *, seed: int, sample: int = 5_000) -> Evaluation:
    """Let the gallery predict the queries, once, and score it.

    The k-NN accuracies are of queries against gallery; silhouette and between- to within-class distance are
    of the queries alone.

    Args:
        gallery: what is known.
        queries: other images with their true labels.
        seed: of the silhouette's sample.
        sample: how many images the silhouette takes at most.

    Raises:
        ModelError: the two were made by two models.
        UsageError: a gallery of fewer than 5 images, other class names, or no query.
        DataError: an image without a class.
    """
    _check(gallery, queries)
    classes = len(queries.class_names)
    found = nearest(torch.tensor(queries.vectors), torch.tensor(gallery.vectors), VOTERS)
    voters = gallery.labels[found.indices]
    predicted, agreement = vote(voters, classes)
    scores = Scores(
        knn_accuracy=accuracy(predicted == queries.labels),
        precision_at_1=accuracy(voters[:, 0] == queries.labels),
        silhouette=_if_defined(lambda: silhouette(queries.vectors, queries.labels, sample=sample, seed=seed)),
        between_within=_if_defined(lambda: between_within(queries.vectors, queries.labels)),
        confusion=confusion_matrix(queries.labels, predicted, classes),
    )
    return Evaluation(scores=scores, neighbors=found, predicted=predicted, agreement=agreement)


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
    _check_classes(labels, classes)
    votes = np.zeros(labels.shape, dtype=np.int64)
    for neighbor in range(k):
        votes += labels == labels[:, neighbor : neighbor + 1]
    # every voter knows how many agree with it, and argmax takes the first, the nearest, of the tied
    winner = votes.argmax(axis=1)
    rows = np.arange(len(labels))
    return labels[rows, winner], votes[rows, winner] / k


def accuracy(correct: Bool[np.ndarray, " n"]) -> Score:
    """Return the share of right predictions with Wilson's interval (1927).

    (p + z²/2n ± z √(p (1 - p) / n + z²/4n²)) / (1 + z²/n), z = 1.96

    Raises:
        UsageError: no prediction at all.

    >>> score = accuracy(np.array([True] * 9 + [False]))
    >>> round(score.low, 4), score.value, round(score.high, 4)
    (0.5958, 0.9, 0.9821)
    """
    n = len(correct)
    if not n:
        raise UsageError("an accuracy of 0 images; expected 1 or more")
    share = float(correct.mean())
    middle = share + Z * Z / (2 * n)
    reach = Z * (share * (1 - share) / n + Z * Z / (4 * n * n)) ** 0.5
    whole = 1 + Z * Z / n
    # at 0 and 1 the ends are the share itself, but for rounding
    return Score(
        value=share,
        low=max(0.0, min(share, (middle - reach) / whole)),
        high=min(1.0, max(share, (middle + reach) / whole)),
        n=n,
        interval="Wilson, 95 %, over images",
    )


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
    _check_classes(true, classes)
    _check_classes(predicted, classes)
    counts = np.bincount(true * classes + predicted, minlength=classes * classes)
    return counts.astype(np.int64).reshape(classes, classes)


def most_confidently_wrong(
    true: Int64[np.ndarray, " q"],
    predicted: Int64[np.ndarray, " q"],
    agreement: Float[np.ndarray, " q"],
    nearest_distance: Float32[np.ndarray, " q"],
    count: int,
) -> Int64[np.ndarray, " m"]:
    """Return the indices of at most `count` wrong queries, the most confident first.

    By the highest agreement, then by the nearest neighbour's distance, then by index.

    Raises:
        UsageError: a negative count.

    >>> wrong = most_confidently_wrong(
    ...     true=np.array([0, 0, 0, 0]),
    ...     predicted=np.array([1, 0, 1, 1]),
    ...     agreement=np.array([0.6, 1.0, 1.0, 1.0]),
    ...     nearest_distance=np.array([0.1, 0.1, 0.3, 0.2], dtype=np.float32),
    ...     count=2,
    ... )
    >>> wrong.tolist()
    [3, 2]
    """
    if count < 0:
        raise UsageError(f"the {count} worst mistakes; expected 0 or more")
    wrong = np.flatnonzero(true != predicted)
    order = np.lexsort((wrong, nearest_distance[wrong], -agreement[wrong]))
    return wrong[order[:count]]


def _if_defined(score: Callable[[], Score]) -> Score | None:
    """Return a score, or None where it is not defined for these images; the accuracies stand without it."""
    try:
        return score()
    except (UsageError, DataError):
        return None


def _check_classes(labels: Int64[np.ndarray, "..."], classes: int) -> None:
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise DataError(
            f"labels run from {labels.min()} to {labels.max()}, expected 0 to {classes - 1}: an image "
            f"without a class neither votes nor is scored"
        )


def _check(gallery: Embeddings, queries: Embeddings) -> None:
    if gallery.fingerprint != queries.fingerprint:
        raise ModelError(
            f"the gallery was embedded by model {gallery.fingerprint[:12]} and the queries by "
            f"{queries.fingerprint[:12]}; embed both with one model"
        )
    if gallery.class_names != queries.class_names:
        raise UsageError(
            "the gallery and the queries name their classes differently; expected the same names"
        )
    if len(gallery) < VOTERS:
        raise UsageError(f"a gallery of {len(gallery)} images; expected {VOTERS} or more for the vote")
    for side in (gallery, queries):
        _check_classes(side.labels, len(side.class_names))
