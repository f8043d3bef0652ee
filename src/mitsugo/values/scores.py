"""What a model is worth."""

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

__all__ = ["Score", "Scores"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A number that never stands without its 95 % interval and its n."""

    value: float
    low: float
    high: float
    n: int
    interval: str
    """How the interval was made, in words."""

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise UsageError(f"score {self.value} lies outside its own interval {self.low} to {self.high}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What a model is worth on queries that it was not trained on.

    `silhouette` and `between_within` are None where there are too few images, or too few places in space, for
    them. `confusion` is int64 (classes, classes): row the true class, column the predicted one, by k = 5.
    """

    knn_accuracy: Score
    precision_at_1: Score
    silhouette: Score | None
    between_within: Score | None
    confusion: NDArray[np.int64]

    def plain(self) -> dict[str, Any]:
        """Return scores and confusion as JSON values."""
        return {
            "scores": {name: asdict(score) for name, score in self.numbers().items()},
            "confusion": self.confusion.tolist(),
        }

    def numbers(self) -> dict[str, Score]:
        """Return the scores that there are, by name, in order."""
        return {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Score)}
