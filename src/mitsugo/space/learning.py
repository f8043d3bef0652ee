"""Whether more images would help: the same queries against ever larger parts of the gallery."""

from typing import Final

import numpy as np
import torch

from ..shapes import Int64
from ..values import Embeddings, LearningPoint
from .neighbors import nearest
from .votes import vote

__all__ = ["learning_curve"]

PARTS: Final = (8, 4, 2)
"""An eighth, a quarter and half of the gallery are tried, then all of it."""
DRAWS: Final = 5
MOST_QUERIES: Final = 2_000


def learning_curve(
    gallery: Embeddings,
    queries: Embeddings,
    *,
    seed: int,
    k: int = 5,
    groups: Int64[np.ndarray, " g"] | None = None,
) -> tuple[LearningPoint, ...]:
    """Return the accuracy of the vote of k against an eighth, a quarter, half and all of the gallery.

    The network stays as it was trained, on all images: the curve tells what more images in the gallery bring,
    and training on them may bring more. Parts are drawn at random from the seed, whole groups where there are
    groups, five times each; a part that holds fewer than k images, or misses a class of the gallery, is left
    out. At most 2,000 queries are asked, the same ones of every part.

    Args:
        gallery: what is known.
        queries: other images with their true labels, of the same model.
        seed: of all draws.
        k: how many neighbours vote.
        groups: (g,), which part or lot each gallery image is of.

    Raises:
        UsageError: a gallery of fewer than k images.

    >>> line = np.arange(32, dtype=np.float32)[:, None]
    >>> made = {"labels": np.arange(32) // 16, "class_names": ("low", "high"), "fingerprint": "f"}
    >>> known = Embeddings(vectors=line, names=tuple(map(str, range(32))), **made)
    >>> asked = Embeddings(vectors=line + 0.4, names=tuple(map(str, range(32))), **made)
    >>> [(point.images, round(point.accuracy, 2)) for point in learning_curve(known, asked, seed=0, k=1)]
    [(4, 0.93), (8, 0.95), (16, 0.99), (32, 1.0)]
    """
    chance = np.random.default_rng(seed)
    asked = np.sort(chance.permutation(len(queries))[:MOST_QUERIES])
    points = []
    for part in PARTS:
        drawn = [_drawn(gallery, groups, part, chance) for _ in range(DRAWS)]
        if all(len(rows) >= k and _covers(gallery, rows) for rows in drawn):
            points.append(_point(gallery, queries, asked, drawn, k))
    return (*points, _point(gallery, queries, asked, [np.arange(len(gallery))], k))


def _drawn(
    gallery: Embeddings, groups: Int64[np.ndarray, " g"] | None, part: int, chance: np.random.Generator
) -> Int64[np.ndarray, " m"]:
    units = np.arange(len(gallery)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(units.max()) + 1
    kept = np.zeros(count, dtype=np.bool_)
    kept[chance.permutation(count)[: count // part]] = True
    return np.flatnonzero(kept[units])


def _covers(gallery: Embeddings, rows: Int64[np.ndarray, " m"]) -> bool:
    return len(np.unique(gallery.labels[rows])) == len(np.unique(gallery.labels))


def _point(
    gallery: Embeddings,
    queries: Embeddings,
    asked: Int64[np.ndarray, " q"],
    drawn: list[Int64[np.ndarray, " m"]],
    k: int,
) -> LearningPoint:
    vectors = torch.tensor(queries.vectors[asked])
    accuracies = []
    for rows in drawn:
        found = nearest(vectors, torch.tensor(gallery.vectors[rows]), k).indices
        predicted, _ = vote(gallery.labels[rows][found], len(gallery.class_names))
        accuracies.append(float(np.mean(predicted == queries.labels[asked])))
    return LearningPoint(
        images=round(float(np.mean([len(rows) for rows in drawn]))),
        accuracy=float(np.mean(accuracies)),
        low=min(accuracies),
        high=max(accuracies),
        draws=len(drawn),
        n=len(asked),
    )
