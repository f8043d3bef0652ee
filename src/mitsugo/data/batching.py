"""Labelled batches: P classes by K images, or all images in shuffled order, as arrays of indices.

Every batch of an epoch is of the same size, so that nothing has to be planned anew on its way through a
network, and every image is drawn at least once an epoch; what fills the places that are left is drawn again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import DataError
from ..shapes import Float, Int64, Tensor, UInt8
from .resident import Brought
from .sampling import Batch, ClassIndex

__all__ = ["Drawing", "drawing", "labeled_batches", "p_by_k", "shuffled"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """What P x K batches hold.

    Args:
        classes_per_batch: P.
        images_per_class: K.
        batches: how many an epoch has.
        draws: int64 (classes,), how many of its images each class gives to an epoch; more than it has where
            it is smaller than the others.
    """

    classes_per_batch: int
    images_per_class: int
    batches: int
    draws: Int64[np.ndarray, " classes"]


def drawing(index: ClassIndex, *, batch_size: int, images_per_class: int) -> Drawing:
    """Plan the P x K batches of an epoch.

    P is as many classes as there are, at most batch_size / images_per_class; K fills the batch, yet no class
    gives more than the largest has. Each class gives its images once, in parts of K; where that would leave
    batches without a second class, the least used classes give theirs again.

    Raises:
        DataError: a batch too small for two classes.

    >>> from mitsugo.data.sampling import index_classes
    >>> plan = drawing(index_classes(np.array([0] * 8 + [1] * 8)), batch_size=8, images_per_class=2)
    >>> plan.classes_per_batch, plan.images_per_class, plan.batches, plan.draws.tolist()
    (2, 4, 2, [8, 8])
    """
    p = min(len(index.sizes), batch_size // images_per_class)
    if p < 2:
        raise DataError(
            f"a batch of {batch_size} holds fewer than two classes by {images_per_class} images; "
            f"take a --batch-size of {2 * images_per_class} or more"
        )
    k = max(images_per_class, min(batch_size // p, int(index.sizes.max())))
    parts = -(-index.sizes // k)
    batches = max(-(-int(parts.sum()) // p), int(parts.max()))
    used = parts * k / index.sizes
    for _ in range(batches * p - int(parts.sum())):
        least = int(np.argmin(np.where(parts < batches, used, np.inf)))
        parts[least] += 1
        used[least] = parts[least] * k / index.sizes[least]
    return Drawing(classes_per_batch=p, images_per_class=k, batches=batches, draws=parts * k)


def p_by_k(index: ClassIndex, plan: Drawing, chance: np.random.Generator) -> Int64[np.ndarray, "s b"]:
    """Draw an epoch: (batches, P K) indices; in each row K images of each of P different classes.

    A class's images come in shuffled order, and in another one when they are drawn again. Hermans, Beyer and
    Leibe (2017) draw P classes and K images anew for each batch; here an epoch leaves no image out.
    """
    k = plan.images_per_class
    drawn = np.concatenate(
        [
            _cycled(index, number, int(plan.draws[number]), chance).reshape(-1, k)
            for number in chance.permutation(len(plan.draws)).tolist()
        ]
    )
    # dealt out like cards: a class has at most as many parts as there are batches, so none comes twice to one
    rows: Int64[np.ndarray, "s b"] = drawn.reshape(plan.classes_per_batch, plan.batches, k).transpose(1, 0, 2)
    return chance.permutation(rows.reshape(plan.batches, -1))


def shuffled(images: int, batch_size: int, chance: np.random.Generator) -> Int64[np.ndarray, "s b"]:
    """Draw an epoch: every image once, in shuffled order; the last batch is filled with others once more."""
    size = min(batch_size, images)
    missing = -images % size
    first = chance.permutation(images)
    return np.concatenate((first, chance.permutation(first[: images - images % size])[:missing])).reshape(
        -1, size
    )


def labeled_batches(
    batches: Int64[np.ndarray, "s b"],
    pixels: UInt8[Tensor, "n c h w"] | Brought,
    labels: Int64[Tensor, " n"],
    prepare: Callable[[Tensor], Float[Tensor, "b c h w"]],
    *,
    skip: int = 0,
) -> Iterator[Batch]:
    """Yield images and labels of each batch.

    Args:
        batches: indices into `pixels`, a row a batch.
        pixels: uint8 (n, c, h, w), on the device where the network is, or brought there.
        labels: int64 (n,), there too.
        prepare: turns gathered pixels into the network's input.
        skip: how many of the batches were done before.
    """
    rows = torch.from_numpy(np.ascontiguousarray(batches)).to(pixels.device)
    for chosen in rows[skip:]:
        yield (prepare(pixels.index_select(0, chosen)),), labels.index_select(0, chosen)


def _cycled(
    index: ClassIndex, number: int, draws: int, chance: np.random.Generator
) -> Int64[np.ndarray, " t"]:
    size = int(index.sizes[number])
    own = index.order[index.starts[number] : index.starts[number] + size]
    return np.concatenate([chance.permutation(own) for _ in range(-(-draws // size))])[:draws]
