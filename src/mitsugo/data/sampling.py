"""Random triplets and pairs, and whole labelled batches, as arrays of indices; and what is gathered by them.

No image is touched one at a time: an epoch's draw is three vectorised draws, a batch is one gather.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError
from ..shapes import Float, Int64, Tensor, UInt8
from .resident import Brought

__all__ = [
    "FIXED_SEED",
    "Batch",
    "ClassIndex",
    "Draw",
    "fixed_pairs",
    "fixed_triplets",
    "gathered",
    "generator_of",
    "index_classes",
    "random_pairs",
    "random_triplets",
]

Batch = tuple[tuple[Tensor, ...], Tensor | None]
"""The images of a batch, each (b, c, h, w), and its target: what a DataLoader would hand out."""

FIXED_SEED = 29
"""The walk-through's seed for the validation triplets."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassIndex:
    """Where the images of each class are, so that one of a class is drawn by arithmetic.

    Args:
        labels: int64 (n,), the class of each image.
        order: int64 (n,), the images sorted by class.
        starts: int64 (classes,), where each class begins in `order`.
        sizes: int64 (classes,), how many images it has.
        ranks: int64 (n,), the place of each image within its class.
    """

    labels: NDArray[np.int64]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    ranks: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Draw:
    """The images of each triplet or pair, and for pairs whether the two are of one class.

    Args:
        indices: int64 (t, 3) anchor, positive, negative; or (t, 2).
        same: float32 (t,), 1 for a positive pair and 0 for a negative one; None for triplets.
    """

    indices: NDArray[np.int64]
    same: NDArray[np.float32] | None = None


def index_classes(labels: Int64[np.ndarray, " n"]) -> ClassIndex:
    """Index images by class; classes that do not occur are left out of every draw.

    Raises:
        DataError: fewer than two classes, so that no negative exists.
    """
    names, compact, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise DataError(f"triplets need two classes or more, found {len(names)}; add images of another class")
    order = np.argsort(compact, kind="stable")
    starts = np.cumsum(sizes) - sizes
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order)) - starts[compact[order]]
    return ClassIndex(labels=compact, order=order, starts=starts, sizes=sizes, ranks=ranks)


def generator_of(seed: int, epoch: int) -> np.random.Generator:
    """Return the chance of one epoch; it hangs on seed and epoch alone, so a resumed run draws the same."""
    return np.random.default_rng([seed, epoch])


def random_triplets(index: ClassIndex, chance: np.random.Generator) -> Draw:
    """Draw an epoch: every image is an anchor once, in shuffled order.

    Its positive is uniform among the *other* images of its class, its negative's class uniform among the
    other classes, its negative uniform in that class.
    """
    anchors = chance.permutation(len(index.labels))
    positives = _another_of_class(index, anchors, chance)
    return Draw(indices=np.stack((anchors, positives, _of_another_class(index, anchors, chance)), axis=1))


def fixed_triplets(index: ClassIndex, seed: int = FIXED_SEED) -> Draw:
    """Draw the validation triplets, one an image in order: the positive may be the anchor itself.

    The walk-through leaves the draw of the negative's class unseeded; here it comes from the same seed.
    """
    chance = np.random.default_rng(seed)
    anchors = np.arange(len(index.labels))
    positives = _of_class(index, index.labels[anchors], chance)
    return Draw(indices=np.stack((anchors, positives, _of_another_class(index, anchors, chance)), axis=1))


def random_pairs(index: ClassIndex, chance: np.random.Generator) -> Draw:
    """Draw an epoch of pairs: each image once, in shuffled order, with probability 1/2 a positive pair.

    A positive is another image of its class; a negative's class is uniform among the others.
    """
    ones = chance.permutation(len(index.labels))
    same = chance.random(len(ones)) < 0.5
    others = np.where(same, _another_of_class(index, ones, chance), _of_another_class(index, ones, chance))
    return Draw(indices=np.stack((ones, others), axis=1), same=same.astype(np.float32))


def fixed_pairs(index: ClassIndex, seed: int = FIXED_SEED) -> Draw:
    """Draw the validation pairs, positive and negative in turn; a positive may be the image itself."""
    chance = np.random.default_rng(seed)
    ones = np.arange(len(index.labels))
    same = ones % 2 == 0
    others = np.where(same, _of_class(index, index.labels, chance), _of_another_class(index, ones, chance))
    return Draw(indices=np.stack((ones, others), axis=1), same=same.astype(np.float32))


def gathered(
    draw: Draw,
    pixels: UInt8[Tensor, "n c h w"] | Brought,
    prepare: Callable[[Tensor], Float[Tensor, "b c h w"]],
    *,
    batch_size: int,
    skip: int = 0,
) -> Iterator[Batch]:
    """Yield the batches of a draw; the last one is as small as it comes.

    Args:
        draw: which images stand together; indices into `pixels`.
        pixels: uint8 (n, c, h, w), on the device where the network is, or brought there.
        prepare: turns gathered pixels into the network's input.
        batch_size: triplets or pairs a batch.
        skip: how many batches of this draw were done before.
    """
    rows = torch.from_numpy(draw.indices).to(pixels.device)
    target = None if draw.same is None else torch.from_numpy(draw.same).to(pixels.device)
    for start in range(skip * batch_size, len(rows), batch_size):
        chosen = rows[start : start + batch_size]
        images = prepare(pixels.index_select(0, chosen.T.reshape(-1)))
        yield (
            images.chunk(chosen.shape[1]),
            None if target is None else target[start : start + batch_size],
        )


def _of_class(
    index: ClassIndex, classes: NDArray[np.int64], chance: np.random.Generator
) -> NDArray[np.int64]:
    return np.take(index.order, index.starts[classes] + chance.integers(0, index.sizes[classes]))


def _another_of_class(
    index: ClassIndex, anchors: NDArray[np.int64], chance: np.random.Generator
) -> NDArray[np.int64]:
    if index.sizes.min() < 2:
        raise DataError("a class has a single image, so it has no positive; add images to it or leave it out")
    classes = index.labels[anchors]
    place = chance.integers(0, index.sizes[classes] - 1)
    place += place >= index.ranks[anchors]
    return np.take(index.order, index.starts[classes] + place)


def _of_another_class(
    index: ClassIndex, anchors: NDArray[np.int64], chance: np.random.Generator
) -> NDArray[np.int64]:
    own = index.labels[anchors]
    classes = chance.integers(0, len(index.sizes) - 1, size=len(own))
    classes += classes >= own
    return _of_class(index, classes, chance)
