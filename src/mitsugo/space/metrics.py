"""What an embedding is worth: every score with its interval, confusion, the worst mistakes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from ..errors import DataError, ModelError, UsageError
from ..shapes import Bool, Float, Float32, Int64, Tensor
from ..values import Embeddings, Neighbors, Score, Scores
from .clustering import adjusted_mutual_information
from .intervals import accuracy, halved, mean_score, share
from .neighbors import nearest
from .per_class import balanced_accuracy, per_class
from .rates import inspection
from .retrieval import at_r, found_among
from .separation import between_within, silhouette
from .votes import check_classes, confusion_matrix, vote

__all__ = [
    "Evaluation",
    "accuracy",
    "confusion_matrix",
    "evaluate",
    "evaluate_alone",
    "most_confidently_wrong",
    "vote",
]

VOTERS = 5
"""k of `knn_accuracy`, unless another is asked for."""
RECALLS = (2, 4, 8)
"""The k of recall@k; recall@1 is precision@1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What the queries' neighbours in the gallery say.

    Args:
        scores: the numbers, each with its interval, and the confusion.
        neighbors: each query's k nearest gallery rows.
        predicted: int64 (q,), what they vote for.
        agreement: float64 (q,), the share of them that does.
    """

    scores: Scores
    neighbors: Neighbors
    predicted: Int64[np.ndarray, " q"]
    agreement: Float[np.ndarray, " q"]


def evaluate(
    gallery: Embeddings,
    queries: Embeddings,
    *,
    seed: int,
    sample: int = 5_000,
    k: int = VOTERS,
    query_groups: Int64[np.ndarray, " q"] | None = None,
    ng: Sequence[str] = (),
) -> Evaluation:
    """Let the gallery predict the queries, once, and score it.

    Accuracies, recalls and precisions are of queries against gallery; silhouette, between- to within-class
    distance and AMI are of the queries alone. A query whose class the gallery does not hold is wrong, but
    R-precision and MAP@R have no value for it and leave it out. The intervals take the gallery as it is: they
    say how far other queries, of other groups, may differ.

    Args:
        gallery: what is known.
        queries: other images with their true labels.
        seed: of all samples, resamples and starts.
        sample: how many images silhouette and AMI take at most.
        k: how many neighbours vote.
        query_groups: (q,), which part or lot each query is of; the intervals are then over these.
        ng: the classes that are not good, by name; where there are any, escapes and overkill are counted.

    Raises:
        ModelError: the two were made by two models.
        UsageError: a gallery of fewer than k images, other class names, no query, not one group a query, or
            NG names that are no classes, or all of them.
        DataError: an image without a class.
    """
    _check(gallery, queries)
    trial = _Trial(queries, gallery, None, query_groups, seed=seed, sample=sample, k=k)
    return _evaluated(trial, ng)


def evaluate_alone(
    queries: Embeddings,
    *,
    seed: int,
    sample: int = 5_000,
    k: int = VOTERS,
    query_groups: Int64[np.ndarray, " q"] | None = None,
    ng: Sequence[str] = (),
) -> Evaluation:
    """Let every image be predicted by all the others, and score it: for classes that were not trained on.

    Each image is a query, and the gallery is all images but itself. It is left out by its index, so that
    another image at distance 0 stays. An image alone in its class can only be wrong. The rest is as in
    `evaluate`.

    Raises:
        UsageError: k images or fewer, not one group an image, NG names that are no classes, or all of them.
        DataError: an image without a class.
    """
    itself = torch.arange(len(queries))
    trial = _Trial(queries, queries, itself, query_groups, seed=seed, sample=sample, k=k)
    return _evaluated(trial, ng)


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


@dataclass(frozen=True)
class _Trial:
    """Queries, what they are held against, and how.

    Raises:
        UsageError: too few images to vote, or groups that do not fit.
        DataError: an image without a class.
    """

    queries: Embeddings
    gallery: Embeddings
    exclude: Tensor | None
    groups: Int64[np.ndarray, " q"] | None
    seed: int
    sample: int
    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"k = {self.k} neighbours to vote; expected 1 or more")
        if self.available < self.k:
            least = self.k if self.exclude is None else self.k + 1
            raise UsageError(
                f"a gallery of {len(self.gallery)} images; expected {least} or more for the vote of {self.k}"
            )
        if self.groups is not None and self.groups.shape != (len(self.queries),):
            raise UsageError(f"{len(self.groups)} groups for {len(self.queries)} queries; expected one each")
        for side in (self.queries, self.gallery):
            check_classes(side.labels, len(side.class_names))

    @property
    def available(self) -> int:
        return len(self.gallery) - (self.exclude is not None)


def _evaluated(trial: _Trial, ng: Sequence[str]) -> Evaluation:
    queries, groups, seed = trial.queries, trial.groups, trial.seed
    vectors = torch.tensor(queries.vectors)
    known = vectors if trial.exclude is not None else torch.tensor(trial.gallery.vectors)
    wide = min(trial.available, max(trial.k, *RECALLS))
    found = nearest(vectors, known, wide, exclude=trial.exclude)
    voters = trial.gallery.labels[found.indices]
    same = voters == queries.labels[:, None]
    names, k = queries.class_names, trial.k
    predicted, agreement = vote(voters[:, :k], len(names))
    scores = Scores(
        knn_accuracy=share(predicted == queries.labels, groups, seed=seed),
        precision_at_1=share(same[:, 0], groups, seed=seed),
        **_geometry(trial),
        confusion=confusion_matrix(queries.labels, predicted, len(names)),
        balanced_accuracy=balanced_accuracy(queries.labels, predicted, groups, seed=seed),
        **_recalls(trial, same),
        **_at_r(trial),
        per_class=per_class(queries.labels, predicted, names, groups, seed=seed),
        inspection=inspection(queries.labels, predicted, names, ng, groups) if ng else None,
        k=k,
    )
    closest = Neighbors(indices=found.indices[:, :k], distances=found.distances[:, :k])
    return Evaluation(scores=scores, neighbors=closest, predicted=predicted, agreement=agreement)


def _recalls(trial: _Trial, same: Bool[np.ndarray, "q n"]) -> dict[str, Score]:
    return {
        f"recall_at_{k}": share(found_among(same, k), trial.groups, seed=trial.seed)
        for k in RECALLS
        if k <= same.shape[1]
    }


def _at_r(trial: _Trial) -> dict[str, Score]:
    """Return R-precision and MAP@R, where any query has something to find."""
    queries, gallery, seed = trial.queries, trial.gallery, trial.seed
    itself = None if trial.exclude is None else trial.exclude.numpy()
    found = at_r(queries.vectors, queries.labels, gallery.vectors, gallery.labels, exclude=itself, seed=seed)
    if not len(found.rows):
        return {}
    note = ""
    if found.to_find < len(queries):
        note += f", without the {len(queries) - found.to_find} queries that have none of their class to find"
    if len(found.rows) < found.to_find:
        note += f", on a sample of {len(found.rows)} of {found.to_find} drawn from seed {seed}"
    groups = None if trial.groups is None else trial.groups[found.rows]
    return {
        "r_precision": _noted(mean_score(found.r_precision, groups, seed=seed), note),
        "map_at_r": _noted(mean_score(found.map_at_r, groups, seed=seed), note),
    }


def _geometry(trial: _Trial) -> dict[str, Score | None]:
    """Return what is asked of the queries alone: how they lie, and whether clusters find their classes."""
    vectors, labels, groups, seed = trial.queries.vectors, trial.queries.labels, trial.groups, trial.seed
    note, rows = "", np.arange(len(labels))
    if len(labels) > trial.sample:
        rows = np.sort(np.random.default_rng(seed).choice(len(labels), trial.sample, replace=False))
        note = f", on a sample of {trial.sample} of {len(labels)} drawn from seed {seed}"
    some = vectors[rows], labels[rows], None if groups is None else groups[rows]
    silhouetted = _spread(partial(silhouette, seed=seed), *some, limits=(-1.0, 1.0), seed=seed)
    if groups is None:
        apart = _if_defined(lambda: between_within(vectors, labels))
    else:
        apart = _spread(between_within, vectors, labels, groups, limits=(0.0, np.inf), seed=seed)
    clustered = _if_defined(lambda: adjusted_mutual_information(*some, seed=seed))
    return {
        "silhouette": silhouetted and _noted(silhouetted, note),
        "between_within": apart,
        "ami": clustered and _noted(clustered, note),
    }


def _spread(
    of: Callable[[Float[np.ndarray, "n d"], Int64[np.ndarray, " n"]], Score],
    vectors: Float[np.ndarray, "n d"],
    labels: Int64[np.ndarray, " n"],
    groups: Int64[np.ndarray, " n"] | None,
    *,
    limits: tuple[float, float],
    seed: int,
) -> Score | None:
    """Return a score with its spread over halves; where these are too small, with its own interval."""
    whole = _if_defined(lambda: of(vectors, labels))
    if whole is None:
        return None
    spread = _if_defined(
        lambda: halved(
            whole, lambda some, _: of(vectors[some], labels[some]).value, groups, limits=limits, seed=seed
        )
    )
    return spread or whole


def _noted(score: Score, note: str) -> Score:
    return replace(score, interval=score.interval + note)


def _if_defined(score: Callable[[], Score]) -> Score | None:
    """Return a score, or None where it is not defined for these images; the accuracies stand without it."""
    try:
        return score()
    except (UsageError, DataError):
        return None


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
