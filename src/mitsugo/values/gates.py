"""What is usual of the images that were learnt, and which images were used."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .frozen import freeze

__all__ = ["CALIBRATION", "TEST", "TRAIN", "VALIDATION", "Gates", "Seen"]

TRAIN, VALIDATION, TEST, CALIBRATION = range(4)


@dataclass(frozen=True, kw_only=True, eq=False)
class Gates:
    """What is usual, for two gates: one on embeddings, one on plain statistics of the pixels.

    Args:
        sizes: int64 (s,), sizes of a class, ascending.
        usual: float64 (s,), how far from a class of such a size its images usually lie.
        scales: float64 (c,), how far from each class its images usually lie.
        mean: float64 (p,), of the statistics of the learnt images.
        whitener: float64 (p, p): the length of (statistics - mean) @ whitener is their Mahalanobis distance.
        others: float64 (t, p), the whitened statistics of images that were taught and folded in, the last t
            of the gallery.
        reach: float64 (t,), how much wider than the learnt images the class of each of these is spread.
        folded: uint8 (c,), 1 for a class that was taught, and not trained on.
        units: float64 (2,), a score of the embedding's and of the statistics' gate that few learnt images
            exceed; in these units the two are compared.

    Raises:
        DataError: shapes that do not fit together, or a scale that is not positive.
    """

    sizes: NDArray[np.int64]
    usual: NDArray[np.float64]
    scales: NDArray[np.float64]
    mean: NDArray[np.float64]
    whitener: NDArray[np.float64]
    units: NDArray[np.float64]
    others: NDArray[np.float64]
    reach: NDArray[np.float64]
    folded: NDArray[np.uint8]

    def __post_init__(self) -> None:
        s, p = len(self.sizes), len(self.mean)
        shapes = (self.usual.shape, self.whitener.shape, self.units.shape)
        if not s or shapes != ((s,), (p, p), (2,)) or self.scales.ndim != 1:
            raise DataError(f"gates of shapes {shapes}; expected ({s},), ({p}, {p}) and (2,)")
        if (*self.reach.shape, p) != self.others.shape or self.folded.shape != self.scales.shape:
            raise DataError(f"gates of {self.others.shape} other statistics and {self.folded.shape} classes")
        if (np.diff(self.sizes) <= 0).any() or self.sizes[0] < 1:
            raise DataError("the sizes of the gates do not ascend from 1 or more")
        for name in ("usual", "scales", "units", "reach"):
            values = getattr(self, name)
            if not ((values > 0) & np.isfinite(values)).all():
                raise DataError(f"the gates' {name} are not all positive; train again")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.whitener).all()):
            raise DataError("the gates' statistics are not finite; train again")
        freeze(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """Which images a model was made and measured with: those of the gallery, in its order, then the others.

    Args:
        digests: uint64 (n, 2), of the images' pixels.
        parts: uint8 (n,), TRAIN, VALIDATION, TEST or CALIBRATION (kept apart to calibrate on).
        groups: uint64 (m, 2), hashes of the names of the groups that trained, chose and tested.

    Raises:
        DataError: shapes that do not fit together.
    """

    digests: NDArray[np.uint64]
    parts: NDArray[np.uint8]
    groups: NDArray[np.uint64]

    def __post_init__(self) -> None:
        n = len(self.parts)
        if self.digests.shape != (n, 2) or self.parts.shape != (n,) or self.groups.shape[1:] != (2,):
            raise DataError(
                f"images that were used: digests {self.digests.shape}, parts {self.parts.shape}, groups "
                f"{self.groups.shape}; expected (n, 2), (n,) and (m, 2)"
            )
        if self.parts.max(initial=0) > CALIBRATION:
            raise DataError(f"an image was used in part {self.parts.max()}; expected 0 to {CALIBRATION}")
        freeze(self)
