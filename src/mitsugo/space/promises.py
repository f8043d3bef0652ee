"""What a threshold drawn from data may promise: shares of all to come, with a confidence over the draw.

Of n independent scores the k-th smallest leaves a share above it that is distributed as Beta(n + 1 - k, k),
whatever the scores' own distribution (Wilks, 1941). So the rank follows from the share and the confidence.

The n + 1 - k largest scores may as well be counted off two scores of the same images, one after the other:
some that are the largest by the one, then of the rest some that are the largest by the other. What lies
beyond either limit is a share of the same distribution (Wald, 1943; Tukey, 1947: equivalent blocks).
"""

import bisect
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betainc, betaincinv

from ..errors import UsageError
from ..shapes import Float

__all__ = [
    "CONFIDENCE",
    "ROOM",
    "images_needed",
    "kept_chance",
    "p_values",
    "promised_limits",
    "promised_rank",
    "promised_threshold",
    "smallest_share",
]

CONFIDENCE: Final = 0.95
TWO: Final = 2
"""So many of the largest lie beyond limits on two scores at the least."""
ROOM: Final = 3
"""Of so many that may lie beyond, two limits are worth it: of two, the second score would take half."""
ONE_IN: Final = 10
"""The second of two scores has so much of the promise, but one image at the least."""


def images_needed(share: float, confidence: float = CONFIDENCE, blocks: int = 1) -> int:
    """Return from how many independent images on a share can be promised: the largest must lie beyond it.

    The least n of which so many or more lie beyond the share with this confidence; with one, the least n with
    (1 - share)^n <= 1 - confidence.

    Args:
        share: above 0 and below 1.
        confidence: over the draw of the images.
        blocks: how many of the largest must lie beyond it: one for a limit on one score, two on two scores.

    Raises:
        UsageError: a share or a confidence that is not between 0 and 1.

    >>> images_needed(0.01), images_needed(0.05), images_needed(0.01, blocks=2)
    (299, 59, 473)
    """
    _check(share, confidence)
    one = math.ceil(math.log(1 - confidence) / math.log1p(-share) - 1e-12)
    if blocks == 1:
        return one
    most = max(one, blocks)
    while not _keeps(most, blocks, share, confidence):
        most *= 2
    return bisect.bisect_left(
        range(most), True, lo=blocks, key=lambda n: _keeps(n, blocks, share, confidence)
    )


def smallest_share(n: int, confidence: float = CONFIDENCE, blocks: int = 1) -> float:
    """Return the smallest share that n independent images can promise; 1 where there are fewer than blocks.

    Args:
        n: images.
        confidence: over their draw.
        blocks: as for `images_needed`.

    >>> round(smallest_share(299), 5), round(smallest_share(11), 3), round(smallest_share(11, blocks=2), 3)
    (0.00997, 0.238, 0.364)
    """
    _check(0.5, confidence)
    if n < blocks:
        return 1.0
    if blocks == 1:
        return -math.expm1(math.log(1 - confidence) / n)
    return float(betaincinv(blocks, n + 1 - blocks, confidence))


def promised_rank(n: int, share: float, confidence: float = CONFIDENCE) -> int | None:
    """Return which of n scores, counted from the smallest as 1, is the least that keeps the promise.

    At most the share of all scores to come lies above it, with this confidence over the draw of the n. None
    where not even the largest does: then `smallest_share` is what can be promised.

    Raises:
        UsageError: a share or a confidence that is not between 0 and 1.

    >>> promised_rank(298, 0.01), promised_rank(299, 0.01), promised_rank(1000, 0.01)
    (None, 299, 996)
    """
    _check(share, confidence)
    blocks = 0
    while blocks < n and _keeps(n, blocks + 1, share, confidence):
        blocks += 1
    return n + 1 - blocks if blocks else None


def promised_threshold(
    scores: Float[np.ndarray, " n"], share: float, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the threshold that a share of scores to come exceeds at most, and the share that is promised.

    That is the share asked for, or the smallest that so many scores can promise, with the largest of them as
    the threshold. Scores above the threshold are out; those equal to it are in.

    Args:
        scores: (n,), of independent images, from which nothing else was chosen.
        share: above 0 and below 1.
        confidence: over the draw of the scores.

    Raises:
        UsageError: no score, or a share or a confidence out of range.

    >>> promised_threshold(np.arange(1.0, 300.0), 0.01)
    (299.0, 0.01)
    """
    n = len(scores)
    if not n:
        raise UsageError("no score to draw a threshold from; expected one at least")
    rank = promised_rank(n, share, confidence)
    if rank is None:
        return float(np.max(scores)), smallest_share(n, confidence)
    return float(np.partition(scores, rank - 1)[rank - 1]), share


def promised_limits(
    first: Float[np.ndarray, " n"],
    second: Float[np.ndarray, " n"],
    share: float,
    confidence: float = CONFIDENCE,
) -> tuple[float, float, float] | None:
    """Return limits on two scores that a share of images to come exceeds at most, by either, and that share.

    Of the largest that may lie beyond (`promised_rank`) the second score has the tenth part, but one at the
    least; the first has the others, counted among the images that are not yet beyond. Where so few images
    cannot promise the share, each score has one, and what that promises is returned.

    Args:
        first: (n,), of independent images, from which nothing else was chosen.
        second: (n,), of the same images.
        share: above 0 and below 1.
        confidence: over the draw of the images.

    Returns:
        The limits, and what is promised; None where one or two images may lie beyond, as one score that joins
        the two then keeps the promise better, and where there are fewer than two images.

    Raises:
        UsageError: a share or a confidence out of range.

    >>> promised_limits(np.array([1.0, 4.0, 2.0]), np.array([5.0, 1.0, 9.0]), 0.1)[:2]
    (4.0, 9.0)
    """
    n = len(first)
    rank = promised_rank(n, share, confidence)
    blocks = TWO if rank is None else n + 1 - rank
    if n < TWO or (rank is not None and blocks < ROOM):
        return None
    own = max(1, blocks // ONE_IN)
    order = np.argsort(second, kind="stable")
    rest = first[order[: n - own]]
    place = len(rest) - (blocks - own)
    promised = smallest_share(n, confidence, TWO) if rank is None else share
    return float(np.partition(rest, place)[place]), float(second[order[n - own]]), promised


def p_values(
    scores: Float[np.ndarray, " q"], known: Float[np.ndarray, " n"], blocks: int = 1
) -> NDArray[np.float64]:
    """Return the conformal p-value of each score: (1 + how many known ones are as large or larger) / (n + 1).

    A known image's is at most p with a chance of at most p (Vovk, Gammerman and Shafer, 2005). Where the
    known images also told how two scores are weighed against each other (`promised_limits`), one more is
    counted: so that holds at the limits, and nearly so elsewhere.

    Args:
        scores: (q,).
        known: (n,), of calibration images.
        blocks: what is counted beside them: 1, or 2 where these images weighed two scores.

    >>> p_values(np.array([0.0, 2.5, 9.0]), np.array([1.0, 2.0, 3.0])).tolist()
    [1.0, 0.5, 0.25]
    """
    smaller = np.searchsorted(np.sort(known), scores, side="left")
    return np.minimum((blocks + len(known) - smaller) / (len(known) + 1), 1.0)


def kept_chance(n: int, rank: int, share: float) -> float:
    """Return with what chance the rank-th smallest of n scores keeps the promise.

    >>> round(kept_chance(299, 299, 0.01), 4)
    0.9505
    """
    return float(betainc(n + 1 - rank, rank, share))


def _keeps(n: int, blocks: int, share: float, confidence: float) -> bool:
    """Return whether so many or more of n scores lie above the share's true quantile with this confidence.

    How many do is Binomial(n, share).
    """
    return bool(bdtr(blocks - 1, n, share) <= 1 - confidence + 1e-12)


def _check(share: float, confidence: float) -> None:
    if not 0 < share < 1:
        raise UsageError(f"a promised share of {share}: expected more than 0 and less than 1, as 0.01")
    if not 0 < confidence < 1:
        raise UsageError(f"a confidence of {confidence}: expected more than 0 and less than 1, as 0.95")
