"""Equal rows: of many copies only the first few can ever be among the nearest."""

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray

from ..shapes import Float, Int64, Tensor

__all__ = ["first_copies"]


def first_copies(
    rows: Float[Tensor, "g d"], copies: int, chunk_bytes: int = 256 << 20
) -> Int64[Tensor, " m"]:
    """Return the indices, ascending, of all rows but those that equal `copies` or more rows before them.

    Rows are equal where every coordinate is (so 0 equals -0).

    Args:
        rows: (g, d), finite.
        copies: how many of each kind to keep.
        chunk_bytes: about how large a work array may grow.

    >>> first_copies(torch.tensor([[1.0], [2.0], [1.0], [1.0]]), copies=2).tolist()
    [0, 1, 2]
    """
    keys = _keys(rows, chunk_bytes)
    _, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    crowded = np.flatnonzero(sizes[group] > copies)
    keep = np.ones(len(keys), dtype=np.bool_)
    if crowded.size:
        order = crowded[np.argsort(keys[crowded], kind="stable")]
        new = np.ones(len(order), dtype=np.bool_)
        new[1:] = keys[order[1:]] != keys[order[:-1]]
        first = np.flatnonzero(new)[np.cumsum(new) - 1]
        equal = _equal(rows, order, order[first], chunk_bytes)
        so_far: NDArray[np.int64] = np.cumsum(equal)
        rank = so_far - so_far[first] + 1  # the first of a group equals itself
        keep[order[equal & (rank > copies)]] = False
    return torch.from_numpy(np.flatnonzero(keep)).to(rows.device)


def _keys(rows: Tensor, chunk_bytes: int) -> NDArray[np.int64]:
    """Return a number for each row that is the same for equal rows, and almost surely another for others."""
    odd = np.random.default_rng(0).integers(-(1 << 62), 1 << 62, rows.shape[1]) | 1
    factors = torch.from_numpy(odd).to(rows.device)
    keys = torch.empty(len(rows), dtype=torch.int64, device=rows.device)
    step = max(1, chunk_bytes // (24 * rows.shape[1]))
    for start in range(0, len(rows), step):
        bits = (rows[start : start + step].float() + 0.0).view(torch.int32)  # -0 + 0 is 0
        keys[start : start + step] = (bits * factors).sum(1)
    return keys.cpu().numpy()


def _equal(
    rows: Tensor, ones: NDArray[np.int64], others: NDArray[np.int64], chunk_bytes: int
) -> Bool[np.ndarray, " m"]:
    equal = np.empty(len(ones), dtype=np.bool_)
    step = max(1, chunk_bytes // (16 * rows.shape[1]))
    for start in range(0, len(ones), step):
        pair = (rows[torch.from_numpy(part[start : start + step]).to(rows.device)] for part in (ones, others))
        equal[start : start + step] = torch.eq(*pair).all(1).cpu().numpy()
    return equal
