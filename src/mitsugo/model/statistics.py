"""Plain statistics of an image, which no training can bend: what the second gate looks at.

An embedding may send what it never saw, a blank, a blur, another thing altogether, to where a class lies. So
images are also measured by numbers that owe the network nothing: how bright and how full of contrast they
are, how much detail they have at each scale, and where they are bright. What is unusual is told by the
Mahalanobis distance (1936) to the learnt images, as in the Mahalanobis-Taguchi system (MT法).
"""

from typing import Final

import numpy as np
import torch
from torch.nn import functional

from ..shapes import Float32, Tensor, Vectors
from ..values import Pixels

__all__ = ["count_of_statistics", "plain_statistics"]

CELLS: Final = 4
"""The image is looked at in so many rows and columns of cells."""
SCALES: Final = 4
FLOOR: Final = 1 / 255**2
"""Added to energies before their logarithm: about the rounding of 8-bit values."""
CHUNK_BYTES: Final = 4 << 20


def count_of_statistics(channels: int) -> int:
    """Return how many statistics an image of so many channels has, whatever its size.

    >>> count_of_statistics(1)
    27
    """
    return channels * (3 + 2 * SCALES) + CELLS**2


def plain_statistics(pixels: Pixels) -> Vectors:
    """Return the statistics of each image, float32 (n, p), finite; each image's hang on that image alone.

    Of each channel, with values from 0 to 1: the mean, the logarithm of the variance, the cube root of the
    third central moment; the logarithms of the mean squared differences between neighbours, across and down,
    in the image and in its halves, quarters and eighths. Of the mean of all channels: the mean in each of
    4 x 4 cells.

    >>> plain_statistics(np.zeros((2, 1, 28, 28), np.uint8)).shape
    (2, 27)
    """
    n, channels, height, width = pixels.shape
    rows = max(1, CHUNK_BYTES // (4 * channels * height * width))
    parts = [
        _of(torch.from_numpy(np.array(pixels[start : start + rows]))).numpy() for start in range(0, n, rows)
    ]
    return np.concatenate([np.empty((0, count_of_statistics(channels)), np.float32), *parts])


def _of(chunk: Tensor) -> Float32[Tensor, "b p"]:
    values = chunk.to(torch.float32).div_(255)
    mean = _mean(values)
    centred = values - mean[:, :, None, None]
    square = centred * centred
    variance = _mean(square)
    third = _mean(square.mul_(centred))
    found = [mean, _log(variance), _root(third)]
    cells = functional.adaptive_avg_pool2d(values.mean(dim=1, keepdim=True), CELLS).flatten(1)
    for scale in range(SCALES):
        found += [_log(_energy(values, axis)) for axis in (2, 3)]
        if scale + 1 < SCALES:
            values = functional.avg_pool2d(values, 2, ceil_mode=True)
    return torch.cat([*found, cells], dim=1)


def _energy(values: Tensor, axis: int) -> Tensor:
    if values.shape[axis] < 2:
        return torch.zeros(values.shape[:2])
    return _mean(torch.diff(values, dim=axis).square_())


def _mean(values: Tensor) -> Tensor:
    """Return the mean of each channel; torch's own adds up in another order where an image stands alone."""
    rows = values.numpy().reshape(*values.shape[:2], -1)
    return torch.from_numpy(rows.mean(axis=2))


def _log(energies: Tensor) -> Tensor:
    # in float64, whose last bits hang on where a value stands in its array; float32 does not show them
    return (energies.double() + FLOOR).log().float()


def _root(moments: Tensor) -> Tensor:
    return (moments.sign() * moments.double().abs().pow(1 / 3)).float()
