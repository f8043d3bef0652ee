"""What tells a collapsed embedding from a living one: how far it spreads, in how many directions."""

import math
from typing import NamedTuple

import torch

from ..shapes import Embedded, Tensor

__all__ = ["Condition", "at_two_points", "condition", "resolution"]

MOST_ROWS = 128
"""Rows that are looked at, evenly apart; so that a look takes a tenth of a millisecond whatever the batch."""


class Condition(NamedTuple):
    """How a batch of embeddings lies in space; the first three are NaN where `finite` is False."""

    spread: float
    """Root mean square distance of the embeddings from their mean: √tr C."""
    scale: float
    """Root mean square length of the embeddings, in the same unit."""
    effective_rank: float
    """In how many directions they spread: 0 for equal rows, 1 on a line, at most min(d, rows - 1)."""
    finite: bool
    """Whether every number is one."""


def condition(embeddings: Embedded) -> Condition:
    """Return how the embeddings lie in space.

    With C the covariance of the rows, effective_rank = (tr C)² / tr C², the participation ratio: k where the
    variance is equal in k directions and 0 in all others. Near a line it is 1 + 2 r, r the variance off the
    line as a share of that along it. It needs no eigenvalues; the exponential of the spectrum's entropy (Roy
    and Vetterli, 2007) does, and tells a line no better. Computed in float64, on at most 128 rows; whether
    the numbers are finite is asked of all.

    Args:
        embeddings: (b, d); none at all reads as 0 in everything.

    >>> square = torch.tensor([[5.0, 4.0], [7.0, 4.0], [5.0, 6.0], [7.0, 6.0]])  # around (6, 5)
    >>> [round(value, 4) for value in condition(square)[:3]]  # √2, √63, 2
    [1.4142, 7.9373, 2.0]
    """
    if not torch.isfinite(embeddings).all():
        return Condition(math.nan, math.nan, math.nan, finite=False)
    rows = _few(embeddings)
    count = max(len(rows), 1)
    centred = rows - rows.sum(0) / count
    gram = centred.T @ centred if centred.shape[1] < len(centred) else centred @ centred.T
    trace, norm, length = torch.stack(
        (gram.trace(), torch.linalg.vector_norm(gram), torch.linalg.vector_norm(rows))
    ).tolist()
    return Condition(
        spread=math.sqrt(trace / count),
        scale=length / math.sqrt(count),
        effective_rank=max((trace / norm) ** 2, 1.0) if norm > 0 else 0.0,
        finite=True,
    )


def at_two_points(embeddings: Embedded, tolerance: float = 1e-3) -> bool:
    """Return whether every row lies at one of two points, or all lie at one.

    Rows on a line are meant: two tight classes, or two images and their copies, lie on one by nature.

    Args:
        embeddings: (b, d), finite; at most 128 rows are looked at.
        tolerance: how far a row may be from its point, as a share of the distance of the two.

    >>> at_two_points(torch.tensor([[0.0], [1.0], [1.0]])), at_two_points(torch.tensor([[0.0], [1.0], [2.0]]))
    (True, False)
    """
    rows = _few(embeddings)
    if len(rows) == 0:
        return True
    end = rows[torch.linalg.vector_norm(rows - rows[0], dim=1).argmax()]
    apart = torch.linalg.vector_norm(rows - end, dim=1)
    far = apart.max()
    return bool(((apart <= tolerance * far) | (apart >= (1 - tolerance) * far)).all())


def resolution(embeddings: Embedded) -> float:
    """Return the relative spacing of the numbers: 2⁻²³ for float32, 2⁻⁷ for bfloat16 even if widened since.

    >>> resolution(torch.tensor([[0.1]])), resolution(torch.tensor([[0.1]]).bfloat16().float())
    (1.1920928955078125e-07, 0.0078125)
    """
    if embeddings.dtype == torch.float32:
        widened = torch.equal(embeddings, embeddings.bfloat16().float())
        return torch.finfo(torch.bfloat16 if widened else torch.float32).eps
    return torch.finfo(embeddings.dtype).eps


def _few(embeddings: Tensor) -> Tensor:
    step = max(math.ceil(len(embeddings) / MOST_ROWS), 1)
    return embeddings.detach()[::step].double()
