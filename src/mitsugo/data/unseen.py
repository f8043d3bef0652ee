"""Which classes are held out whole: a model is then asked about classes that it never saw."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..errors import UsageError, shown
from ..shapes import Bool, Int64, Labels
from .holdout import key_order

__all__ = ["FEWEST_CLASSES", "held_out_classes"]

FEWEST_CLASSES: Final = 4
"""Two to train on, or there are no triplets, and two to test on, or all is one class."""
EITHER_SIDE: Final = 2
NAMES: Final = 5


def held_out_classes(
    labels: Labels,
    units: Labels,
    class_names: Sequence[str],
    share: float,
    seed: int,
    testable: Bool[np.ndarray, " classes"] | None = None,
) -> Int64[np.ndarray, " m"]:
    """Draw whole classes to hold out: the share of them, rounded with halves up, but two on either side.

    Classes that share a unit are held out together.

    Args:
        labels: (n,), indices into `class_names`.
        units: (n,), images of one number stay together.
        class_names: the draw hangs on them and on the seed, not on their order.
        share: of the classes that occur, above 0 and below 1.
        seed: of the draw.
        testable: (classes,), those that may be held out; None: those of two images or more.

    Returns:
        The classes, ascending.

    Raises:
        UsageError: fewer than four classes of two images, or units that bind too many of them together.

    >>> held_out_classes(np.arange(10) // 2, np.arange(10), "abcde", 0.2, seed=0).size
    2
    """
    counts = np.bincount(labels, minlength=len(class_names))
    able = counts > 1 if testable is None else testable & (counts > 1)
    present = int(np.count_nonzero(counts))
    if np.count_nonzero(counts > 1) < FEWEST_CLASSES or np.count_nonzero(able) < EITHER_SIDE:
        raise UsageError(
            f"--split unseen-classes: {np.count_nonzero(able)} of {present} classes have two images or more "
            f"to test on, expected two of them and two others to train on: collect more classes, or take "
            f"--split stratified"
        )
    bundles = _bundles(labels, units, class_names, seed)
    most = present - EITHER_SIDE
    goal = min(max(int(np.floor(present * share + 0.5)), EITHER_SIDE), most)
    fitting = [bundle for bundle in bundles if able[bundle].all()]
    held = _filled(fitting, goal, goal)
    if len(held) < EITHER_SIDE:
        held = _filled(sorted(fitting, key=len), EITHER_SIDE, most)
    if len(held) < EITHER_SIDE:
        together = ", ".join(shown(class_names[label]) for label in max(bundles, key=len)[:NAMES].tolist())
        raise UsageError(
            f"--split unseen-classes: groups and equal images bind {len(max(bundles, key=len))} of {present} "
            f"classes together ({together}), so that no two can be held out whole; take --split stratified"
        )
    return np.sort(np.array(held, np.int64))


def _filled(bundles: Sequence[NDArray[np.int64]], enough: int, most: int) -> list[int]:
    """Take bundle after bundle until there are enough classes, leaving out those that would be too many."""
    held: list[int] = []
    for bundle in bundles:
        if len(held) < enough and len(held) + len(bundle) <= most:
            held += bundle.tolist()
    return held


def _bundles(labels: Labels, units: Labels, class_names: Sequence[str], seed: int) -> list[NDArray[np.int64]]:
    """Return the classes that occur, those that share a unit together, in a drawn order."""
    _, units = np.unique(units, return_inverse=True)
    classes = len(class_names)
    size = classes + int(units.max()) + 1
    edges = coo_array((np.ones(len(labels), np.bool_), (labels, classes + units)), shape=(size, size))
    bundle_of = connected_components(edges, directed=False)[1][:classes]
    order = key_order(class_names, seed)
    order = order[np.isin(order, labels)]
    return [order[bundle_of[order] == bundle] for bundle in dict.fromkeys(bundle_of[order].tolist())]
