"""The images that thresholds came from, what was asked, and what was decided by them."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from .frozen import freeze
from .scores import Rate

__all__ = ["Asked", "Calibration", "Inspecting", "Kept"]

HIGHEST: Final = 1 + 1e-9
"""An NG score is 1 at most; a threshold above it calls nothing NG."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What thresholds shall keep to.

    Args:
        false_alarm: known images are called unknown at most this often.
        confidence: of the promises, over the draw of the calibration images.
        per_class: whether false alarms are promised for each class, rather than for all together.
        cost_escape: what an NG part costs that is called OK; None where costs do not decide.
        cost_overkill: what an OK part costs that is called NG.
        ng_share: the share of NG among the parts to come; None takes that of the calibration images.
        escapes: NG parts are called OK at most this often; None where costs decide, or nothing.

    Raises:
        UsageError: a value that cannot be meant; the option is named.
    """

    false_alarm: float = 0.01
    confidence: float = 0.95
    per_class: bool = False
    cost_escape: float | None = None
    cost_overkill: float | None = None
    ng_share: float | None = None
    escapes: float | None = None

    def __post_init__(self) -> None:
        for name in ("false_alarm", "confidence", "ng_share", "escapes"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise UsageError(
                    f"--{name.replace('_', '-')} {value}: expected a share of more than 0 and less than 1"
                )
        for name in ("cost_escape", "cost_overkill"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise UsageError(f"--{name.replace('_', '-')} {value}: expected a positive number")
        if (self.cost_escape is None) != (self.cost_overkill is None):
            raise UsageError("--cost-escape and --cost-overkill go together; give both, as 100 and 1")
        if self.cost_escape is not None and self.escapes is not None:
            raise UsageError("--cost-escape and --escapes both set the NG threshold; give one of them")
        if self.ng_share is not None and self.cost_escape is None:
            raise UsageError("--ng-share weighs the costs; give --cost-escape and --cost-overkill, too")


@dataclass(frozen=True, kw_only=True)
class Inspecting:
    """The threshold between OK and NG, and what it does to the calibration images.

    Args:
        threshold: of the NG score; a part of this score or more is NG.
        escapes: NG calibration images below it.
        overkill: OK calibration images at or above it.
        escaping: independent NG images, or groups of them, with any below it.
        promised: at most this share of NG parts escapes, with the confidence asked for; None where costs
            decided, which promises nothing.
        cost: the mean cost of a calibration image at this threshold, weighed by the NG share; None where
            costs did not decide.

    Raises:
        DataError: a threshold, a promise or a cost that cannot be.
    """

    threshold: float
    escapes: Rate
    overkill: Rate
    escaping: Rate
    promised: float | None = None
    cost: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= HIGHEST:
            raise DataError(f"a threshold of {self.threshold} between OK and NG: expected 0 to {HIGHEST}")
        if self.promised is not None and not 0 < self.promised <= 1:
            raise DataError(f"a promised share of {self.promised}: expected more than 0 and at most 1")
        if self.cost is not None and not 0 <= self.cost < np.inf:
            raise DataError(f"a cost of {self.cost}: expected a finite number of 0 or more")


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """Calibration images: in neither training, gallery nor test.

    Args:
        vectors: float32 (n, d).
        statistics: float32 (n, p).
        labels: int64 (n,), indices into `class_names`.
        class_names: of the labels.
        groups: int64 (n,); images of one number are not independent.
        digests: uint64 (n, 2), of their pixels.
        source: where they came from.
    """

    vectors: NDArray[np.float32]
    statistics: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    groups: NDArray[np.int64]
    digests: NDArray[np.uint64]
    source: str

    def __post_init__(self) -> None:
        n = len(self.labels)
        found = (self.vectors.shape[:1], self.statistics.shape[:1], self.groups.shape, self.digests.shape)
        if not n or found != ((n,), (n,), (n,), (n, 2)):
            raise DataError(f"{n} calibration images with parts of shapes {found}; expected one row of each")
        if not 0 <= self.labels.min() <= self.labels.max() < len(self.class_names):
            raise DataError("a calibration image has a label that is no class")
        if len(set(self.class_names)) != len(self.class_names):
            raise DataError("two classes of the calibration images have the same name")
        if not (np.isfinite(self.vectors).all() and np.isfinite(self.statistics).all()):
            raise DataError("an embedding of a calibration image is not finite")
        freeze(self)

    def __len__(self) -> int:
        return len(self.labels)

    def apart_from(self, digests: NDArray[np.uint64]) -> "Kept | None":
        """Return those of other pixels, and of no group with an image of these; None where none is left."""
        there = set(map(bytes, digests))
        used = np.array([bytes(digest) in there for digest in self.digests], np.bool_)
        rows = ~np.isin(self.groups, self.groups[used])
        if not rows.any():
            return None
        return replace(
            self,
            vectors=self.vectors[rows],
            statistics=self.statistics[rows],
            labels=self.labels[rows],
            groups=self.groups[rows],
            digests=self.digests[rows],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Thresholds, with the images that they came from.

    Args:
        asked: what they keep to.
        kept: the images.
        strangeness: float64 (n,), how strange each image is to the class that it is likest.
        own: float64 (n,), how strange it is to its own class.
        right: bool (n,), whether the vote finds its class, and that was learnt; empty in an older bundle.
        away: float64 (n,), how far it is from the local mean of the class that was voted for; likewise.
        units: how many independent images, or groups of them, there are.
        threshold: an image stranger than this to every class is unknown.
        balance: what the statistics' distance is multiplied by, so that the two gates, which have limits of
            their own, share that threshold; 1 where one limit was drawn for both.
        promised: known images are called unknown at most this often, with the confidence asked for.
        class_thresholds: where each class has its own promise: its threshold, by its name.
        inspecting: the threshold between OK and NG; None where no class is NG, or none was asked for.
        state: of the gallery that they were scored against; of another gallery they are stale.
        fingerprint: of the model whose embeddings were scored.

    Raises:
        DataError: scores, thresholds or counts that do not fit the images, or are not finite.
    """

    asked: Asked
    kept: Kept
    strangeness: NDArray[np.float64]
    own: NDArray[np.float64]
    right: NDArray[np.bool_]
    away: NDArray[np.float64]
    units: int
    threshold: float
    balance: float
    promised: float
    class_thresholds: dict[str, float]
    inspecting: Inspecting | None
    state: str
    fingerprint: str

    def __post_init__(self) -> None:
        n = len(self.kept)
        if self.strangeness.shape != (n,) or self.own.shape != (n,):
            raise DataError(f"{n} calibration images, but another number of scores")
        if self.right.shape != self.away.shape or self.away.shape not in {(0,), (n,)}:
            raise DataError(f"{n} calibration images, but of another number it is known how far they are")
        if not (np.isfinite(self.strangeness).all() and not np.isnan(self.own).any()):
            raise DataError("a calibration score is not finite")
        if not (np.isfinite(self.away).all() and (self.away >= 0).all()):
            raise DataError("a calibration image is no distance away from its class")
        if self.units != (units := len(np.unique(self.kept.groups))):
            raise DataError(f"{self.units} independent calibration images are claimed, but there are {units}")
        strange = set(self.class_thresholds) - set(self.kept.class_names)
        if strange:
            raise DataError(f"a threshold for class {min(strange)!r}, of which there is no calibration image")
        self._check_thresholds()
        freeze(self)

    def _check_thresholds(self) -> None:
        for limit in (self.threshold, *self.class_thresholds.values()):
            if not 0 <= limit < np.inf:
                raise DataError(f"a threshold of {limit}: expected a finite number of 0 or more")
        if not 0 < self.balance < np.inf:
            raise DataError(f"a balance of {self.balance} between the gates: expected a positive number")
        if not 0 < self.promised <= 1:
            raise DataError(f"a promised share of {self.promised}: expected more than 0 and at most 1")

    @property
    def balanced(self) -> bool:
        """Whether each gate has a limit of its own, drawn from these images."""
        return self.balance != 1
