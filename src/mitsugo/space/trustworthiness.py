"""Whether a flat picture tells the truth about who is whose neighbour."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from ..shapes import Float, Tensor
from .neighbors import nearest

__all__ = ["Trustworthiness", "trustworthiness"]


class Trustworthiness(NamedTuple):
    """How far to trust a flat picture, point by point and in all."""

    points: Float[np.ndarray, " n"]
    """1 where a point's neighbours in the picture are its neighbours, 0 where they could not be farther."""
    mean: float
    """The trustworthiness of Venna and Kaski."""


def trustworthiness(
    high: Float[np.ndarray, "n d"],
    flat: Float[np.ndarray, "n 2"],
    k: int = 10,
    *,
    chunk_bytes: int = 64 << 20,
) -> Trustworthiness:
    """Return t_i = 1 - 2 / (k (2n - 3k - 1)) Σ_j max(0, r(i, j) - k) for each point, and the mean of all.

    j runs over the k nearest of i in the picture, and r(i, j) is j's rank among i's neighbours in the
    embedding: 1 and the number of points that are strictly nearer, by squared distances compared as float32
    (Venna and Kaski, Neighborhood preservation in nonlinear projection methods, 2001). So t_i, from 0 to 1,
    says of point i alone how much of the neighbourhood that the picture shows is true. Rows go in chunks of
    about `chunk_bytes`.

    Raises:
        UsageError: k below 1, or not below half of the points, where the measure is not defined; a picture of
            other points.
        DataError: a value that is not finite.

    >>> line = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> swapped = np.array([[0.0, 0.0], [10.0, 0.0], [1.0, 0.0], [11.0, 0.0]])  # the inner two, exchanged
    >>> trustworthiness(line, swapped, k=1).points.tolist()  # the neighbours shown are of rank 2, 3, 3, 2
    [0.5, 0.0, 0.0, 0.5]
    """
    n = len(high)
    if not 1 <= k < n / 2:
        raise UsageError(
            f"trustworthiness of {n} points with k = {k}: expected 1 or more, below half the points"
        )
    if flat.shape != (n, 2):
        raise UsageError(f"a picture of shape {flat.shape} of {n} points; expected ({n}, 2)")
    if not np.isfinite(high).all():
        raise DataError("an embedding is not finite; the model that made it is unusable")
    picture = torch.tensor(flat, dtype=torch.float32)
    shown = torch.tensor(nearest(picture, picture, k, exclude=torch.arange(n)).indices)
    points = torch.tensor(high, dtype=torch.float64)
    points -= points[0].clone()
    excess = np.empty(n)
    step = max(1, chunk_bytes // (16 * n))
    for start in range(0, n, step):
        distances = _distances(points, start, start + step)
        excess[start : start + step] = _excess(distances, shown[start : start + step])
    values = 1 - 2 / (k * (2 * n - 3 * k - 1)) * excess
    return Trustworthiness(values, float(values.mean()))


def _distances(points: Tensor, start: int, stop: int) -> Tensor:
    lengths = points.square().sum(1)
    squared = torch.addmm(lengths, points[start:stop], points.T, alpha=-2)
    squared += lengths[start:stop, None]
    distances = squared.clamp_min_(0).float()
    distances.diagonal(start).fill_(torch.inf)  # a point is no neighbour of its own
    return distances


def _excess(distances: Tensor, shown: Tensor) -> NDArray[np.float64]:
    """Return Σ_j max(0, r - k) of each row."""
    k = shown.shape[1]
    thresholds = distances.gather(1, shown)
    nearer = [(distances < threshold[:, None]).sum(1) for threshold in thresholds.T]
    excess = (torch.stack(nearer, dim=1) + 1 - k).clamp_min_(0).sum(1)
    return excess.double().numpy()
