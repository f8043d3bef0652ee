"""Thresholds: how they are drawn from calibration images, and what they say of a score."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from ..shapes import Bool, Float, Int64
from ..space.costs import cheapest_threshold
from ..space.promises import promised_limits, promised_threshold
from ..space.rates import rate
from ..values import Asked, Calibration, Inspecting, Kept
from .favor import favors_of, standing
from .known import CLEARANCE, Known

__all__ = ["Rules", "calibrated", "gate_limits", "ng_scores", "rules_of", "scoring", "unit_scores"]

LEAST_LIMIT: Final = 1e-6
REACHED: Final = CLEARANCE**-2
"""The statistics of one in 1,000 learnt images are beyond it, in their unit. Their limit is not below: a few
calibration images may be all alike, and what was learnt from is not unknown."""


def calibrated(known: Known, kept: Kept, asked: Asked, state: str) -> Calibration:
    """Draw the thresholds from calibration images.

    False alarms: the order statistics that keep the promise (`space.promises`), over images that are
    independent: of a group, whose images are not, the strangest counts as one. Each gate has a limit of its
    own, so that what one of them finds odd in known images does not open the other; where the promise has no
    room for two, one limit is drawn for the larger of both. Where so few images cannot promise what was
    asked for, the largest scores promise what they can. With a promise for each class, each with enough
    images of its own has its own threshold, on how strange they are to that class; the others take the one
    of all together, and both gates have one limit.

    Escapes: likewise, of the NG scores of NG images the order statistic from below; or the threshold of the
    least cost.

    Args:
        known: what images are compared with.
        kept: images in neither training, gallery nor test, whose classes are all known.
        asked: what to keep to.
        state: of the gallery.

    Raises:
        UsageError: costs or escapes where no class is NG.
        DataError: costs or escapes, but no NG or no OK image among them; a class that is not known.
    """
    names = known.embeddings.class_names
    strange = [name for name in kept.class_names if name not in names]
    if strange:
        raise DataError(f"calibration images of class {strange[0]!r}, which the model does not know")
    labels = np.array([names.index(name) for name in kept.class_names], np.int64)[kept.labels]
    near = known.near(kept.vectors, known.k)
    found = known.strangeness_by(near, kept.statistics)
    embedded, statistics = (unit_scores(one, kept.groups) for one in (found.embedded, found.statistics))
    balance, threshold, promised = gate_limits(embedded, statistics, asked)
    found = found.weighed(balance)
    right, away = standing(kept.vectors, labels, near, known)
    own = found.by_class[np.arange(len(kept)), labels]
    by_class = {}
    for label in np.unique(labels).tolist() if asked.per_class else ():
        of_class = unit_scores(own[labels == label], kept.groups[labels == label])
        limit, share = promised_threshold(of_class, asked.false_alarm, asked.confidence)
        if share <= asked.false_alarm:
            # not below the pooled one, whose promise is for images of every class: one that is of a class
            # without a threshold of its own may be known by its likeness to this
            by_class[names[label]] = max(limit, threshold)
    return Calibration(
        asked=asked,
        kept=kept,
        strangeness=found.least,
        own=own,
        right=right,
        away=away,
        units=len(embedded),
        threshold=threshold,
        balance=balance,
        promised=promised,
        class_thresholds=by_class,
        inspecting=_inspecting(found.scaled, labels, known, kept, asked),
        state=state,
        fingerprint=known.embeddings.fingerprint,
    )


def gate_limits(
    embedded: Float[np.ndarray, " n"], statistics: Float[np.ndarray, " n"], asked: Asked
) -> tuple[float, float, float]:
    """Return the balance between the gates, the threshold that they then share, and what that promises.

    Args:
        embedded: (n,), the embedding's scores of independent images.
        statistics: (n,), the statistics' scores of the same, before any balance.
        asked: what to keep to.
    """
    if not asked.per_class:
        limits = promised_limits(embedded, statistics, asked.false_alarm, asked.confidence)
        # gates are not weighed by a limit of nothing, as where all calibration images are copies
        if limits is not None and LEAST_LIMIT < limits[0] < 1 / LEAST_LIMIT:
            limit = max(limits[1], REACHED)
            balance = limits[0] / limit
            return balance, max(limits[0], limit * balance), limits[2]
    scores = np.maximum(embedded, statistics)
    return (1.0, *promised_threshold(scores, asked.false_alarm, asked.confidence))


def _inspecting(
    scaled: NDArray[np.float64], labels: NDArray[np.int64], known: Known, kept: Kept, asked: Asked
) -> Inspecting | None:
    if asked.cost_escape is None and asked.escapes is None:
        return None
    option = "--escapes" if asked.cost_escape is None else "--cost-escape"
    scores = ng_scores(scaled, known.ng, known.new)
    if scores is None:
        raise UsageError(f"{option}: the model knows no NG class; train with --ng, naming the NG classes")
    ng = known.ng[labels]
    if ng.all() or not ng.any():
        raise DataError(
            f"{option}: {int(ng.sum())} of the {len(ng)} calibration images are NG; expected some of each"
        )
    units = -unit_scores(-scores[ng], kept.groups[ng])
    promised = cost = None
    if asked.escapes is not None:
        mirrored, promised = promised_threshold(-units, asked.escapes, asked.confidence)
        threshold = -mirrored
    else:
        assert asked.cost_escape is not None
        assert asked.cost_overkill is not None
        share = float(ng.mean()) if asked.ng_share is None else asked.ng_share
        threshold, cost = cheapest_threshold(
            scores, ng, cost_escape=asked.cost_escape, cost_overkill=asked.cost_overkill, ng_share=share
        )
    return Inspecting(
        threshold=threshold,
        escapes=rate(scores[ng] < threshold),
        overkill=rate(scores[~ng] >= threshold),
        escaping=rate(units < threshold),
        promised=promised,
        cost=cost,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Rules:
    """A calibration, made ready for a gallery.

    Args:
        scores: of independent images or groups, ascending.
        thresholds: (c,), an image stranger than a class's is not of it.
        own: of each class with enough of them, how strange its own images are to it, one score a group.
        promised: (c,), whether a class has enough.
        counts: (c,), how many it has.
        needed: how many are enough.
        ng_threshold: an NG score from which on a part is NG.
        balance: between the gates, as in `Calibration`.
        blocks: what p-values count beside the images (`space.promises.p_values`).
        favors: (c,), how many times as far a class that was taught may be and still win.
        stale: whether the gallery is another than the one that was calibrated against.
    """

    scores: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    own: dict[int, NDArray[np.float64]]
    promised: NDArray[np.bool_]
    counts: NDArray[np.int64]
    needed: int
    ng_threshold: float | None
    balance: float
    blocks: int
    favors: NDArray[np.float64]
    stale: bool


def rules_of(calibration: Calibration, known: Known, state: str) -> Rules:
    """Return a calibration made ready for a gallery, whose state this is."""
    names = known.embeddings.class_names
    needed = math.ceil(1 / calibration.asked.false_alarm - 1e-9) - 1
    kept, counts = calibration.kept, np.zeros(len(names), np.int64)
    own = {}
    for number, name in enumerate(kept.class_names):
        rows = kept.labels == number
        if name not in names or not rows.any():
            continue
        scores = unit_scores(calibration.own[rows], kept.groups[rows])
        counts[names.index(name)] = len(scores)
        if len(scores) >= needed:
            own[names.index(name)] = scores
    thresholds = np.full(len(names), calibration.threshold)
    for name, threshold in calibration.class_thresholds.items():
        if name in names:
            thresholds[names.index(name)] = threshold
    return Rules(
        scores=np.sort(unit_scores(calibration.strangeness, kept.groups)),
        thresholds=thresholds,
        own=own,
        promised=counts >= needed,
        counts=counts,
        needed=needed,
        ng_threshold=None if calibration.inspecting is None else calibration.inspecting.threshold,
        balance=calibration.balance,
        blocks=2 if calibration.balanced else 1,
        favors=favors_of(calibration, known),
        stale=calibration.state != state,
    )


def ng_scores(
    scaled: NDArray[np.float64], ng: Bool[np.ndarray, " c"], new: Bool[np.ndarray, " c"] | None = None
) -> NDArray[np.float64] | None:
    """Return from 0, as an OK class, to 1, as an NG class, what images look like; None without NG classes.

    The least scaled distance to an OK class, over its sum with the least to an NG class. A defect that was
    taught is found by its likeness: what it has, five images in a wide class, would make every part look
    somewhat more NG. It counts where no NG class was learnt.

    Args:
        scaled: float64 (n, c), distances to each class over what is usual in it.
        ng: (c,), whether a class is NG.
        new: (c,), whether it was taught and is none of the model's own; None where none was.

    >>> ng_scores(np.array([[1.0, 3.0], [0.0, 1.0]]), np.array([False, True])).tolist()
    [0.25, 0.0]
    """
    if not ng.any() or ng.all():
        return None
    bad_ones = ng if new is None else scoring(ng, new)
    ok, bad = (np.minimum(scaled[:, side].min(axis=1), 1e300) for side in (~ng, bad_ones))
    total = ok + bad
    shares: NDArray[np.float64] = np.divide(ok, total, out=np.full(len(scaled), 0.5), where=total > 0)
    return shares


def scoring(ng: Bool[np.ndarray, " c"], new: Bool[np.ndarray, " c"]) -> NDArray[np.bool_]:
    """Return which NG classes the NG score counts, (c,): those that were learnt, or all where none was."""
    return ng if new[ng].all() else ng & ~new


def unit_scores(scores: NDArray[np.float64], groups: Int64[np.ndarray, " n"]) -> NDArray[np.float64]:
    """Return one score for each group: that of its strangest image.

    >>> unit_scores(np.array([1.0, 5.0, 2.0]), np.array([7, 7, 9])).tolist()
    [5.0, 2.0]
    """
    names, unit = np.unique(groups, return_inverse=True)
    found = np.full(len(names), -np.inf)
    np.maximum.at(found, unit, scores)
    return found
