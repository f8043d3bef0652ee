"""Labelled embeddings that were taught after training."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .embeddings import Embeddings
from .frozen import freeze

__all__ = ["Taught"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Taught:
    """What a gallery holds beside the images that a model was trained on.

    Args:
        embeddings: n images of known or new classes.
        statistics: float32 (n, p), their plain statistics.
        digests: uint64 (n, 2), of their pixels.
        ng: names of the classes that are NG, of those that the model does not know.
        state: names what it holds: another state, another gallery.

    Raises:
        DataError: shapes that do not fit together, or a label that is no class.
    """

    embeddings: Embeddings
    statistics: NDArray[np.float32]
    digests: NDArray[np.uint64]
    ng: tuple[str, ...]
    state: str

    def __post_init__(self) -> None:
        n = len(self.embeddings)
        if self.statistics.shape[:1] != (n,) or self.digests.shape != (n, 2):
            raise DataError(
                f"{n} taught images with statistics {self.statistics.shape} and digests "
                f"{self.digests.shape}; expected a row of each"
            )
        if self.embeddings.labels.min(initial=0) < 0:
            raise DataError("a taught image has no class")
        freeze(self)

    def __len__(self) -> int:
        return len(self.embeddings)
