"""How well an embedding sets the classes apart: silhouette, and between- to within-class distance."""

from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from ..shapes import Float, Int64, Tensor
from ..values import Score

__all__ = ["between_within", "silhouette"]

Z = NormalDist().inv_cdf(0.975)


def silhouette(
    vectors: Float[np.ndarray, "n d"], labels: Int64[np.ndarray, " n"], *, sample: int = 5_000, seed: int
) -> Score:
    """Return the mean of (b - a) / max(a, b) over images (Rousseeuw, 1987), -1 to 1.

    a is an image's mean Euclidean distance to the others of its class, b the smallest of its mean distances
    to another class; an image alone in its class counts 0. Beyond `sample` images, it is taken on so many of
    them, drawn without replacement from `seed`. The interval is the normal one over the images' values, as if
    they were independent; n is the number of images that were taken.

    Raises:
        UsageError: fewer than two classes in the sample, or no class with two images.
        DataError: a value that is not finite.

    >>> points = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> score = silhouette(points, np.array([0, 0, 1, 1]), seed=0)  # 1 - 1/10.5, 1 - 1/9.5, and again
    >>> round(score.value, 4), score.n
    (0.8997, 4)
    """
    from sklearn.metrics import silhouette_samples

    _check(vectors, labels)
    chosen = np.arange(len(labels))
    interval = "normal, 95 %, over images"
    if len(labels) > sample:
        chosen = np.sort(np.random.default_rng(seed).choice(len(labels), sample, replace=False))
        interval += f", on a sample of {sample} of {len(labels)} drawn from seed {seed}"
    classes = len(np.unique(labels[chosen]))
    if not 2 <= classes < len(chosen):
        raise UsageError(
            f"silhouette of {len(chosen)} images of {classes} classes: expected two classes or more, "
            f"and two images in one of them; take more images"
        )
    points = vectors[chosen].astype(np.float64)
    values = silhouette_samples(points - points[0], labels[chosen])  # less cancels near the origin
    value = float(values.mean())
    margin = Z * float(values.std(ddof=1)) / len(values) ** 0.5
    return Score(
        value=value,
        low=max(-1.0, value - margin),
        high=min(1.0, value + margin),
        n=len(values),
        interval=interval,
    )


def between_within(
    vectors: Float[np.ndarray, "n d"], labels: Int64[np.ndarray, " n"], *, chunk_bytes: int = 64 << 20
) -> Score:
    """Return the mean distance of pairs of two classes, divided by that of pairs of one class.

    Euclidean, over all pairs of two different images, in float64; rows in chunks of about `chunk_bytes`.
    Above 1 the classes lie apart. The interval is the value ± 1.96 standard errors by the delete-one
    jackknife (Quenouille, 1956; Efron and Stein, 1981): one image is left out with all its pairs, which needs
    no more than each image's sums of distances. Where every image lies at one and the same point, the value
    is 1 by convention, for classes are then as far apart as their images, and `interval` says so.

    Raises:
        UsageError: fewer than two classes, or no class with two images, even with any one image left out.
        DataError: every class lies at a point of its own, so that the ratio is infinite (or it would be with
            one image left out), or a value that is not finite.

    >>> score = between_within(np.array([[0.0], [1.0], [10.0], [11.0]]), np.array([0, 0, 1, 1]))
    >>> score.value, score.n  # (10 + 11 + 9 + 10) / 4 by 1
    (10.0, 4)
    """
    _check(vectors, labels)
    order = np.argsort(labels, kind="stable")
    points = torch.tensor(vectors[order], dtype=torch.float64)
    _, sizes = np.unique(labels, return_counts=True)
    if len(sizes) < 2 or sizes.max() < 2:
        raise UsageError(
            f"between- to within-class distance of {len(labels)} images of {len(sizes)} classes: expected "
            f"two classes or more, and two images in one of them; take more images"
        )
    if (points == points[0]).all():
        collapsed = "none: the embedding has collapsed, every image lies at one point"
        return Score(value=1.0, low=1.0, high=1.0, n=len(labels), interval=collapsed)
    within = np.concatenate(
        [_distance_sums(part, chunk_bytes) for part in torch.split(points, sizes.tolist())]
    )
    between = _distance_sums(points, chunk_bytes) - within
    own = np.repeat(sizes, sizes)
    return _jackknifed(between, len(labels) - own, within, own - 1)


def _distance_sums(points: Tensor, chunk_bytes: int) -> NDArray[np.float64]:
    """Return the sum of each row's distances to all others."""
    points = points - points[0]  # less cancels, and equal rows are at distance 0 exactly
    lengths = points.square().sum(1)
    sums = np.empty(len(points))
    step = max(1, chunk_bytes // (8 * len(points)))
    for start in range(0, len(points), step):
        some = points[start : start + step]
        squared = torch.addmm(lengths, some, points.T, alpha=-2)
        squared += lengths[start : start + step, None]
        squared.diagonal(start).zero_()
        sums[start : start + step] = squared.clamp_min_(0).sqrt_().sum(1).numpy()
    return sums


def _jackknifed(
    between: NDArray[np.float64],
    between_pairs: NDArray[np.int64],
    within: NDArray[np.float64],
    within_pairs: NDArray[np.int64],
) -> Score:
    """Return the ratio of means from each image's sums and pairs; every pair stands in two of them."""
    left_between_pairs = between_pairs.sum() // 2 - between_pairs
    left_within_pairs = within_pairs.sum() // 2 - within_pairs
    if min(left_between_pairs.min(), left_within_pairs.min()) < 1:
        raise UsageError(
            "between- to within-class distance has no interval: without one of the images no pair of two "
            "classes, or of one class, is left; take more images"
        )
    left_within = (within.sum() / 2 - within) / left_within_pairs
    if left_within.min() <= 1e-12 * left_within.max():
        raise DataError(
            "between- to within-class distance is infinite: the images of each class lie at one point, "
            "but for one image at most; the embedding has collapsed"
        )
    value = (between.sum() / between_pairs.sum()) / (within.sum() / within_pairs.sum())
    left = (between.sum() / 2 - between) / left_between_pairs / left_within
    n = len(left)
    margin = Z * ((n - 1) / n * np.square(left - left.mean()).sum()) ** 0.5
    return Score(
        value=float(value),
        low=max(0.0, float(value - margin)),
        high=float(value + margin),
        n=n,
        interval="jackknife, 95 %, over images, of all pairs",
    )


def _check(vectors: NDArray[np.floating], labels: NDArray[np.int64]) -> None:
    if len(vectors) != len(labels):
        raise UsageError(f"{len(vectors)} vectors and {len(labels)} labels; expected one label a vector")
    if not np.isfinite(vectors).all():
        raise DataError("an embedding is not finite; the model that made it is unusable")
