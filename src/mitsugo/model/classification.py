"""Vectors in, verdicts out: the vote of the nearest gallery images, and what to know before trusting it."""

from collections.abc import Sequence

import numpy as np
import torch

from ..errors import ModelError, UsageError
from ..shapes import Float32, Int64, Vectors
from ..space.metrics import vote
from ..space.neighbors import nearest
from ..values import Embeddings, Neighbor, Pixels, Verdict
from .preprocessing import mean_pixel

__all__ = ["inversion_warnings", "verdicts"]

TELLING = 0.2


def verdicts(
    vectors: Vectors, gallery: Embeddings, names: Sequence[str], warnings: Sequence[tuple[str, ...]], k: int
) -> tuple[Verdict, ...]:
    """Return a verdict for each vector: the class that its k nearest gallery images vote for, and which.

    Args:
        vectors: float32 (n, d), made by the gallery's model.
        gallery: images of known classes.
        names: n names of the images.
        warnings: what is known against each of the n images so far.
        k: how many vote; a smaller gallery votes as a whole, and the verdicts say so.

    Raises:
        UsageError: k below 1, or another number of names than of vectors.
        ModelError: the gallery is empty.
    """
    if k < 1:
        raise UsageError(f"k = {k} neighbours: expected 1 or more")
    if len(names) != len(vectors):
        raise UsageError(f"{len(names)} names for {len(vectors)} images: expected one each")
    if not len(gallery):
        raise ModelError("the model's gallery is empty, so nothing can vote; train on labelled images")
    voters = min(k, len(gallery))
    few = () if voters == k else (f"the gallery holds {voters} images, so {voters} voted instead of {k}",)
    neighbors = nearest(torch.from_numpy(vectors), torch.from_numpy(np.array(gallery.vectors)), voters)
    predicted, agreement = vote(gallery.labels[neighbors.indices], len(gallery.class_names))
    return tuple(
        Verdict(
            image=name,
            label=gallery.class_names[predicted[row]],
            agreement=float(agreement[row]),
            neighbors=_evidence(gallery, neighbors.indices[row], neighbors.distances[row]),
            warnings=(*warnings[row], *few),
        )
        for row, name in enumerate(names)
    )


def inversion_warnings(pixels: Pixels, training_mean: float) -> list[tuple[str, ...]]:
    """Return for each image a warning where it looks inverted against the training images, or nothing.

    An image looks inverted where its mean pixel m is nearer to 1 - μ than to the training images' mean μ.
    Where 1 - μ and μ are less than 0.2 apart, brightness cannot tell, and nothing is said.

    >>> inversion_warnings(np.full((1, 1, 1, 1), 255, np.uint8), 0.13)
    [('looks inverted: its mean pixel is 1.00, that of the training images 0.13; invert it and try again',)]
    >>> inversion_warnings(np.full((1, 1, 1, 1), 255, np.uint8), 0.45)
    [()]
    """
    found: list[tuple[str, ...]] = []
    for row in range(len(pixels)):
        mean = mean_pixel(pixels[row : row + 1])
        nearer = abs(mean - (1 - training_mean)) < abs(mean - training_mean)
        text = (
            f"looks inverted: its mean pixel is {mean:.2f}, that of the training images {training_mean:.2f}; "
            f"invert it and try again"
        )
        found.append((text,) if nearer and abs(1 - 2 * training_mean) >= TELLING else ())
    return found


def _evidence(
    gallery: Embeddings, indices: Int64[np.ndarray, " k"], distances: Float32[np.ndarray, " k"]
) -> tuple[Neighbor, ...]:
    return tuple(
        Neighbor(
            name=gallery.names[index],
            label=gallery.class_names[gallery.labels[index]],
            distance=float(distance),
        )
        for index, distance in zip(indices, distances, strict=True)
    )
