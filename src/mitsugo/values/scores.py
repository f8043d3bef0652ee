"""What a model is worth."""

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

__all__ = ["ClassScore", "Gap", "Inspection", "LearningPoint", "Rate", "Score", "Scores"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A number that never stands without its 95 % interval and its n."""

    value: float
    low: float
    high: float
    n: int
    interval: str
    """How the interval was made, in words."""
    groups: int | None = None
    """How many groups (parts, lots) the n images are of, where the interval is over these."""

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise UsageError(f"score {self.value} lies outside its own interval {self.low} to {self.high}")


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """How one class fares: which of its images were found, and what was right of that which was called so.

    Args:
        name: of the class.
        recall: share of its images that were predicted as it; None where there is no such image.
        precision: share of the images predicted as it that are; None where none was.
    """

    name: str
    recall: Score | None
    precision: Score | None

    def plain(self) -> dict[str, Any]:
        """Return name and scores as JSON values."""
        return {
            "class": self.name,
            "recall": asdict(self.recall) if self.recall else None,
            "precision": asdict(self.precision) if self.precision else None,
        }


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How often something bad was seen, and how often it may truly happen.

    Args:
        count: how often it was seen.
        n: in how many cases.
        upper: the one-sided 95 % upper bound of its true share, 0 to 1.
    """

    count: int
    n: int
    upper: float

    def __post_init__(self) -> None:
        if not (0 <= self.count <= self.n and self.count <= self.upper * self.n <= self.n):
            raise UsageError(
                f"{self.count} of {self.n}, at most {self.upper}: expected a count within n and a share "
                f"that is no smaller than the one seen"
            )

    @property
    def words(self) -> str:
        """Count and bound in words.

        >>> Rate(count=0, n=20, upper=0.1391).words
        '0 of 20, at most 13.9 %'
        """
        return f"{self.count} of {self.n}, at most {100 * self.upper:.3g} %"

    def plain(self) -> dict[str, Any]:
        """Return the numbers and their words as JSON values."""
        return {"count": self.count, "n": self.n, "upper": self.upper, "words": self.words}


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What an inspection lets through, and what it rejects for nothing.

    Args:
        ng: the names of the classes that are not good; all others are.
        escapes: images of these classes that were called OK, of all of them.
        overkill: images of the other classes that were called NG, of all of them.
        groups_with_escapes: groups (parts, lots) with any escape, of those with any NG image; None without
            groups.
        groups_with_overkill: the same for overkill and OK images.
        bound: how the upper bounds were made, in words.
    """

    ng: tuple[str, ...]
    escapes: Rate
    overkill: Rate
    groups_with_escapes: Rate | None
    groups_with_overkill: Rate | None
    bound: str

    def plain(self) -> dict[str, Any]:
        """Return the rates as JSON values; those by group only where there are groups."""
        rates = {
            "escapes": self.escapes,
            "overkill": self.overkill,
            "groups_with_escapes": self.groups_with_escapes,
            "groups_with_overkill": self.groups_with_overkill,
        }
        return {
            "ng": list(self.ng),
            **{name: rate.plain() for name, rate in rates.items() if rate is not None},
            "bound": self.bound,
        }


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The 5-NN accuracy of training images, each among the others, and that of validation images."""

    training: float
    validation: float


@dataclass(frozen=True, kw_only=True)
class LearningPoint:
    """How accurate a part of the gallery is.

    Args:
        images: how many it holds, the mean over the draws.
        accuracy: the mean over the draws.
        low: the lowest of them.
        high: the highest.
        draws: how often such a part was drawn.
        n: how many queries were asked each time.
    """

    images: int
    accuracy: float
    low: float
    high: float
    draws: int
    n: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What a model is worth on queries that it was not trained on.

    A score is None where it is not defined: `silhouette`, `between_within` and `ami` where there are too few
    images, or too few places in space; `balanced_accuracy` where the classes are equally many, and it is the
    accuracy; a recall at k beyond the gallery (at 1 it is `precision_at_1`); `r_precision` and `map_at_r`
    where no query has its class in the gallery. `confusion` is int64 (classes, classes): row the true class,
    column the predicted one.

    `knn_accuracy`, `balanced_accuracy`, `confusion`, `per_class` and `inspection` are by the vote of the
    nearest `k`.
    """

    knn_accuracy: Score
    precision_at_1: Score
    silhouette: Score | None
    between_within: Score | None
    confusion: NDArray[np.int64]
    balanced_accuracy: Score | None = None
    recall_at_2: Score | None = None
    recall_at_4: Score | None = None
    recall_at_8: Score | None = None
    r_precision: Score | None = None
    map_at_r: Score | None = None
    ami: Score | None = None
    per_class: tuple[ClassScore, ...] = ()
    inspection: Inspection | None = None
    k: int = 5

    def plain(self) -> dict[str, Any]:
        """Return scores, confusion, what there is by class and the inspection, if any, as JSON values."""
        return {
            "scores": {name: asdict(score) for name, score in self.numbers().items()},
            "confusion": self.confusion.tolist(),
            "per_class": [score.plain() for score in self.per_class],
            "inspection": None if self.inspection is None else self.inspection.plain(),
        }

    def numbers(self) -> dict[str, Score]:
        """Return the scores that there are, by name, in order."""
        return {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Score)}
