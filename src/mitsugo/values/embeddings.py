"""Embedded images, and who lies next to whom."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from .frozen import freeze

__all__ = ["Embeddings", "Neighbors"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Embeddings:
    """Vectors of images, and the model that made them.

    Args:
        vectors: float32 (n, d), all finite.
        labels: int64 (n,), indices into `class_names`; -1 where the class is not known.
        class_names: a name for each class.
        names: n names of the images.
        fingerprint: the model's fingerprint: only embeddings of one model can be compared.

    Raises:
        DataError: shapes that do not fit together, or a value that is not finite.
    """

    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    fingerprint: str

    def __post_init__(self) -> None:
        n = len(self.names)
        if self.vectors.ndim != 2 or self.vectors.dtype != np.float32 or len(self.vectors) != n:
            raise DataError(
                f"vectors are {self.vectors.dtype} {self.vectors.shape}, expected float32 ({n}, d): "
                f"one row for each of the {n} names"
            )
        if self.labels.shape != (n,) or self.labels.dtype != np.int64:
            raise DataError(f"labels are {self.labels.dtype} {self.labels.shape}, expected int64 ({n},)")
        if n and not -1 <= self.labels.min() <= self.labels.max() < len(self.class_names):
            raise DataError(f"a label lies outside the {len(self.class_names)} class names")
        if not np.isfinite(self.vectors).all():
            row = int(np.flatnonzero(~np.isfinite(self.vectors).all(axis=1))[0])
            raise DataError(f"the embedding of {self.names[row]} is not finite; its model is unusable")
        freeze(self)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbors:
    """For each query the k nearest gallery rows, ordered by (distance, index).

    Args:
        indices: int64 (q, k), rows of the gallery.
        distances: float32 (q, k), ascending along each row.
    """

    indices: NDArray[np.int64]
    distances: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.indices.ndim != 2 or self.indices.shape != self.distances.shape:
            raise UsageError(
                f"neighbours have indices {self.indices.shape} and distances {self.distances.shape}, "
                f"expected one (q, k) for both"
            )
        freeze(self)
