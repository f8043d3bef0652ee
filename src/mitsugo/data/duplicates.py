"""Images that are the same or look nearly the same: found before they stand on both sides of a split.

One pass over the pixels takes 48 bytes an image; everything else is done on those.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UsageError
from ..shapes import Bool, Float32, Int64, UInt8, Vectors
from ..space.neighbors import nearest
from ..values import Pixels, digests_of, freeze

__all__ = [
    "Prints",
    "Twins",
    "equal_images",
    "fingerprints",
    "most_pairs",
    "near_embedded",
    "near_images",
    "twins_of",
]

BITS: Final = 256
NEAR_BITS: Final = 32
"""Of 256 bits so many may differ. Noise of 5 grey levels, JPEG of quality 50, other exposures and a shift by
1/64 of most photos stay below; different photos of one place on a surface do not come near it."""
VISIBLE: Final = 1.0
"""A coefficient below this, in grey levels, may be rounding alone: that of 8-bit values is 0.3."""
MOST_ROWS, CHUNK_BYTES = 4096, 16 << 20
"""How many images, and about how many bytes of them, are looked at together."""
EXACT: Final = 4096
"""Up to so many different looks are all compared with each other."""
ORDERS: Final = 16
COMPARISONS: Final = 60_000_000
"""Of more looks about so many pairs are compared, those that follow each other in one of 16 orders."""
FEWEST_FOLLOWING: Final = 8
NEIGHBOURS: Final = 4
"""How many near images of each are found by embedding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prints:
    """What tells images apart.

    Args:
        digests: (n, 2) words of a 128-bit hash of each image's pixels.
        looks: (n, 4) words of 256 bits, first the lowest frequencies; alike where images look alike.
        visible: (n,), whether an image has enough in it to be compared by its look: no plain surface does.
        allowed: how many bits may differ.
    """

    digests: NDArray[np.uint64]
    looks: NDArray[np.uint64]
    visible: NDArray[np.bool_]
    allowed: int = NEAR_BITS

    def __post_init__(self) -> None:
        freeze(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class Twins:
    """Which images are equal and which look nearly the same.

    Args:
        equal: (n,), images of equal pixels share a number.
        look: (n,), images of one look share a number.
        near: (m, 2), the numbers of looks that are nearly the same, each pair once.
        countless: whether there are more such pairs than were kept.
    """

    equal: NDArray[np.int64]
    look: NDArray[np.int64]
    near: NDArray[np.int64]
    countless: bool = False

    def __post_init__(self) -> None:
        freeze(self)


def twins_of(pixels: Pixels) -> Twins:
    """Find equal and nearly equal images in one pass over the pixels, which may be lazy.

    >>> pixels = np.random.default_rng(0).integers(0, 256, (4, 1, 20, 20), np.uint8)
    >>> pixels[2], pixels[3] = pixels[0], np.clip(pixels[1], 3, 252)
    >>> twins = twins_of(pixels)
    >>> twins.equal.tolist(), (twins.look[1], twins.look[3]) in twins.near or twins.look[1] == twins.look[3]
    ([0, 1, 0, 2], True)
    """
    prints = fingerprints(pixels)
    look, near, countless = near_images(prints)
    return Twins(equal=equal_images(prints), look=look, near=near, countless=countless)


def fingerprints(pixels: Pixels) -> Prints:
    """Return what tells the images apart, reading them chunk by chunk.

    The look is the signs of the 256 lowest frequencies of the grey image's cosine transform but for its mean,
    as in pHash (Zauner, 2010), there 64 and compared with their median. It does not change with brightness
    and contrast. Smaller images have fewer frequencies: of b bits b² / 2048 may differ.
    """
    n, channels, height, width = pixels.shape
    rows = max(1, min(MOST_ROWS, CHUNK_BYTES // max(1, channels * height * width)))
    frequencies = _frequencies(height, width)
    digests = np.empty((n, 2), np.uint64)
    looks = np.empty((n, BITS // 64), np.uint64)
    visible = np.empty(n, np.bool_)
    for start in range(0, n, rows):
        part = slice(start, min(start + rows, n))
        chunk = np.ascontiguousarray(pixels[part])
        digests[part] = digests_of(chunk)
        waves = _waves(chunk, frequencies)
        looks[part] = _packed(waves > 0)
        visible[part] = 2 * np.count_nonzero(np.abs(waves) > VISIBLE, axis=1) > waves.shape[1]
    allowed = len(frequencies) ** 2 * NEAR_BITS // BITS**2
    return Prints(digests=digests, looks=looks, visible=visible, allowed=allowed)


def equal_images(prints: Prints) -> Int64[np.ndarray, " n"]:
    """Number the images by their pixels, from 0 in order of appearance: equal ones share a number.

    Two different images of one 128-bit hash would be taken for equal; among 1,000,000 images one chance in
    10²⁶ says that there are any.
    """
    return _numbered(prints.digests)


def near_images(prints: Prints) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, "m 2"], bool]:
    """Number the images by their look, and pair the looks that are nearly the same.

    Up to 4,096 looks are all compared. More are sorted 16 times, each time beginning with another 16 of the
    256 bits, and each is compared with those that follow it (Charikar, 2002, §3): near pairs share the first
    bits of some order. Time and memory then grow like n log n, and a pair may be missed.

    Returns:
        A number for each image's look, from 0 in order of appearance; what has no look has its own number.
        The pairs of near numbers, each once, ascending. Whether there are more pairs than `most_pairs`.
    """
    n = len(prints.looks)
    alone = np.where(prints.visible, 0, np.arange(n) + 1).astype(np.uint64)
    numbers = _numbered(np.column_stack((prints.looks, alone)))
    _, first = np.unique(numbers, return_index=True)
    rows = first[prints.visible[first]]
    looks = prints.looks[rows]
    following = len(rows) - 1
    if len(rows) > EXACT:
        following = max(FEWEST_FOLLOWING, COMPARISONS // (ORDERS * len(rows)))
    most = most_pairs(n)
    packed = np.empty(0, np.int64)
    for start in range(1 if len(rows) <= EXACT else ORDERS):
        order = np.argsort(_rotated(looks, start), kind="stable")
        found = _close(looks[order], following, prints.allowed, most)
        ends = np.sort(order[found], axis=1)
        packed = np.union1d(packed, ends[:, 0] * len(rows) + ends[:, 1])
        if len(packed) >= most:
            break
    pairs = numbers[rows][np.stack(np.divmod(packed[:most], max(1, len(rows))), axis=1)]
    return numbers, np.sort(pairs, axis=1), len(packed) >= most


def most_pairs(n: int) -> int:
    """Return how many near pairs of n images are kept."""
    return max(4_000_000, 16 * n)


def near_embedded(vectors: Vectors, closeness: float = 0.25) -> Int64[np.ndarray, "m 2"]:
    """Pair images whose embeddings lie much closer together than an image and its nearest usually do.

    Args:
        vectors: float32 (n, d), finite.
        closeness: near is what is less far apart than this share of the median distance to the nearest.

    Returns:
        Pairs i < j, each once, ascending; of each image at most its four nearest.

    Raises:
        UsageError: a closeness that is not positive.

    >>> near_embedded(np.array([[0], [1], [2], [3], [3.01]], np.float32)).tolist()
    [[3, 4]]
    """
    if not closeness > 0:
        raise UsageError(f"a closeness of {closeness}: expected more than 0")
    n = len(vectors)
    if n < 2:
        return np.empty((0, 2), np.int64)
    rows = torch.from_numpy(np.array(vectors))
    found = nearest(rows, rows, min(NEIGHBOURS, n - 1), exclude=torch.arange(n))
    query, place = np.nonzero(found.distances < closeness * np.median(found.distances[:, 0]))
    ends = np.sort(np.stack((query, found.indices[query, place]), axis=1), axis=1)
    return np.unique(ends, axis=0).astype(np.int64)


def _frequencies(height: int, width: int) -> NDArray[np.int64]:
    """Return the lowest frequencies, as half waves down and across, the lowest first; at most 256."""
    side = 32
    down, across = np.divmod(np.arange(1, side * side), side)
    there = (down < height) & (across < width)
    order = np.lexsort((across, down, down**2 + across**2))
    return np.stack((down, across), axis=1)[order[there[order]]][:BITS]


def _waves(
    chunk: UInt8[np.ndarray, "b c h w"], frequencies: Int64[np.ndarray, "f 2"]
) -> Float32[np.ndarray, "b f"]:
    """Return these coefficients of the orthonormal cosine transform of the grey images."""
    grey = chunk.mean(axis=1, dtype=np.float32)
    down, across = (_cosines(size, frequencies[:, axis]) for axis, size in enumerate(grey.shape[1:]))
    waves: NDArray[np.float32] = (down @ (grey @ across.T))[:, frequencies[:, 0], frequencies[:, 1]]
    return waves


def _cosines(size: int, frequencies: Int64[np.ndarray, " f"]) -> Float32[np.ndarray, "k size"]:
    k = np.arange(frequencies.max(initial=0) + 1)[:, None]
    rows = np.cos(np.pi * k * (np.arange(size) + 0.5) / size) * np.sqrt(np.where(k, 2, 1) / size)
    return rows.astype(np.float32)


def _packed(bits: Bool[np.ndarray, "b f"]) -> NDArray[np.uint64]:
    """Return the bits as four words, the first bit the highest of the first word."""
    whole = np.zeros((len(bits), BITS), np.bool_)
    whole[:, : bits.shape[1]] = bits
    return np.packbits(whole, axis=1).view(">u8").astype(np.uint64)


def _numbered(rows: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Number rows from 0 in order of appearance; equal ones share a number."""
    order = np.lexsort(rows.T)
    ordered = rows[order]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    firsts = order[new]  # the sort is stable: the first of its kind
    numbers = np.empty(len(firsts), np.int64)
    numbers[np.argsort(firsts)] = np.arange(len(firsts))
    result = np.empty(len(rows), np.int64)
    result[order] = numbers[np.cumsum(new) - 1]
    return result


def _rotated(looks: NDArray[np.uint64], start: int) -> NDArray[np.uint64]:
    """Return 64 of the 256 bits, from the sixteenth times `start` on."""
    word, bits = divmod(start * (BITS // ORDERS), 64)
    if not bits:
        return looks[:, word]
    after = looks[:, (word + 1) % looks.shape[1]]
    return (looks[:, word] << np.uint64(bits)) | (after >> np.uint64(64 - bits))


def _close(looks: NDArray[np.uint64], following: int, allowed: int, most: int) -> NDArray[np.int64]:
    """Pair each look with those of the next `following` that differ in no more bits than are allowed."""
    found = [np.empty((0, 2), np.int64)]
    total = 0
    words = np.ascontiguousarray(looks.T)
    for step in range(1, min(following, len(looks) - 1) + 1):
        differing = np.zeros(len(looks) - step, np.uint16)
        for word in words:
            differing += np.bitwise_count(word[step:] ^ word[:-step])
        one = np.flatnonzero(differing <= allowed)
        found.append(np.stack((one, one + step), axis=1))
        total += len(one)
        if total >= most:
            break
    return np.concatenate(found)
