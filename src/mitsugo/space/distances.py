"""Distances between embeddings: smaller is nearer, and every gradient is finite.

The first three take (q d) and (g d) to (q g); the paired ones take (b d) and (b d) to (b). Units are those of
the embedding, but for the cosine distance, which has none.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import torch

from ..errors import UsageError
from ..shapes import Distances, Float, Tensor

__all__ = [
    "DISTANCES",
    "cosine",
    "euclidean",
    "paired_euclidean",
    "paired_squared_euclidean",
    "squared_euclidean",
]

SHORTEST = 1e-12
"""A vector that is no longer than this has no direction."""


def squared_euclidean(q: Float[Tensor, "q d"], g: Float[Tensor, "g d"]) -> Distances:
    """Return |q - g|² = |q|² + |g|² - 2 q·g, by one matrix product.

    Rounding is of the order of 1e-7 (|q|² + |g|²) in float32, so that equal rows may read a little more
    than 0; what rounding made negative reads 0. Where it matters, take `euclidean`, which differs first.

    Raises:
        UsageError: the two have different dimensions.

    >>> squared_euclidean(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]])).tolist()
    [[25.0, 1.0]]
    """
    _check_same(q.shape[1], g.shape[1])
    lengths = torch.linalg.vecdot(q, q).unsqueeze(1) + torch.linalg.vecdot(g, g)
    return torch.addmm(lengths, q, g.T, alpha=-2).clamp_min(0)


def euclidean(q: Float[Tensor, "q d"], g: Float[Tensor, "g d"]) -> Distances:
    """Return |q - g|, from the differences themselves: equal rows read 0, and there the gradient is 0.

    Raises:
        UsageError: the two have different dimensions.

    >>> euclidean(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[5.0, 0.0]]
    """
    _check_same(q.shape[1], g.shape[1])
    return torch.cdist(q, g, compute_mode="donot_use_mm_for_euclid_dist")


def cosine(q: Float[Tensor, "q d"], g: Float[Tensor, "g d"]) -> Distances:
    """Return 1 - q·g / (|q| |g|): 0 for one direction, 1 at right angles, 2 for opposite ones.

    A vector without a direction (no longer than 1e-12) is at distance 1 from all, with gradient 0.

    Raises:
        UsageError: the two have different dimensions.

    >>> g = torch.tensor([[1.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [0.0, 0.0]])
    >>> cosine(torch.tensor([[2.0, 0.0]]), g).tolist()
    [[0.0, 1.0, 2.0, 1.0]]
    """
    _check_same(q.shape[1], g.shape[1])
    return (1 - _directions(q) @ _directions(g).T).clamp_min(0)


def paired_squared_euclidean(a: Float[Tensor, "b d"], b: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
    """Return |a - b|² row by row, from the differences themselves.

    Raises:
        UsageError: the two have different shapes.

    >>> paired_squared_euclidean(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])).tolist()
    [25.0]
    """
    if a.shape != b.shape:
        raise UsageError(
            f"pairs of shapes {tuple(a.shape)} and {tuple(b.shape)}; expected one (b, d) for both"
        )
    difference = a - b
    squared: Tensor = torch.linalg.vecdot(difference, difference)
    return squared


def paired_euclidean(
    a: Float[Tensor, "b d"], b: Float[Tensor, "b d"], *, under_root: float = 1e-9
) -> Float[Tensor, " b"]:
    """Return √(|a - b|² + under_root) row by row; what stands under the root keeps the gradient finite at 0.

    Raises:
        UsageError: the two have different shapes.

    >>> paired_euclidean(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])).tolist()
    [5.0]
    """
    return (paired_squared_euclidean(a, b) + under_root).sqrt()


DISTANCES: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = MappingProxyType(
    {"squared_euclidean": squared_euclidean, "euclidean": euclidean, "cosine": cosine}
)
"""The family, by name; a new one is a function above and its name here."""


def _directions(vectors: Tensor) -> Tensor:
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return torch.where(lengths <= SHORTEST, 0.0, vectors / lengths.clamp_min(SHORTEST))


def _check_same(queries: int, gallery: int) -> None:
    if queries != gallery:
        raise UsageError(
            f"queries of dimension {queries} and a gallery of dimension {gallery}; expected one for both"
        )
