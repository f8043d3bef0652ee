"""The exact nearest rows of each class, by one screen of the whole gallery, which is made ready once.

As `neighbors.nearest`, class by class: the same distances, to the bit, and the same order of ties. So one
search answers who votes, how far each class is, and which of its images to show. Where the longest axes tell
most of how far rows are, a screen of these goes first, and what it leaves open is asked of all dimensions.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from ..shapes import Float32, Int64, Tensor, Vectors
from .copies import first_copies
from .neighbors import keys_of, nearest, of_keys
from .screening import (
    BATCH,
    GROUP,
    Asked,
    Ground,
    Slab,
    asked,
    beyond,
    factors_of,
    heights_of,
    measured,
    multiplies_in_float32,
    smallest,
)

__all__ = ["ClassNeighbors", "ClassedGallery", "classed", "nearest_of_each"]

SLACK: Final = 16
"""How many rows of each class more than k are measured."""
COPIES: Final = 32
"""So many neighbours of a class can usually be asked for."""
MANY: Final = 4096
SAMPLED: Final = 8192
NARROW: Final = 32
WIDE: Final = 1024
TOLD: Final = 0.93
"""The share of the squared differences within classes that the axes tell."""
MULTIPLE: Final = GROUP**2
CHUNK_BYTES: Final = 256 << 20
NONE: Final = (1 << 63) - 1
"""A key beyond all others."""


@dataclass(frozen=True, eq=False)
class Screen:
    """Rows by class, as factors of a product that tells about how far they are."""

    ground: Ground
    slab: Slab
    """Each class is padded, so that its rows share no group with another's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassedGallery:
    """Gallery rows by class, ready to be searched; made by `classed`.

    Args:
        copies: of more equal rows of one class only so many are searched.
        rows: the rows that are searched, (m, d), by class and then by index.
        original: int64 (m,), which row of the gallery each is.
        ends: where in these each class ends and the next begins, classes + 1 of them.
        counts: int64 (classes,), how many rows of each class the gallery has.
        screens: the rows again, ready to be multiplied, the coarse screen first.
        places: where in the slabs each class begins.
    """

    copies: int
    rows: Tensor
    original: Tensor
    ends: tuple[int, ...]
    counts: NDArray[np.int64]
    screens: tuple["Screen", ...]
    places: tuple[int, ...]

    @property
    def classes(self) -> int:
        """How many classes there are, those without rows among them."""
        return len(self.counts)

    def rows_of(self, label: int) -> slice:
        """Return which of the searched rows are of a class."""
        return slice(self.ends[label], self.ends[label + 1])


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassNeighbors:
    """For each query and class the k nearest rows of it, ordered by (distance, index).

    Args:
        indices: int64 (q, c, k), rows of the gallery; -1 where a class has no more.
        distances: float32 (q, c, k), ascending; infinite where a class has no more.
    """

    indices: NDArray[np.int64]
    distances: NDArray[np.float32]

    def of_all(self, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the k nearest rows of all classes together, (q, k), where no more than k of each were asked.

        They are those of `neighbors.nearest`; -1 and infinite where there are no more.
        """
        q = len(self.indices)
        keys = _keys(self).reshape(q, -1)
        if keys.shape[1] < k:
            keys = np.pad(keys, ((0, 0), (0, k - keys.shape[1])), constant_values=NONE)
        return _unkeyed(np.sort(np.partition(keys, k - 1, axis=1)[:, :k], axis=1))


def classed(
    vectors: Vectors, labels: Int64[np.ndarray, " n"], classes: int, copies: int = COPIES
) -> ClassedGallery:
    """Make a gallery ready to be searched by class.

    Args:
        vectors: float32 (n, d), finite.
        labels: (n,), from 0 to classes - 1.
        classes: how many there are; some may have no row.
        copies: how many neighbours of a class can be asked for, with those that are left out.

    Raises:
        UsageError: no row, no dimension, or a label that is no class.
        DataError: a value that is not finite.
    """
    if not vectors.size:
        raise UsageError(f"a gallery of shape {vectors.shape} has nothing to be found; expected some rows")
    if labels.shape != vectors.shape[:1] or not 0 <= labels.min() <= labels.max() < classes:
        raise UsageError(f"labels of {len(labels)} rows: expected {len(vectors)} of 0 to {classes - 1}")
    if not np.isfinite(vectors).all():
        raise DataError("the gallery holds a value that is not finite; the model that made it is unusable")
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(classes + 1))
    gallery = torch.from_numpy(vectors[order])
    kept = [first_copies(gallery[a:b], copies).numpy() + a for a, b in pairwise(bounds.tolist()) if b > a]
    rows = np.concatenate(kept)
    gallery = gallery if len(rows) == len(order) else gallery[torch.from_numpy(rows)]
    ends = np.searchsorted(rows, bounds)
    sizes = np.diff(ends)
    places = np.concatenate([[0], np.cumsum(sizes + -sizes % MULTIPLE)])
    ground = Ground.of(gallery, CHUNK_BYTES)
    axes = _axes(gallery, ends.tolist())
    grounds = [ground] if axes is None else [dataclasses.replace(ground, axes=axes), ground]
    return ClassedGallery(
        copies=copies,
        rows=gallery,
        original=torch.from_numpy(order[rows]),
        ends=tuple(ends.tolist()),
        counts=np.diff(bounds).astype(np.int64),
        screens=tuple(Screen(one, _slab(one, ends.tolist(), places.tolist())) for one in grounds),
        places=tuple(places.tolist()),
    )


def nearest_of_each(
    queries: Float32[np.ndarray, "q d"],
    gallery: ClassedGallery,
    k: int,
    exclude: Int64[np.ndarray, "q e"] | None = None,
) -> ClassNeighbors:
    """Return for each query the k nearest rows of each class by Euclidean distance.

    The same to the bit alone or in a batch.

    Args:
        queries: float32 (q, d), finite.
        gallery: from `classed`.
        k: how many of each class, 1 or more.
        exclude: for each query gallery rows that it must not find, or -1.

    Raises:
        UsageError: k below 1, queries of another dimension.
        DataError: a value that is not finite, or a distance too large for float32.

    >>> rows = np.array([[1], [3], [4]], np.float32)
    >>> found = nearest_of_each(np.zeros((1, 1), np.float32), classed(rows, np.array([0, 1, 1]), 2), 2)
    >>> found.indices.tolist(), found.distances.tolist()
    ([[[0, -1], [1, 2]]], [[[1.0, inf], [3.0, 4.0]]])
    """
    rows = gallery.rows
    if k < 1:
        raise UsageError(f"k = {k} neighbours: expected 1 or more")
    if queries.shape[1] != rows.shape[1]:
        raise UsageError(f"queries of dimension {queries.shape[1]} in a gallery of dimension {rows.shape[1]}")
    if not np.isfinite(queries).all():
        raise DataError("the queries hold a value that is not finite; the model that made them is unusable")
    left_out = np.full((len(queries), 0), -1, np.int64) if exclude is None else exclude
    deepest = k + left_out.shape[1]
    if deepest > gallery.copies:
        raise UsageError(
            f"{k} neighbours and {left_out.shape[1]} left out: expected {gallery.copies} at most together, "
            f"for which the gallery was made ready"
        )
    coarse, *finer = gallery.screens
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        keys, undecided = _searched(queries, gallery, coarse, range(gallery.classes), k, left_out)
        for screen in finer:
            for label in np.flatnonzero(undecided.any(axis=0)).tolist():
                which, one = np.flatnonzero(undecided[:, label]), slice(label, label + 1)
                keys[which, one], undecided[which, one] = _searched(
                    queries[which], gallery, screen, range(label, label + 1), k, left_out[which]
                )
        for label in np.flatnonzero(undecided.any(axis=0)).tolist():
            _by_class(queries, np.flatnonzero(undecided[:, label]), gallery, label, left_out, keys)
    # what was left out has no distance
    keys[keys >> 32 == _infinite()] = NONE
    indices, distances = _unkeyed(keys)
    return ClassNeighbors(indices=indices, distances=distances)


def _axes(gallery: Tensor, ends: Sequence[int]) -> Tensor | None:
    """Return the directions in which nearly all differences within a class lie, where they are few.

    They are the longest axes of the whole gallery; by some of its rows, as more would tell the same.
    """
    rows, dimension = gallery.shape
    if rows < MANY or not NARROW <= dimension <= WIDE:
        return None
    step = 1 + rows // SAMPLED
    within = torch.zeros(dimension, dimension, dtype=torch.float64)
    means = []
    for start, end in pairwise(ends):
        some = gallery[start:end:step].double()
        if len(some):
            means.append(some.mean(0).expand(len(some), -1))
            apart = some - means[-1]
            within += apart.T @ apart
    middles = torch.cat(means)
    middles = middles - middles.mean(0)
    axes = torch.linalg.eigh(within + middles.T @ middles).eigenvectors.flip(1)
    told = torch.einsum("dp,de,ep->p", axes, within, axes).cumsum(0)
    enough = 8 * math.ceil((1 + int((told < TOLD * told[-1]).sum())) / 8)
    return axes[:, :enough].contiguous() if 2 * enough <= dimension else None


def _slab(ground: Ground, ends: Sequence[int], places: Sequence[int]) -> Slab:
    """Return the rows as factors; each class is padded, so that its rows share no group with another's."""
    dtype = torch.float32 if multiplies_in_float32(ground.gallery.device) else torch.float64
    plain = factors_of(ground, ground.gallery, dtype, 1)
    factors = plain.factors.new_zeros((places[-1], plain.factors.shape[1]))
    factors[:, ground.dimension] = math.inf
    for (start, end), place in zip(pairwise(ends), places, strict=False):
        factors[place : place + end - start] = plain.factors[start:end]
    return Slab(factors, plain.radius, plain.shift)


def _searched(
    queries: Vectors,
    gallery: ClassedGallery,
    screen: Screen,
    classes: range,
    k: int,
    exclude: Int64[np.ndarray, "q e"],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the keys of the k nearest rows of some classes, (q, c, k), and where they may differ, (q, c)."""
    keys = np.full((len(queries), len(classes), k), NONE)
    undecided = np.zeros(keys.shape[:2], np.bool_)
    deepest = k + exclude.shape[1] + SLACK
    widths = [min(gallery.ends[label + 1] - gallery.ends[label], deepest) for label in classes]
    factors = screen.slab.factors[gallery.places[classes.start] : gallery.places[classes.stop]]
    step = max(1, min(2 * BATCH, CHUNK_BYTES // (4 * len(factors) + 64 * sum(widths))))
    room = factors.new_empty(len(factors) * min(step, len(queries)))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        some = torch.from_numpy(np.array(queries[part]))
        ready = asked(screen.ground, some, factors.dtype)
        positions, floors = _lowest(ready, gallery, screen, classes, widths, room)
        far = measured(screen.ground, some, positions)
        if torch.isinf(far).any():
            raise DataError(
                "two embeddings lie farther apart than float32 can tell; scale the embedding down"
            )
        rows = gallery.original[positions]
        for one in torch.from_numpy(exclude[part]).T:
            far.masked_fill_(rows == one[:, None], math.inf)
        found = keys_of(far, rows)
        left = 0
        for number, width in enumerate(widths):
            if not width:
                continue
            nearest_ = found[:, left : left + width].sort(dim=1).values[:, :k]
            left += width
            keys[part, number, : nearest_.shape[1]] = nearest_.numpy()
            last = of_keys(nearest_)[1][:, -1]
            undecided[part, number] = ~(floors[:, number].float() > last).numpy()
    return keys, undecided


def _lowest(
    queries: Asked,
    gallery: ClassedGallery,
    screen: Screen,
    classes: range,
    widths: Sequence[int],
    room: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the rows of each class that seem nearest, (q, all widths), and how near its others can be."""
    first = gallery.places[classes.start]
    factors = screen.slab.factors[first : gallery.places[classes.stop]]
    heights, minima = heights_of(factors, queries.factors, room)
    highest = torch.full((len(queries.lengths), len(classes)), math.inf, dtype=heights.dtype)
    positions = []
    for number, (label, width) in enumerate(zip(classes, widths, strict=True)):
        size = gallery.ends[label + 1] - gallery.ends[label]
        if width == size:
            every = torch.arange(gallery.ends[label], gallery.ends[label + 1])
            positions.append(every.expand(len(highest), -1))
            continue
        some = slice(gallery.places[label] - first, gallery.places[label + 1] - first)
        groups = slice(some.start // GROUP, some.stop // GROUP)
        values, at = smallest(heights[some], width, minima[groups])
        highest[:, number] = values.amax(0)
        positions.append(at.T + gallery.ends[label])
    floors = beyond(screen.ground, queries, highest, screen.slab.radius, screen.slab.shift)
    floors.masked_fill_(torch.isinf(highest), math.inf)
    return torch.cat(positions, dim=1), floors


def _by_class(
    queries: Vectors,
    undecided: NDArray[np.int64],
    gallery: ClassedGallery,
    label: int,
    exclude: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    """Search a class alone, for queries whose screen could not tell."""
    some = gallery.rows_of(label)
    k, original = out.shape[2], gallery.original[some]
    deepest = min(len(original), k + exclude.shape[1])
    asked_ = torch.from_numpy(queries[undecided])
    found = nearest(asked_, gallery.rows[some], deepest)
    rows = original.numpy()[found.indices]
    left_out = (rows[:, :, None] == exclude[undecided][:, None, :]).any(axis=2)
    far = np.where(left_out, np.float32(np.inf), found.distances)
    keys = np.sort(far.view(np.int32).astype(np.int64) << 32 | rows, axis=1)[:, :k]
    out[undecided, label, : keys.shape[1]] = keys


def _infinite() -> int:
    return int(np.array([np.inf], np.float32).view(np.int32)[0])


def _keys(found: ClassNeighbors) -> NDArray[np.int64]:
    keys: NDArray[np.int64] = found.distances.view(np.int32).astype(np.int64) << 32 | found.indices
    return np.where(found.indices < 0, NONE, keys)


def _unkeyed(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    none = keys == NONE
    indices = np.where(none, -1, keys & 0xFFFFFFFF)
    distances = np.where(none, _infinite(), keys >> 32).astype(np.int32).view(np.float32)
    return indices, distances
