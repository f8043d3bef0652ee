"""Which of two recipes predicts better, where that can be told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from ..errors import DataError, UsageError
from ..shapes import Bool, Float, Int64

__all__ = ["PairedDifference", "compare_pair", "holm", "verdict"]

Correct = Bool[np.ndarray, "s n"] | Int64[np.ndarray, "s n"] | Float[np.ndarray, "s n"]


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """The accuracy of one side less that of the other, on the same images.

    Args:
        difference: mean accuracy of `a` less mean accuracy of `b`, over seeds and images.
        low: lower end of the 95 % interval.
        high: upper end.
        p: how surprising so large a difference would be if there were none; not yet corrected for other
            pairs.
        method: how interval and p were made, in words.
        images: n.
        seeds: s.
    """

    difference: float
    low: float
    high: float
    p: float
    method: str
    images: int
    seeds: int


@dataclass(frozen=True, kw_only=True)
class _Interval:
    low: float
    high: float
    p: float
    method: str


def compare_pair(
    correct_a: Correct,
    correct_b: Correct,
    seed: int,
    *,
    deterministic: bool = False,
    resamples: int = 10_000,
) -> PairedDifference:
    """Compare two sides by which images each got right, under every one of its seeds.

    Two intervals of 95 % are made: a percentile bootstrap over images of the differences averaged over seeds
    (Efron, 1979), and Student's t over the per-seed differences of accuracy, with s - 1 degrees of freedom,
    whose spread is taken as one image at least. The wider is reported, and the larger p: a difference must
    hold for other images and for other seeds. One seed says nothing about others: the bootstrap's interval
    is then reported with p = 1. Where no side depends on its seed, the bootstrap stands alone.

    Args:
        correct_a: (s, n), 1 where an image was predicted rightly under a seed, else 0.
        correct_b: (s, n), the same images in the same order; row i is paired with row i of `correct_a`.
        seed: of the bootstrap.
        deterministic: whether it is known that no side depends on its seed; with two seeds or more this is
            seen from the rows, which are then equal on each side.
        resamples: how many bootstrap resamples.

    Raises:
        UsageError: shapes that differ, no image, no seed, fewer than 1 resamples.
        DataError: a value that is neither 0 nor 1.

    >>> half = np.tile(np.array([True, False]), (3, 50))
    >>> result = compare_pair(half, half, seed=0)
    >>> result.difference, result.p
    (0.0, 1.0)
    """
    _check(correct_a, correct_b, resamples)
    seeds, images = correct_a.shape
    gains = correct_a.astype(np.int64) - correct_b.astype(np.int64)
    over_images = _bootstrap(gains.sum(axis=0), seeds, seed, resamples)
    if deterministic or (seeds > 1 and _seedless(correct_a) and _seedless(correct_b)):
        decided = over_images
    elif seeds == 1:
        method = "bootstrap over images; cannot tell: one seed says nothing about others"
        decided = _Interval(low=over_images.low, high=over_images.high, p=1.0, method=method)
    else:
        decided = _wider(over_images, _student(gains.mean(axis=1), images))
    difference = float(gains.mean())
    return PairedDifference(
        difference=difference,
        low=min(decided.low, difference),
        high=max(decided.high, difference),
        p=decided.p,
        method=decided.method,
        images=images,
        seeds=seeds,
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p values corrected for looking at all of them (Holm, 1979), in their order.

    The i-th smallest of m, from 0, is multiplied by m - i; none falls below a smaller one's, or exceeds 1.

    Raises:
        UsageError: a value outside 0 to 1.

    >>> holm([0.03, 0.01, 0.5])
    (0.06, 0.03, 0.5)
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise UsageError(f"p values {list(p_values)}: expected each between 0 and 1")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def verdict(difference: PairedDifference, adjusted: float) -> Literal["better", "worse", "cannot tell"]:
    """Return what can be said of the first side, from the p value that `holm` adjusted: 0.05 decides.

    >>> half = np.tile(np.array([True, False]), (3, 50))
    >>> verdict(compare_pair(half, half, seed=0), 1.0)
    'cannot tell'
    """
    if not adjusted < 0.05:
        return "cannot tell"
    return "better" if difference.difference > 0 else "worse"


def _bootstrap(gains: NDArray[np.int64], seeds: int, seed: int, resamples: int) -> _Interval:
    """Resample images; their values are few, so how often each is drawn is one multinomial draw."""
    values, counts = np.unique(gains, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(gains), counts / len(gains), size=resamples)
    sums = draws @ values
    low, high = np.quantile(sums, [0.025, 0.975]) / (len(gains) * seeds)
    beyond = min(int((sums <= 0).sum()), int((sums >= 0).sum()))
    p = min(1.0, 2 * (beyond + 1) / (resamples + 1))
    return _Interval(low=float(low), high=float(high), p=p, method="bootstrap over images")


def _student(differences: NDArray[np.float64], images: int) -> _Interval:
    """Student's t; equal differences among a few seeds are chance, so the spread is one image or more."""
    seeds = len(differences)
    mean = float(differences.mean())
    error = max(float(differences.std(ddof=1)), 1 / images) / seeds**0.5
    margin = float(stdtrit(seeds - 1, 0.975)) * error
    p = min(1.0, 2 * float(stdtr(seeds - 1, -abs(mean) / error)))
    return _Interval(low=mean - margin, high=mean + margin, p=p, method="t over seeds")


def _wider(images: _Interval, seeds: _Interval) -> _Interval:
    wider = images if images.high - images.low > seeds.high - seeds.low else seeds
    other = seeds if wider is images else images
    return _Interval(
        low=wider.low,
        high=wider.high,
        p=max(images.p, seeds.p),
        method=f"{wider.method}, wider than {other.method}; the larger p of both",
    )


def _seedless(correct: Correct) -> bool:
    return bool((correct == correct[0]).all())


def _check(correct_a: NDArray[Any], correct_b: NDArray[Any], resamples: int) -> None:
    if correct_a.shape != correct_b.shape or not correct_a.size:
        raise UsageError(
            f"sides of shapes {correct_a.shape} and {correct_b.shape}; "
            f"expected one (seeds, images) for both, neither 0"
        )
    if resamples < 1:
        raise UsageError(f"{resamples} bootstrap resamples; expected 1 or more")
    for correct in (correct_a, correct_b):
        if not ((correct == 0) | (correct == 1)).all():
            raise DataError("an image is neither right (1) nor wrong (0); expected nothing else")
