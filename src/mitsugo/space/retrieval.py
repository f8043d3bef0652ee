"""What a search finds: recall among the k nearest, and precision among as many as there are to find."""

from typing import NamedTuple

import numpy as np

from ..errors import UsageError
from ..shapes import Bool, Float, Float32, Int64
from .ranking import own_ranks

__all__ = ["AtR", "at_r", "found_among"]

LEAST = 1_000
"""So many queries are asked at least."""
A_QUERY, A_MEASUREMENT = 25_000, 50
"""What a query costs besides, and what it costs to measure a row anew, in rows that are looked at."""


class AtR(NamedTuple):
    """How precise the R nearest of each query are, R the number of gallery images of its class."""

    rows: Int64[np.ndarray, " m"]
    """Which queries these are, ascending: those that have anything to find, or a sample of them."""
    r_precision: Float[np.ndarray, " m"]
    """The share of the R nearest that are of the query's class."""
    map_at_r: Float[np.ndarray, " m"]
    """1/R Σ P(i) over the ranks i to R that hold an image of its class, P(i) the precision of the first i."""
    to_find: int
    """How many queries have anything to find."""


def found_among(same: Bool[np.ndarray, "q n"], k: int) -> Bool[np.ndarray, " q"]:
    """Return whether any of the k nearest is of the query's class (recall@k).

    Args:
        same: (q, n), whether each of a query's nearest is of its class, nearest first.
        k: how many are looked at, from 1 to n.

    Raises:
        UsageError: k beyond what was searched.

    >>> found_among(np.array([[False, True], [False, False]]), k=2).tolist()
    [True, False]
    """
    if not 1 <= k <= same.shape[1]:
        raise UsageError(f"recall at {k} of {same.shape[1]} neighbours; expected 1 to {same.shape[1]}")
    return np.asarray(same[:, :k].any(axis=1))


def at_r(
    queries: Float32[np.ndarray, "q d"],
    true: Int64[np.ndarray, " q"],
    gallery: Float32[np.ndarray, "g d"],
    labels: Int64[np.ndarray, " g"],
    *,
    exclude: Int64[np.ndarray, " q"] | None = None,
    seed: int,
    work: int = 250_000_000,
) -> AtR:
    """Return R-precision and MAP@R of the queries (Musgrave, Belongie and Lim, 2020), exactly.

    R is the number of gallery images of the query's class, without an excluded one. All R ranks count, in the
    order of `nearest`, ties by (distance, index); nothing is cut off, however large R is. A query with
    nothing to find, R = 0, has no value and is left out. Queries are asked in a random order, drawn from
    `seed`, while there is work left; so of too many a sample is asked.

    Args:
        queries: (q, d), finite.
        true: (q,), their classes.
        gallery: (g, d), finite.
        labels: (g,), their classes.
        exclude: for each query the gallery row that it must not find (itself), or -1.
        seed: of the order.
        work: about how many gallery rows to look at in all, a second or two; a query counts as 25,000 more,
            and a row that has to be measured anew as 50. A thousand queries are asked in any case, but for
            those that almost only ties would take too long.

    Raises:
        UsageError: labels that are not one an image.

    >>> line = np.array([[1], [2], [3], [9]], dtype=np.float32)
    >>> zero = np.zeros((1, 1), dtype=np.float32)
    >>> at_r(zero, np.array([0]), line, np.array([0, 1, 0, 0]), seed=0)[1:3]  # yes, no, yes: 2 of 3
    (array([0.66666667]), array([0.55555556]))
    """
    if len(true) != len(queries) or len(labels) != len(gallery):
        raise UsageError(
            f"{len(true)} labels of {len(queries)} queries, {len(labels)} of {len(gallery)} gallery images; "
            f"expected one each"
        )
    rows = np.flatnonzero(_to_find(true, labels, exclude))
    asked = np.random.default_rng(seed).permutation(rows)[: max(LEAST, work // (len(gallery) + A_QUERY))]
    left_out = None if exclude is None else exclude[asked]
    precision, average = [], []
    measured = 0
    for own in own_ranks(queries[asked], true[asked], gallery, labels, left_out):
        order = np.arange(1, len(own.ranks) + 1)
        precision.append(len(order) / own.to_find)
        average.append(float((order / own.ranks).sum()) / own.to_find)
        measured += own.measured
        if measured * A_MEASUREMENT > work:
            break
    order = np.argsort(asked[: len(precision)])
    return AtR(asked[order], np.array(precision)[order], np.array(average)[order], len(rows))


def _to_find(
    true: Int64[np.ndarray, " q"], labels: Int64[np.ndarray, " g"], exclude: Int64[np.ndarray, " q"] | None
) -> Int64[np.ndarray, " q"]:
    classes, sizes = np.unique(labels, return_counts=True)
    at = np.searchsorted(classes, true).clip(max=len(classes) - 1)
    there = np.where(classes[at] == true, sizes[at], 0).astype(np.int64)
    if exclude is not None:
        there -= (exclude >= 0) & (labels[exclude] == true)
    return there
