"""The map of a gallery: some of it laid flat, the rest and every new image placed among these."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from ..report.projection import flatten
from ..shapes import Vectors
from ..space.neighbors import nearest
from ..values import freeze

__all__ = ["GalleryMap", "mapped", "placed"]

LAID_FLAT: Final = 5_000
"""So many images are laid flat together; it takes a core some ten seconds."""
MOST_SHOWN: Final = 60_000
AMONG: Final = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class GalleryMap:
    """Where gallery images lie.

    Args:
        vectors: float32 (m, d), of the images that were laid flat.
        flat: float32 (m, 2), where these lie, from -1 to 1.
        rows: int64 (n,), gallery rows that are shown.
        points: float32 (n, 2), where they lie.
    """

    vectors: NDArray[np.float32]
    flat: NDArray[np.float32]
    rows: NDArray[np.int64]
    points: NDArray[np.float32]

    def __post_init__(self) -> None:
        freeze(self)


Flatten = Callable[[Vectors, int], NDArray[np.float32]]
"""Vectors (n, d) and a seed in, (n, 2) out."""


def mapped(vectors: Vectors, seed: int = 0, flatten: Flatten = flatten) -> GalleryMap:
    """Lay a gallery out in the plane, near images near each other.

    Of more than 5,000 images so many are drawn and laid flat (`report.projection.flatten`), the others are
    placed among them; of more than 60,000 so many are shown.

    Args:
        vectors: float32 (n, d), of the whole gallery; at least one.
        seed: of the draws.
        flatten: what lays vectors flat.
    """
    chance = np.random.default_rng(seed)
    order = chance.permutation(len(vectors))
    anchors, rows = np.sort(order[:LAID_FLAT]), np.sort(order[:MOST_SHOWN])
    flat = flatten(vectors[anchors], seed)
    middle = (flat.max(axis=0) + flat.min(axis=0)) / 2
    extent = max(float(np.abs(flat - middle).max()), np.finfo(np.float32).tiny)
    flat = ((flat - middle) / extent).astype(np.float32)
    found = GalleryMap(vectors=vectors[anchors], flat=flat, rows=rows, points=np.empty((0, 2), np.float32))
    points = placed(found, vectors[rows])
    points[np.searchsorted(rows, anchors)] = flat
    return GalleryMap(vectors=vectors[anchors], flat=flat, rows=rows, points=points)


def placed(on: GalleryMap, vectors: Vectors) -> NDArray[np.float32]:
    """Return where vectors lie on a map, float32 (n, 2): between their five nearest, by inverse distance.

    A vector that is one of those that were laid flat lies where it was laid.
    """
    if not len(vectors):
        return np.empty((0, 2), np.float32)
    k = min(AMONG, len(on.vectors))
    near = nearest(torch.from_numpy(np.array(vectors)), torch.from_numpy(np.array(on.vectors)), k)
    closest = near.distances[:, :1].astype(np.float64)
    weights = 1 / np.maximum(near.distances.astype(np.float64), np.maximum(closest * 1e-3, 1e-12))
    weights[(closest[:, 0] == 0), 1:] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    found: NDArray[np.float32] = np.einsum("nk,nkd->nd", weights, on.flat[near.indices]).astype(np.float32)
    return found
