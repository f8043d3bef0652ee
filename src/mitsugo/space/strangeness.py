"""How strange a vector is to each class: its distance to the class, over what is usual in that class.

The distance is that to one of the class's nearest images; usual is what the class's own images have to each
other. So a tight class and a loose one, a class of 6,000 images and one of five, are measured by one rule.
"""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UsageError
from ..shapes import Int64, Vectors
from .classed import ClassNeighbors
from .neighbors import nearest

__all__ = ["class_scales", "distances_at", "place_of", "usual_by_size", "usual_of"]

SIZES: Final = tuple(round(10 ** (step / 4)) for step in range(21))
"""Class sizes at which the usual distance is measured, 1 to 100,000; between them it is interpolated."""
ONE_IN: Final = 5
PRIOR: Final = 10
"""A class's own measure counts by its images, that of all classes together as so many."""
MOST_ASKED: Final = 500
"""So many images of each class tell what is usual in it."""
LEAST: Final = 1e-12


def place_of(k: int, n: int) -> int:
    """Return the how-manieth nearest of a class of n images a vector is measured to: the k-th.

    Of fewer than 5 k images the fifth part, rounded up: the fifth nearest of five images would be the
    farthest.

    >>> [place_of(5, n) for n in (1, 5, 6, 20, 25, 6000)]
    [1, 1, 2, 4, 5, 5]
    """
    return min(k, -(-n // ONE_IN))


def distances_at(found: ClassNeighbors, counts: Int64[np.ndarray, " c"], k: int) -> NDArray[np.float64]:
    """Return how far each query is from each class, (q, c): to its neighbour at `place_of(k, count)`.

    Where some rows were left out and a class has no neighbour at that place, to the last that it has.

    Args:
        found: at least k of each class.
        counts: how many rows each class has, those that were left out among them.
        k: of the place.
    """
    if k < 1:
        raise UsageError(f"k = {k} neighbours: expected 1 or more")
    places = np.array([place_of(k, max(n, 1)) for n in counts.tolist()])
    there = np.minimum(places, (found.indices >= 0).sum(axis=2)) - 1
    far = np.take_along_axis(found.distances, np.maximum(there, 0)[:, :, None], axis=2)[:, :, 0]
    return far.astype(np.float64)


def usual_by_size(
    vectors: Vectors,
    labels: Int64[np.ndarray, " n"],
    asked: Int64[np.ndarray, " m"],
    k: int,
    seed: int = 0,
) -> dict[int, float]:
    """Return what distance an image usually has to its class, by the size of the class.

    For each size the median over the asked images of the distance to so many of their class, drawn at random,
    at `place_of(k, size)`. An image is never its own classmate.

    Args:
        vectors: float32 (n, d), of all images.
        labels: (n,), their classes.
        asked: (m,), rows of the images that are measured: such as were not trained on, where there are some.
        k: of the place.
        seed: of the draws.

    Returns:
        A positive distance for each size of `SIZES` that some class reaches; {1: 1.0} where none has two
        images.
    """
    generator = np.random.default_rng(seed)
    found: dict[int, list[NDArray[np.float64]]] = {}
    for label in np.unique(labels[asked]).tolist():
        rows = np.flatnonzero(labels == label)
        own = asked[labels[asked] == label]
        own = generator.permutation(own)[:MOST_ASKED]
        for size in (size for size in SIZES if size < len(rows)):
            mates = np.sort(generator.permutation(rows)[: size + 1])
            inside = _places(own, mates)
            # whoever is no mate itself looks at all but the last, so that each sees `size` images
            place = np.where(inside < 0, size, inside)
            far = _nearest_at(
                torch.from_numpy(np.array(vectors[own])),
                vectors[mates],
                place_of(k, size),
                torch.from_numpy(place),
            )
            found.setdefault(size, []).append(far)
    if not found:
        return {1: 1.0}
    usual = {size: float(np.median(np.concatenate(parts))) for size, parts in sorted(found.items())}
    largest = max(usual.values())
    return {size: max(value, LEAST * largest, LEAST) for size, value in usual.items()}


def usual_of(by_size: Mapping[int, float], n: int) -> float:
    """Return the usual distance in a class of n images: interpolated, both by logarithms.

    >>> round(usual_of({1: 4.0, 100: 1.0}, 10), 6), usual_of({1: 4.0, 100: 1.0}, 5000)
    (2.0, 1.0)
    """
    sizes = np.array(sorted(by_size))
    logs = np.log([by_size[size] for size in sizes.tolist()])
    return float(np.exp(np.interp(math.log(max(n, 1)), np.log(sizes), logs)))


def class_scales(
    vectors: Vectors,
    labels: Int64[np.ndarray, " n"],
    asked: Int64[np.ndarray, " m"],
    classes: int,
    k: int,
    by_size: Mapping[int, float],
    share: float = 1.0,
) -> NDArray[np.float64]:
    """Return the usual distance in each class, (classes,): its own, drawn towards what its size lets expect.

    Its own is the median over its asked images, each against the others of its class; the ratio to what is
    expected counts, in logarithms, by the share m / (m + 10) of its m asked images, and by `share`. 1 for a
    class without images.

    Args:
        vectors: float32 (n, d), of all images.
        labels: (n,), their classes.
        asked: (m,), rows that are measured.
        classes: how many classes there are.
        k: of the place.
        by_size: from `usual_by_size`.
        share: how much of its own measure counts at the most.
    """
    counts = np.bincount(labels, minlength=classes)
    scales = np.ones(classes)
    for label in np.flatnonzero(counts).tolist():
        rows = np.flatnonzero(labels == label)
        own = asked[labels[asked] == label][: 4 * MOST_ASKED]
        scales[label] = usual_of(by_size, len(rows))
        if len(rows) < 2 or not len(own):
            continue
        place = min(place_of(k, len(rows) - 1), len(rows) - 1)
        far = _nearest_at(
            torch.from_numpy(np.array(vectors[own])),
            vectors[rows],
            place,
            torch.from_numpy(np.searchsorted(rows, own)),
        )
        expected = usual_of(by_size, len(rows) - 1)
        ratio = max(float(np.median(far)), LEAST * expected) / expected
        scales[label] *= ratio ** (share * len(own) / (len(own) + PRIOR))
    return scales


def _places(wanted: Int64[np.ndarray, " q"], rows: Int64[np.ndarray, " m"]) -> NDArray[np.int64]:
    """Return where among ascending rows each wanted one stands, or -1."""
    places = np.searchsorted(rows, wanted)
    here = rows[np.minimum(places, len(rows) - 1)] == wanted
    return np.where(here, places, -1)


def _nearest_at(
    queries: torch.Tensor, gallery: Vectors, place: int, exclude: torch.Tensor | None
) -> NDArray[np.float64]:
    found = nearest(queries, torch.from_numpy(np.array(gallery)), place, exclude=exclude)
    return found.distances[:, place - 1].astype(np.float64)
