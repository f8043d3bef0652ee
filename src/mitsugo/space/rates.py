"""What an inspection may let through: escapes and overkill, each with an upper bound."""

from collections.abc import Sequence

import numpy as np
from scipy.special import betaincinv

from ..errors import UsageError, shown
from ..shapes import Bool, Int64
from ..values.scores import Inspection, Rate

__all__ = ["inspection", "rate", "upper_bound"]

CONFIDENCE = 0.95


def upper_bound(count: int, n: int) -> float:
    """Return the one-sided 95 % upper bound of a share of which `count` of `n` were seen.

    Clopper and Pearson (1934): the share p at which so few or fewer would be seen with a chance of 5 %, the
    95 % quantile of Beta(count + 1, n - count). Of none seen it is 1 - 0.05^(1/n); 1 where all were, or
    nothing was looked at.

    Raises:
        UsageError: a count that is negative, or more than n.

    >>> round(upper_bound(0, 20), 3)
    0.139
    """
    if not 0 <= count <= n:
        raise UsageError(f"{count} of {n} seen; expected 0 to {n}")
    return 1.0 if count == n else float(betaincinv(count + 1, n - count, CONFIDENCE))


def rate(events: Bool[np.ndarray, " n"]) -> Rate:
    """Return how often something happened, of how many, and at most how often it truly does.

    >>> rate(np.array([False] * 20)).words
    '0 of 20, at most 13.9 %'
    """
    count, n = int(events.sum()), len(events)
    return Rate(count=count, n=n, upper=upper_bound(count, n))


def inspection(
    true: Int64[np.ndarray, " q"],
    predicted: Int64[np.ndarray, " q"],
    class_names: Sequence[str],
    ng: Sequence[str],
    groups: Int64[np.ndarray, " q"] | None = None,
) -> Inspection:
    """Return how often NG was called OK (escapes), and OK called NG (overkill).

    An NG image that was taken for another NG class is no escape. The bounds take images as independent,
    which photos of one part are not: hence the groups with any escape, of those with any NG image, beside
    them, with a bound over groups.

    Args:
        true: (q,), the classes of the images.
        predicted: (q,), what they were called.
        class_names: a name for each class.
        ng: the names of the classes that are not good; all others are OK.
        groups: (q,), which part or lot each image is of.

    Raises:
        UsageError: a name that is no class, no name at all, or one for every class; arrays that do not fit
            together.

    >>> found = inspection(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), ("ok", "ng"), ["ng"])
    >>> found.escapes.words, found.overkill.words
    ('0 of 2, at most 77.6 %', '1 of 2, at most 97.5 %')
    """
    bad = _bad(class_names, ng)
    if len(predicted) != len(true) or (groups is not None and len(groups) != len(true)):
        raise UsageError(f"{len(true)} images; expected one prediction, and one group if any, for each")
    really, called = bad[true], bad[predicted]
    missed, rejected = really & ~called, ~really & called
    return Inspection(
        ng=tuple(name for name, is_bad in zip(class_names, bad, strict=True) if is_bad),
        escapes=rate(missed[really]),
        overkill=rate(rejected[~really]),
        groups_with_escapes=None if groups is None else _by_group(missed[really], groups[really]),
        groups_with_overkill=None if groups is None else _by_group(rejected[~really], groups[~really]),
        bound="one-sided 95 % upper bound, Clopper-Pearson",
    )


def _bad(class_names: Sequence[str], ng: Sequence[str]) -> Bool[np.ndarray, " c"]:
    names = ", ".join(map(shown, class_names[:5])) + (", …" if len(class_names) > 5 else "")
    for name in ng:
        if name not in class_names:
            raise UsageError(f"NG class {shown(name)}: no class of that name; the classes are {names}")
    bad = np.array([name in ng for name in class_names], dtype=np.bool_)
    if not bad.any() or bad.all():
        raise UsageError(
            f"{int(bad.sum())} NG classes of {len(class_names)} ({names}); expected one NG and one OK class "
            f"at least"
        )
    return bad


def _by_group(events: Bool[np.ndarray, " n"], groups: Int64[np.ndarray, " n"]) -> Rate:
    names, unit = np.unique(groups, return_inverse=True)
    return rate(np.bincount(unit, events, minlength=len(names)) > 0)
