"""Pixels in, what the network takes out: one mean and one standard deviation for all channels."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import DataError
from ..shapes import Float32, Tensor, UInt8
from ..values import Pixels

__all__ = ["Preprocessing", "mean_pixel", "mean_pixels", "measured", "prepare"]

WHITE = 255
CHUNK = 1 << 20


@dataclass(frozen=True)
class Preprocessing:
    """What is done to pixels before a network sees them: (x / 255 - mean) / std.

    Args:
        mean: the mean of x / 255.
        std: its standard deviation.

    Raises:
        DataError: a value that is not finite, or a standard deviation that nothing can be divided by.
    """

    mean: float
    std: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise DataError(
                f"preprocessing with mean {self.mean} and standard deviation {self.std}: "
                f"expected finite numbers, the second above 0"
            )


def prepare(
    pixels: UInt8[Tensor, "b c h w"] | Float32[Tensor, "b c h w"], preprocessing: Preprocessing
) -> Float32[Tensor, "b c h w"]:
    """Return (x / 255 - mean) / std, in float32 and on the device of the pixels, which stay as they are.

    Computed as x / (255 std) - mean / std: memory is passed over twice, once to widen bytes, once for both
    constants. An image's values do not depend on the batch that it stands in, nor on whether 0..255 came as
    bytes or as float32.

    >>> pixels = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
    >>> prepare(pixels, Preprocessing(0.5, 0.25)).round(decimals=5).tolist()
    [[[[-2.0, 2.0]]]]
    """
    images = pixels.to(torch.float32)
    shift = torch.tensor(-preprocessing.mean / preprocessing.std)
    target = None if images is pixels else images
    return torch.add(shift, images, alpha=1 / (WHITE * preprocessing.std), out=target)


def measured(pixels: Pixels) -> Preprocessing:
    """Return the mean and the standard deviation of pixels / 255 over all values, exactly.

    Both follow from how often each of the 256 values occurs, counted in whole numbers and chunk by chunk,
    so that neither rounding nor memory grows with the images.

    Raises:
        DataError: there are no pixels, or all are the same.

    >>> measured(np.array([0, 0, 255, 255], dtype=np.uint8).reshape(4, 1, 1, 1))
    Preprocessing(mean=0.5, std=0.5)
    """
    counts = _histogram(pixels)
    n, total, squares = (
        sum(value**power * count for value, count in enumerate(counts)) for power in (0, 1, 2)
    )
    spread = n * squares - total * total
    if spread == 0:
        raise DataError(
            f"all {n} pixels of {len(pixels)} images are {total // n}: "
            f"expected images that differ; look at what the source holds"
        )
    return Preprocessing(mean=total / (n * WHITE), std=math.sqrt(spread) / (n * WHITE))


def mean_pixel(pixels: Pixels) -> float:
    """Return the mean of pixels / 255 over all values, exactly.

    Raises:
        DataError: there are no pixels.
    """
    counts = _histogram(pixels)
    return sum(value * count for value, count in enumerate(counts)) / (sum(counts) * WHITE)


def mean_pixels(pixels: Pixels) -> list[float]:
    """Return the mean of pixels / 255 of each image, exactly.

    >>> mean_pixels(np.array([[[[0, 255]]], [[[255, 255]]]], np.uint8))
    [0.5, 1.0]
    """
    size = math.prod(pixels.shape[1:])
    step = max(1, CHUNK // max(1, size))
    totals: list[int] = []
    for first in range(0, len(pixels), step):
        some = np.asarray(pixels[first : first + step])
        totals += some.reshape(len(some), -1).sum(axis=1, dtype=np.int64).tolist()
    return [total / (size * WHITE) for total in totals]


def _histogram(pixels: Pixels) -> list[int]:
    if not pixels.size:
        raise DataError(f"no pixels to measure in {len(pixels)} images; look at what the source holds")
    counts = np.zeros(WHITE + 1, np.int64)
    images = max(1, CHUNK // (pixels.size // len(pixels)))
    for first in range(0, len(pixels), images):
        values = pixels[first : first + images].reshape(-1)
        for start in range(0, values.size, CHUNK):
            counts += np.bincount(values[start : start + CHUNK], minlength=WHITE + 1)
    return [int(count) for count in counts]
