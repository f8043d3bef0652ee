"""Likely label errors: images that lie nearer to other classes than to their own, as others' models see them.

Every image is judged by a model that never saw it. The score is of distances alone and has no unit, so the
scores of several models can stand in one ranking.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from ..shapes import Float32, Int64
from ..values import Neighbors, freeze
from .neighbors import nearest

__all__ = ["Doubts", "doubts", "folds_of", "ranked"]

VOTERS: Final = 5
"""How many of the nearest of its class, and of the others, a distance is the mean of: one may be wrong."""
AROUND: Final = 50
"""Among so many nearest the others are looked for."""
FEWEST: Final = 2
"""Images of a class that a model must have seen to judge others of it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Doubts:
    """How much each image's neighbours speak against its label.

    Args:
        score: float64 (q,), from 0 to 1; above ½ the other classes are nearer than its own.
        says: int64 (q,), the other class that is most frequent among the nearest of other classes; its own
            where none of those around it is of another.
        neighbors: the nearest of all, five or as many as there are.
    """

    score: NDArray[np.float64]
    says: NDArray[np.int64]
    neighbors: Neighbors

    def __post_init__(self) -> None:
        freeze(self)


def doubts(
    queries: Float32[np.ndarray, "q d"],
    labels: Int64[np.ndarray, " q"],
    gallery: Float32[np.ndarray, "g d"],
    gallery_labels: Int64[np.ndarray, " g"],
) -> Doubts:
    """Return how much the gallery speaks against the labels of the queries, none of which stands in it.

    score = a / (a + b), a the mean distance to the m nearest of the image's own class, b that to the m
    nearest of all others; m = 5, or as many as the gallery has of the class. Where fewer than m of the 50
    nearest are of other classes, the 50th stands for each that is missing: it is at most as far, so the
    score is at most too high. A score of 0/0 is ½.

    This is the distance-ratio form of the k-NN votes by which mislabelled examples are filtered (Wilson,
    1972, drops what its neighbours outvote); a ratio ranks where votes are tied.

    Args:
        queries: float32 (q, d), made by a model that never saw them.
        labels: int64 (q,), what they are said to show.
        gallery: float32 (g, d), embedded by that model.
        gallery_labels: int64 (g,), what those are said to show.

    Raises:
        DataError: a class of the queries that the gallery does not have.

    >>> row = np.array([[0.0], [1.0], [9.0], [10.0]], np.float32)
    >>> found = doubts(row[1:2] + 1, np.array([1]), row, np.array([0, 0, 1, 1]))
    >>> round(float(found.score[0]), 3), int(found.says[0])  # 7.5 from its own, 1.5 from the others
    (0.833, 0)
    """
    every, asked = torch.tensor(gallery), torch.tensor(queries)
    around = nearest(asked, every, min(AROUND, len(gallery)))
    voters = gallery_labels[around.indices]
    foreign = voters != labels[:, None]
    first = np.argsort(~foreign, axis=1, kind="stable")[:, :VOTERS]
    there = np.take_along_axis(foreign, first, axis=1)
    apart = np.where(there, np.take_along_axis(around.distances, first, axis=1), around.distances[:, -1:])
    score = np.empty(len(labels))
    for label in np.unique(labels).tolist():
        rows, own = np.flatnonzero(labels == label), np.flatnonzero(gallery_labels == label)
        if not own.size:
            raise DataError(f"class {label} has no image in the gallery; judge images of known classes alone")
        m = min(VOTERS, own.size)
        near = nearest(asked[rows], every[own], m).distances.mean(axis=1, dtype=np.float64)
        far = apart[rows, :m].mean(axis=1, dtype=np.float64)
        whole = near + far
        score[rows] = np.divide(near, whole, out=np.full(len(rows), 0.5), where=whole > 0)
    return Doubts(
        score=score,
        says=_outspoken(np.take_along_axis(voters, first, axis=1), there, labels),
        neighbors=Neighbors(
            indices=around.indices[:, :VOTERS].copy(), distances=around.distances[:, :VOTERS].copy()
        ),
    )


def ranked(score: NDArray[np.float64]) -> Int64[np.ndarray, " n"]:
    """Return the images, the most doubtful first; ties go to the lower index.

    >>> ranked(np.array([0.2, 0.9, 0.2, 0.9])).tolist()
    [1, 3, 0, 2]
    """
    return np.argsort(-score, kind="stable")


def folds_of(
    labels: Int64[np.ndarray, " n"], count: int, seed: int, bound: Int64[np.ndarray, " n"] | None = None
) -> Int64[np.ndarray, " n"]:
    """Return the fold of each image, from 0; -1 where it cannot be judged and so trains every model.

    What is bound together stays in one fold. The largest groups are dealt out first, equally large ones in
    drawn order, each to the fold that so far holds the smallest share of the group's classes, of these to
    the smallest: so every fold holds about the same share of every class. A class that has fewer than two
    images outside of some fold cannot be judged there: its images, with what is bound to them, get -1.

    Args:
        labels: int64 (n,).
        count: how many folds, 2 or more.
        seed: of the order.
        bound: int64 (n,), equal numbers stay together; None: every image for itself.

    Raises:
        UsageError: fewer than two folds.

    >>> folds_of(np.array([0, 0, 0, 0, 0, 0, 1, 1]), 3, seed=0).tolist().count(-1)  # class 1 is too small
    2
    """
    if count < 2:
        raise UsageError(f"{count} folds: expected 2 or more")
    _, group = np.unique(np.arange(len(labels)) if bound is None else bound, return_inverse=True)
    _, kind, totals = np.unique(labels, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    drawn = np.random.default_rng(seed).permutation(len(members)).tolist()
    held = np.zeros((count, len(totals)), np.int64)
    sizes = np.zeros(count, np.int64)
    fold = np.empty(len(labels), np.int64)
    for number in sorted(drawn, key=lambda number: -len(members[number])):
        rows = members[number]
        share = (held[:, kind[rows]] / totals[kind[rows]]).sum(axis=1)
        chosen = int(np.lexsort((sizes, share))[0])
        fold[rows] = chosen
        np.add.at(held[chosen], kind[rows], 1)
        sizes[chosen] += len(rows)
    few = np.flatnonzero((totals - held).min(axis=0) < FEWEST)
    fold[np.isin(group, group[np.isin(kind, few)])] = -1
    return fold


def _outspoken(
    voters: NDArray[np.int64], there: NDArray[np.bool_], labels: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the most frequent class of the voters that are there, the nearest of the tied, or the label."""
    votes = np.zeros(voters.shape, np.int64)
    for voter in range(voters.shape[1]):
        votes += (voters == voters[:, voter : voter + 1]) & there[:, voter : voter + 1]
    winner = np.where(there, votes, 0).argmax(axis=1)
    said: NDArray[np.int64] = np.where(there[:, 0], voters[np.arange(len(voters)), winner], labels)
    return said
