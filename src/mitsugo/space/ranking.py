"""At which ranks a query's own class stands in the gallery: exact, without measuring everything exactly.

A matrix product in float64 says how far every gallery row is, to a bound on its rounding. Only where an image
of the query's class and one of another are as good as tied are the two measured by direct differences.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..shapes import Float32, Int64
from .screening import summed  # distances that agree with `nearest` to the bit

__all__ = ["Own", "own_ranks"]

TINY = 2.0**-80
"""In a gallery of no greater extent no distance is a normal float32: the product then tells nothing."""
TIE = 2.0**-22
"""Squared distances that differ by a smaller share may be equal as float32 distances."""
SAMPLED = 4096
"""Of about so many gallery rows the middle is taken."""
SLAB = 1 << 16
"""So many gallery rows are moved to the middle at once."""
MEASURED_AT_ONCE = 1 << 9


class Own(NamedTuple):
    """Where a query finds its class."""

    row: int
    """Which query."""
    to_find: int
    """R, how many gallery images of its class there are."""
    ranks: Int64[np.ndarray, " m"]
    """The ranks from 1 to R at which one of them stands, ascending."""
    measured: int
    """How many gallery rows had to be measured by direct differences."""


class _Gallery(NamedTuple):
    vectors: NDArray[np.float32]
    members: dict[int, NDArray[np.int64]]
    """The rows of each class, ascending."""
    centre: NDArray[np.float64]
    """About the middle, taken off everything, so that little cancels in the product."""
    scale: float
    """A power of two that brings the largest coordinate to between ½ and 1."""
    reach: float
    """How far the farthest row is from the centre, scaled."""


class _Side(NamedTuple):
    """The images of the query's class, or of the others, by ascending squared distance."""

    rows: NDArray[np.int64]
    squares: NDArray[np.float64]


def own_ranks(
    queries: Float32[np.ndarray, "q d"],
    true: Int64[np.ndarray, " q"],
    gallery: Float32[np.ndarray, "g d"],
    labels: Int64[np.ndarray, " g"],
    exclude: Int64[np.ndarray, " q"] | None = None,
    *,
    chunk_bytes: int = 256 << 20,
) -> Iterator[Own]:
    """Yield at which of the first R ranks each query finds its class, in the queries' order.

    R is the number of gallery images of the query's class; it may be all of them. The order is that of
    `nearest`: by distance as float32, then by index.

    Args:
        queries: (q, d), finite.
        true: (q,), their classes.
        gallery: (g, d), finite, one row or more.
        labels: (g,), their classes.
        exclude: for each query the gallery row that it must not find (itself), or -1.
        chunk_bytes: about how large the one large work array may grow.

    >>> line = np.array([[1], [2], [3], [9]], dtype=np.float32)
    >>> query = np.zeros((1, 1), dtype=np.float32)
    >>> [own.ranks.tolist() for own in own_ranks(query, np.array([0]), line, np.array([0, 1, 0, 0]))]
    [[1, 3]]
    """
    known = _gallery(gallery, labels)
    nobody = np.zeros(0, dtype=np.int64)
    step = max(1, chunk_bytes // (8 * len(gallery)))
    for start in range(0, len(queries), step):
        some = queries[start : start + step]
        squares, bounds = _squares(some, known)
        for i, bound in enumerate(bounds.tolist()):
            members = known.members.get(int(true[start + i]), nobody)
            left_out = -1 if exclude is None else int(exclude[start + i])
            members = members[members != left_out]
            if not len(members):
                yield Own(start + i, 0, nobody, 0)
                continue
            own = _by_square(members, squares[i])
            slack = bound + TIE * abs(float(own.squares[-1]))
            own, others = _sides(own, squares[i], left_out, slack)
            before, measured = _before(own, others, some[i], gallery, slack)
            ranks = np.arange(1, len(before) + 1) + np.sort(before)
            yield Own(start + i, len(members), ranks[ranks <= len(members)], measured)


def _gallery(vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> _Gallery:
    centre = vectors[:: 1 + len(vectors) // SAMPLED].mean(axis=0, dtype=np.float64)
    extent = float(np.maximum(vectors.max(axis=0) - centre, centre - vectors.min(axis=0)).max())
    scale = 2.0 ** -math.frexp(extent)[1]
    slabs = (_moved(vectors[start : start + SLAB], centre, scale) for start in range(0, len(vectors), SLAB))
    reach = max(float(np.einsum("gd,gd->g", slab, slab).max()) for slab in slabs) ** 0.5
    classes, sizes = np.unique(labels, return_counts=True)
    rows = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    return _Gallery(vectors, dict(zip(classes.tolist(), rows, strict=True)), centre, scale, reach)


def _moved(vectors: NDArray[np.float32], centre: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    return (vectors - centre) * scale


def _squares(
    queries: NDArray[np.float32], gallery: _Gallery
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return |q|² + |g|² - 2 q·g of each query and row, scaled, and for each query how wrong they may be.

    The rounding of the moved coordinates and of the product's d + 2 terms, in any order, stays below
    (d + 32) u (|q| + |g|)², u = 2⁻⁵³.
    """
    count, dimension = queries.shape
    moved = _moved(queries, gallery.centre, gallery.scale)
    lengths = np.einsum("qd,qd->q", moved, moved)
    factors = np.concatenate((-2 * moved, np.ones((count, 1)), lengths[:, None]), axis=1)
    squares = np.empty((count, len(gallery.vectors)))
    for start in range(0, len(gallery.vectors), SLAB):
        slab = _moved(gallery.vectors[start : start + SLAB], gallery.centre, gallery.scale)
        rows = np.ones((len(slab), dimension + 2))
        rows[:, :-2] = slab
        rows[:, -2] = np.einsum("gd,gd->g", slab, slab)
        np.matmul(factors, rows.T, out=squares[:, start : start + SLAB])
    bounds = (dimension + 32) * 2.0**-53 * np.square(np.sqrt(lengths) + gallery.reach)
    return squares, bounds if gallery.scale * TINY < 1 else np.full(count, np.inf)


def _sides(own: _Side, squares: NDArray[np.float64], left_out: int, slack: float) -> tuple[_Side, _Side]:
    """Return the query's class and the others, without those that cannot count.

    Others behind the whole class do not; nor do images of the class behind as many others as it has images,
    and others behind these.
    """
    near = squares <= own.squares[-1] + 2 * slack
    near[own.rows] = False
    if left_out >= 0:
        near[left_out] = False
    rows, last = np.flatnonzero(near), len(own.rows) - 1
    if len(rows) > len(own.rows):
        edge = np.partition(squares[rows], last)[last]
        rows = rows[squares[rows] <= edge + 4 * slack]
        count = int(np.searchsorted(own.squares, edge + 2 * slack, side="right"))
        own = _Side(own.rows[:count], own.squares[:count])
    return own, _by_square(rows, squares)


def _by_square(rows: NDArray[np.int64], squares: NDArray[np.float64]) -> _Side:
    some = squares[rows]
    order = np.argsort(some)
    return _Side(rows[order], some[order])


def _before(
    own: _Side, others: _Side, query: NDArray[np.float32], gallery: NDArray[np.float32], slack: float
) -> tuple[NDArray[np.int64], int]:
    """Return how many others are nearer than each image of the class, and how many rows were measured."""
    count = len(own.rows)
    certain = np.searchsorted(own.squares, others.squares + 2 * slack, side="right")
    possible = np.searchsorted(own.squares, others.squares - 2 * slack, side="left")
    before = np.bincount(certain, minlength=count + 1).cumsum()[:count]
    at_most = np.bincount(possible, minlength=count + 1).cumsum()[:count]
    open_ = np.flatnonzero(before < at_most)
    if not len(open_):
        return before, 0
    edges = len(others.rows) + 1
    opened = np.bincount(before[open_], minlength=edges) - np.bincount(at_most[open_], minlength=edges)
    among = np.flatnonzero(opened.cumsum())
    keys = _keys(query, gallery, np.concatenate((own.rows[open_], others.rows[among])))
    mine, theirs = keys[: len(open_)], np.sort(keys[len(open_) :])
    surely = before[open_] - np.searchsorted(among, before[open_])
    before[open_] = surely + np.searchsorted(theirs, mine)
    return before, len(keys)


def _keys(
    query: NDArray[np.float32], gallery: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return numbers that are ordered as (distance, index) are; distances as in `nearest`."""
    there = torch.from_numpy(query.astype(np.float64))
    keys = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), MEASURED_AT_ONCE):
        some = rows[start : start + MEASURED_AT_ONCE]
        squares = torch.from_numpy(gallery[some].astype(np.float64)).sub_(there).square_()
        distances = summed(squares).sqrt().float().numpy()
        # floats that are not negative are ordered as their bits are
        keys[start : start + MEASURED_AT_ONCE] = distances.view(np.int32).astype(np.int64) << 32 | some
    return keys
