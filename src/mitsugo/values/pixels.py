"""Pixels that are not all in memory: some rows of a memory map, or files that are decoded when asked for."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..shapes import Int64, UInt8

__all__ = ["LazyPixels", "Pixels", "digests_of", "digests_of_names", "picked"]

CHUNK_BYTES: Final = 16 << 20


@dataclass(frozen=True, eq=False)
class LazyPixels:
    """What looks like a uint8 array (n, c, h, w) and reads its rows when they are asked for.

    Args:
        shape: n, c, h, w.
        read: takes m row numbers, int64 (m,), and returns their pixels, uint8 (m, c, h, w).
    """

    shape: tuple[int, int, int, int]
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
    dtype: Final[np.dtype[np.uint8]] = field(default=np.dtype(np.uint8), init=False)
    ndim: Final[int] = field(default=4, init=False)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """How many values there are."""
        return math.prod(self.shape)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:  # noqa: ANN401 - whatever indexes the rows
        """Return the rows of an int, a slice or an array, read now; a further index goes into the rows.

        Raises:
            DataError: the files gave other pixels than they promised.
        """
        if isinstance(key, tuple):
            first, rest = key[0], key[1:]
            if first is Ellipsis:
                return self[:][key]
            return self[first][rest if isinstance(first, int) else (slice(None), *rest)]
        rows = np.arange(len(self))[... if key is Ellipsis else key]
        found = self.read(np.atleast_1d(rows))
        expected = (np.size(rows), *self.shape[1:])
        if found.shape != expected or found.dtype != np.uint8:
            raise DataError(f"pixels {found.dtype} {found.shape} were read, expected uint8 {expected}")
        return found if rows.ndim else found[0]


Pixels = UInt8[np.ndarray, "n c h w"] | LazyPixels
"""Images of one size: an array, a memory map, or rows that are read when they are asked for."""


def picked(pixels: Pixels, rows: Int64[np.ndarray, " m"]) -> UInt8[np.ndarray, "m c h w"] | LazyPixels:
    """Return some of the rows: of an array now, of a memory map or of lazy pixels when they are asked for.

    >>> pixels = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
    >>> picked(pixels, np.array([2, 0])).ravel().tolist()
    [2, 0]
    """
    if isinstance(pixels, np.memmap):
        mapped = pixels
        return LazyPixels((len(rows), *pixels.shape[1:]), lambda some: np.asarray(mapped[rows[some]]))
    if isinstance(pixels, LazyPixels):
        read = pixels.read
        return LazyPixels((len(rows), *pixels.shape[1:]), lambda some: read(rows[some]))
    some: UInt8[np.ndarray, "m c h w"] = pixels[rows]
    return some


def digests_of(pixels: Pixels) -> NDArray[np.uint64]:
    """Return the two words of a 128-bit hash of each image's pixels, (n, 2): equal images, equal words.

    Two different images of one hash would be taken for equal; among 1,000,000 images one chance in 10²⁶ says
    that there are any.

    >>> digests_of(np.zeros((2, 1, 4, 4), np.uint8))[0].tolist()
    [7055296231871953734, 6360063672371946894]
    """
    n = len(pixels)
    rows = max(1, CHUNK_BYTES // max(1, math.prod(pixels.shape[1:])))
    content = bytearray()
    for start in range(0, n, rows):
        chunk = np.ascontiguousarray(pixels[start : start + rows])
        content += b"".join(blake2b(image.data, digest_size=16).digest() for image in chunk)
    return np.frombuffer(bytes(content), "<u8").reshape(n, 2).astype(np.uint64)


def digests_of_names(names: Sequence[str]) -> NDArray[np.uint64]:
    """Return the two words of a 128-bit hash of each name, (n, 2).

    >>> digests_of_names(["lot 7", "lot 8"]).shape
    (2, 2)
    """
    content = b"".join(blake2b(os.fsencode(name), digest_size=16).digest() for name in names)
    return np.frombuffer(content, "<u8").reshape(len(names), 2).astype(np.uint64)
