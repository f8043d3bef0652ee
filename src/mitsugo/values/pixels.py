"""Pixels that are not all in memory: some rows of a memory map, or files that are decoded when asked for."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..shapes import Int64, UInt8

__all__ = ["LazyPixels", "Pixels", "picked"]


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
