"""How far a vector is from a class, where the class lies nearest, in directions in which classes are narrow.

A class of five images has no spread that could be measured, and one of thousands may have several kinds. So
a vector is measured to the mean of the class's nearest images (Mitani and Hamamoto, 2006), after what tells
images of one class apart was shrunk to the size of noise, as linear discriminant analysis does (Fisher, 1936;
Rao, 1948). Among vectors that a network never learnt to draw together, this tells classes by few examples far
better than plain distances do.
"""

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..shapes import Float32, Int64, Vectors

__all__ = ["to_local_means", "within_whitener"]

SHRUNK: Final = 0.1
"""Of the mean variance within classes, added to that of each direction."""
AT_ONCE: Final = 1 << 22
"""So many numbers are looked at at once."""


def within_whitener(vectors: Vectors, labels: Int64[np.ndarray, " n"]) -> NDArray[np.float64]:
    """Return what differences are multiplied with, so that those within a class have one length on all axes.

    Args:
        vectors: float32 (n, d).
        labels: (n,), their classes.

    Returns:
        float64 (d, d); the identity where no two images of one class differ.
    """
    order = np.argsort(labels, kind="stable")
    bounds = np.flatnonzero(np.diff(labels[order], prepend=-1, append=-1))
    within = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start, end in pairwise(bounds.tolist()):
        rows = vectors[order[start:end]].astype(np.float64)
        rows -= rows.mean(axis=0)
        within += rows.T @ rows
    mean = np.trace(within) / len(within)
    if not mean > 0:
        return np.eye(len(within))
    lengths, axes = np.linalg.eigh(within / mean)
    whitener: NDArray[np.float64] = axes / np.sqrt(np.maximum(lengths, 0) + SHRUNK)
    return whitener


def to_local_means(
    queries: Float32[np.ndarray, "q d"],
    rows: Int64[np.ndarray, "q k"],
    gallery: Float32[np.ndarray, "g d"],
    whitener: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return how far each query is from the mean of some rows of the gallery, (q,), whitened.

    Over √(1 + 1/m), since the mean of m rows is itself uncertain: of one row half of what is seen is its own.
    Each answer hangs on its own query alone.

    Args:
        queries: float32 (q, d).
        rows: for each query, or -1.
        gallery: float32 (g, d).
        whitener: (d, d), from `within_whitener`; None where queries and gallery are whitened already.

    >>> gallery = np.array([[0, 0], [0, 2]], np.float32)
    >>> to_local_means(gallery[:1], np.array([[1, -1]]), gallery, np.eye(2)).round(4).tolist()
    [1.4142]
    """
    far = np.full(len(queries), np.inf)
    step = max(1, AT_ONCE // max(1, rows.shape[1] * gallery.shape[1]))
    for start in range(0, len(queries), step):
        some = rows[start : start + step]
        there = some >= 0
        counts = there.sum(axis=1)
        found = gallery[np.where(there, some, 0)].astype(np.float64) * there[:, :, None]
        middles = found.sum(axis=1) / np.maximum(counts, 1)[:, None]
        apart = queries[start : start + step].astype(np.float64) - middles
        # not by a matrix product: that rounds by how many queries there are
        white = apart if whitener is None else np.einsum("nd,de->ne", apart, whitener)
        squares = np.einsum("ne,ne->n", white, white) / (1 + 1 / np.maximum(counts, 1))
        far[start : start + step] = np.where(counts > 0, np.sqrt(squares), np.inf)
    return far
