"""How far to trust a score: intervals over images, or over the groups that images come in."""

import math
from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array
from scipy.special import stdtrit

from ..errors import UsageError
from ..shapes import Bool, Float, Int64
from ..values import Score
from .separation import Z

__all__ = ["accuracy", "halved", "mean_score", "share"]

DRAWS = 2_000
"""How often the bootstrap draws."""
FEW = 40
"""Of fewer groups a bootstrap knows too little: Student's t is wider, and nearer the truth."""
MANY = 10_000
"""Of more, the two agree, and the bootstrap costs."""
HALVES = 8
"""How many random halves a spread is taken over."""


def accuracy(correct: Bool[np.ndarray, " n"]) -> Score:
    """Return the share of right predictions with Wilson's interval (1927).

    (p + z²/2n ± z √(p (1 - p) / n + z²/4n²)) / (1 + z²/n), z = 1.96

    Raises:
        UsageError: no prediction at all.

    >>> score = accuracy(np.array([True] * 9 + [False]))
    >>> round(score.low, 4), score.value, round(score.high, 4)
    (0.5958, 0.9, 0.9821)
    """
    n = len(correct)
    if not n:
        raise UsageError("an accuracy of 0 images; expected 1 or more")
    share = float(correct.mean())
    low, high = _wilson(share, n)
    return Score(value=share, low=low, high=high, n=n, interval="Wilson, 95 %, over images")


def share(correct: Bool[np.ndarray, " n"], groups: Int64[np.ndarray, " n"] | None, *, seed: int) -> Score:
    """Return the share of what is right: with Wilson's interval over images, or with one over groups.

    Raises:
        UsageError: no image at all, or not one group an image.

    >>> share(np.array([True, False]), np.array([7, 8]), seed=0).interval
    't, 95 %, over 2 groups'
    """
    if groups is None:
        return accuracy(correct)
    return mean_score(correct.astype(np.float64), groups, seed=seed)


def mean_score(
    values: Float[np.ndarray, " n"],
    groups: Int64[np.ndarray, " n"] | None = None,
    *,
    seed: int,
    strata: Int64[np.ndarray, " n"] | None = None,
) -> Score:
    """Return the mean of the images' values, 0 to 1, with a 95 % interval over groups of images.

    With strata it is the mean over strata of the means m_c within each. The groups are what is drawn, whole;
    images without groups are each their own.

    From 40 to 10,000 groups: the percentile bootstrap (Efron, 1979; of clusters: Davison and Hinkley, 1997,
    section 3.8), 2,000 draws of as many groups with replacement; a stratum that a draw misses is left out of
    it. Otherwise Student's t with G - 1 degrees of freedom on the linearised, cluster-robust standard error
    of a ratio of sums (Cochran, Sampling techniques, 1977, chapter 9A; Liang and Zeger, 1986),

        √(G / (G - 1) Σ_g u_g²),  u_g = Σ_{i in g} (s_i - m_c(i)) / (C n_c(i)),

    C the number of strata and n_c the images of one. Ends are clipped to 0 and 1. Where no group differs from
    another there is no spread to measure: the interval is then Wilson's with n the number of groups. One
    group says nothing about others: 0 to 1.

    Raises:
        UsageError: no image, a value outside 0 to 1, not one group or stratum an image.

    >>> score = mean_score(np.array([1.0, 1.0, 0.0, 1.0]), np.array([0, 0, 1, 2]), seed=0)
    >>> score.value, score.groups, score.interval
    (0.75, 3, 't, 95 %, over 3 groups')
    """
    _check(values, groups, strata)
    unit, count = _units(groups, len(values))
    _, stratum = np.unique(np.zeros(len(values)) if strata is None else strata, return_inverse=True)
    sizes = np.bincount(stratum)
    means = np.bincount(stratum, values) / sizes
    value = min(1.0, max(0.0, float(means.mean())))
    influence = np.bincount(unit, (values - means[stratum]) / (len(sizes) * sizes[stratum]))
    over = f"over {count} groups" if groups is not None else "over images"
    if count == 1:
        low, high, how = 0.0, 1.0, "none: one group says nothing about others"
    elif np.abs(influence).max() < 1e-12:
        low, high = _wilson(value, count)
        how = f"Wilson, 95 %, {over}, as none differs from another"
    elif FEW <= count <= MANY:
        low, high = np.quantile(_redrawn(values, unit, stratum, seed), [0.025, 0.975]).tolist()
        how = f"bootstrap, 95 %, {over}, {DRAWS} draws from seed {seed}"
    else:
        reach = float(stdtrit(count - 1, 0.975)) * _standard_error(influence)
        low, high, how = value - reach, value + reach, f"t, 95 %, {over}"
    return Score(
        value=value,
        low=max(0.0, min(low, value)),
        high=min(1.0, max(high, value)),
        n=len(values),
        interval=how,
        groups=count if groups is not None else None,
    )


def halved(
    score: Score,
    of_some: Callable[[Int64[np.ndarray, " m"], int], float],
    groups: Int64[np.ndarray, " n"] | None = None,
    *,
    limits: tuple[float, float],
    seed: int,
) -> Score:
    """Return a score with an interval that comes from its spread over seeds, each of which takes a half.

    The score is taken on 8 random halves of the groups (without groups: of the images), each drawn without
    replacement from a seed of its own; the interval is the value ± t s, s their standard deviation and t
    Student's with 7 degrees of freedom. The deviation of halves estimates the standard error of the whole: of
    a mean it does so without bias, as (1 - 1/2) / (n / 2) = 1 / n (the delete-d jackknife with d = n/2; Shao
    and Wu, 1989).

    Args:
        score: of all n images.
        of_some: the same score of some of them, by index, and by the seed for what else is drawn.
        groups: (n,), the group of each image.
        limits: the least and the most that the score can be.
        seed: the halves come from this and the next 7.

    Raises:
        UsageError: fewer than 4 groups (images), or what `of_some` refuses.

    >>> values = np.arange(100.0) / 100
    >>> plain = Score(value=float(values.mean()), low=0.0, high=1.0, n=100, interval="none")
    >>> score = halved(plain, lambda some, _: float(values[some].mean()), limits=(0.0, 1.0), seed=0)
    >>> round(score.low, 2), score.interval  # the standard error is 0.029
    (0.44, 'spread over 8 seeds, 95 %, each of a random half of the images')
    """
    unit, count = _units(groups, score.n)
    if count < 4:
        raise UsageError(f"random halves of {count} images or groups; expected 4 or more")
    values = np.empty(HALVES)
    for i in range(HALVES):
        chosen = np.zeros(count, dtype=np.bool_)
        chosen[np.random.default_rng(seed + i).permutation(count)[: count // 2]] = True
        values[i] = of_some(np.flatnonzero(chosen[unit]), seed + i)
    reach = float(stdtrit(HALVES - 1, 0.975)) * float(values.std(ddof=1))
    lowest, highest = limits
    what = "images" if groups is None else f"{count} groups"
    return Score(
        value=score.value,
        low=min(score.value, max(lowest, score.value - reach)),
        high=max(score.value, min(highest, score.value + reach)),
        n=score.n,
        interval=f"spread over {HALVES} seeds, 95 %, each of a random half of the {what}",
        groups=None if groups is None else count,
    )


def _wilson(share: float, n: int) -> tuple[float, float]:
    middle = share + Z * Z / (2 * n)
    reach = Z * (share * (1 - share) / n + Z * Z / (4 * n * n)) ** 0.5
    whole = 1 + Z * Z / n
    # at 0 and 1 the ends are the share itself, but for rounding
    return max(0.0, min(share, (middle - reach) / whole)), min(1.0, max(share, (middle + reach) / whole))


def _standard_error(influence: Float[np.ndarray, " u"]) -> float:
    count = len(influence)
    return math.sqrt(count / (count - 1) * np.square(influence).sum())


def _redrawn(
    values: Float[np.ndarray, " n"],
    unit: Int64[np.ndarray, " n"],
    stratum: Int64[np.ndarray, " n"],
    seed: int,
) -> Float[np.ndarray, " draws"]:
    """Return the score of each bootstrap draw, from how often it took each unit."""
    units, shape = int(unit.max()) + 1, (int(stratum.max()) + 1, int(unit.max()) + 1)
    sums = csr_array((values, (stratum, unit)), shape=shape)
    sizes = csr_array((np.ones(len(values)), (stratum, unit)), shape=shape)
    generator = np.random.default_rng(seed)
    scores = []
    step = max(1, (1 << 20) // units)
    for start in range(0, DRAWS, step):
        draws = min(step, DRAWS - start)
        taken = generator.integers(0, units, (draws, units)) + np.arange(draws)[:, None] * units
        times = np.bincount(taken.ravel(), minlength=draws * units).reshape(draws, units).T.astype(np.float64)
        images = sizes @ times
        means = (sums @ times) / np.maximum(images, 1)
        scores.append(means.sum(axis=0) / (images > 0).sum(axis=0))
    return np.concatenate(scores)


def _units(groups: Int64[np.ndarray, " n"] | None, images: int) -> tuple[Int64[np.ndarray, " n"], int]:
    """Return which unit each image belongs to, from 0, and how many units there are."""
    if groups is None:
        return np.arange(images), images
    names, unit = np.unique(groups, return_inverse=True)
    return unit.astype(np.int64), len(names)


def _check(
    values: Float[np.ndarray, " n"],
    groups: Int64[np.ndarray, " n"] | None,
    strata: Int64[np.ndarray, " n"] | None,
) -> None:
    if not len(values):
        raise UsageError("a score of 0 images; expected 1 or more")
    if not (values.min() >= 0 and values.max() <= 1):
        raise UsageError(f"values run from {values.min()} to {values.max()}; expected 0 to 1")
    for what, each in (("groups", groups), ("strata", strata)):
        if each is not None and len(each) != len(values):
            raise UsageError(f"{len(each)} {what} for {len(values)} images; expected one each")
