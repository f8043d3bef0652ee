"""How strange images are to each class, by two gates: their embedding and their plain statistics."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Strangeness"]

FARTHEST: Final = 1e300


@dataclass(frozen=True, kw_only=True, eq=False)
class Strangeness:
    """How strange n images are, in units that few learnt images exceed.

    Args:
        scaled: float64 (n, c), the distance to each class over what is usual in it; infinite where it has no
            image.
        unit: of the scaled distances, where they are compared with the statistics.
        unusual: float64 (n, c), the statistics' squared distance in its unit, as it is weighed. It is the
            same to each class, but for those with taught images.
    """

    scaled: NDArray[np.float64]
    unit: float
    unusual: NDArray[np.float64]

    def weighed(self, balance: float) -> "Strangeness":
        """Return it with the statistics multiplied by the balance that a calibration found."""
        return replace(self, unusual=self.unusual * balance)

    @cached_property
    def by_class(self) -> NDArray[np.float64]:
        """The larger of the distance to each class, in its unit, and of the statistics', (n, c)."""
        return np.minimum(np.maximum(self.scaled / self.unit, self.unusual), FARTHEST)

    @cached_property
    def _likest(self) -> NDArray[np.int64]:
        found: NDArray[np.int64] = (self.scaled / self.unit + self.unusual).argmin(axis=1)
        return found

    @property
    def embedded(self) -> NDArray[np.float64]:
        """The distance to the likest class by both together, in its unit, (n,)."""
        return np.minimum(_at(self._likest, self.scaled) / self.unit, FARTHEST)

    @property
    def statistics(self) -> NDArray[np.float64]:
        """The statistics' to the same class, (n,)."""
        return np.minimum(_at(self._likest, self.unusual), FARTHEST)

    @cached_property
    def least(self) -> NDArray[np.float64]:
        """How strange each is to the class that it is least strange to, (n,)."""
        found: NDArray[np.float64] = self.by_class.min(axis=1)
        return found

    @property
    def by_statistics(self) -> NDArray[np.bool_]:
        """Whether the statistics find each stranger to that class than the embedding, (n,)."""
        there = self.by_class.argmin(axis=1)
        return np.greater(_at(there, self.unusual), _at(there, self.scaled) / self.unit)


def _at(classes: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = scores[np.arange(len(scores)), classes]
    return found
