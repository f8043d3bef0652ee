"""Losses: embeddings in, a value and what was active out."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

import torch

from ..errors import UsageError
from ..shapes import Bool, Embedded, Float, Int64, Tensor
from .batch_losses import (
    Loss,
    batch_hard_loss,
    every_triplet_loss,
    softmax_loss,
    supervised_contrastive_loss,
)
from .distances import paired_euclidean, paired_squared_euclidean
from .triplets import check_margin

__all__ = [
    "LOSSES",
    "Loss",
    "batch_hard_loss",
    "contrastive_loss",
    "every_triplet_loss",
    "softmax_loss",
    "supervised_contrastive_loss",
    "triplet_loss",
]


def triplet_loss(
    anchor: Embedded,
    positive: Embedded,
    negative: Embedded,
    margin: float = 1.0,
    *,
    size_average: bool = True,
) -> Loss:
    """Return the mean, or the sum, of relu(|a - p|² - |a - n|² + margin).

    Squared Euclidean distances, as in FaceNet (Schroff et al., 2015), of embeddings that are not normalised.
    A triplet is active where its hinge is above 0. No triplet at all is a loss of 0.

    Args:
        anchor: (b, d).
        positive: (b, d), of the anchor's class.
        negative: (b, d), of another class.
        margin: by how much, in squared distance, the negative is to be farther than the positive.
        size_average: the mean over the triplets, else their sum.

    Raises:
        UsageError: shapes that differ, or a margin that is negative or not finite.

    >>> a, p, n = (torch.tensor([[x]]) for x in (0.0, 1.0, 1.5))
    >>> triplet_loss(a, p, n, margin=2.0)
    Loss(value=tensor(0.7500), active=tensor(1), valid=tensor(1))
    """
    check_margin(margin)
    hinge = paired_squared_euclidean(anchor, positive) - paired_squared_euclidean(anchor, negative)
    hinge = (hinge + margin).relu()
    active = torch.count_nonzero(hinge.detach())
    return Loss(_reduced(hinge, size_average=size_average), active, active.new_full((), len(hinge)))


def contrastive_loss(
    one: Embedded,
    other: Embedded,
    same: Bool[Tensor, " b"] | Float[Tensor, " b"] | Int64[Tensor, " b"],
    margin: float = 1.0,
    *,
    size_average: bool = True,
) -> Loss:
    """Return the mean, or the sum, of ½ (y d² + (1 - y) relu(margin - d)²).

    After Hadsell, Chopra and LeCun (2006), with d = √(|one - other|² + 1e-9); y is 1 for two images of one
    class. Active are the pairs of one class that lie apart, and the pairs of two classes that lie within the
    margin. No pair at all is a loss of 0.

    Args:
        one: (b, d).
        other: (b, d).
        same: (b,), true or 1 where the two are of one class, else false or 0.
        margin: the distance, not squared, beyond which two classes are left alone.
        size_average: the mean over the pairs, else their sum.

    Raises:
        UsageError: shapes that differ, a value in `same` that is neither 0 nor 1, or a margin that is
            negative or not finite.

    >>> one, other = torch.tensor([[0.0], [0.0]]), torch.tensor([[2.0], [0.5]])
    >>> loss = contrastive_loss(one, other, torch.tensor([True, False]))
    >>> round(loss.value.item(), 4), loss.active.item(), loss.valid.item()  # (½ 2² + ½ 0.5²) / 2
    (1.0625, 2, 2)
    """
    check_margin(margin)
    together = _truths(same, one)
    distance = paired_euclidean(one, other)
    short = (margin - distance).relu()
    terms = 0.5 * torch.where(together, distance.square(), short.square())
    with torch.no_grad():
        active = torch.where(together, (one != other).any(dim=1), short > 0).count_nonzero()
    return Loss(_reduced(terms, size_average=size_average), active, active.new_full((), len(terms)))


LOSSES: Final[Mapping[str, Callable[..., Loss]]] = MappingProxyType(
    {
        "triplet": triplet_loss,
        "contrastive": contrastive_loss,
        "triplet-all": every_triplet_loss,
        "triplet-semi-hard": partial(every_triplet_loss, rule="semi-hard"),
        "triplet-hard": batch_hard_loss,
        "triplet-hard-soft": partial(batch_hard_loss, soft=True),
        "supervised-contrastive": supervised_contrastive_loss,
        "softmax": softmax_loss,
    }
)
"""The family, by name: of triplets, of pairs, and then of a batch (embeddings, or logits) with its labels. A
new one is a function and its name here."""


def _reduced(terms: Tensor, *, size_average: bool) -> Tensor:
    total = terms.sum()
    return total / max(len(terms), 1) if size_average else total


def _truths(same: Tensor, one: Tensor) -> Tensor:
    if same.shape != one.shape[:1]:
        raise UsageError(f"same has shape {tuple(same.shape)}, expected ({len(one)},): one truth a pair")
    together = same.bool()
    if same.dtype != torch.bool and not torch.equal(together.to(same.dtype), same):
        raise UsageError("same holds a value that is neither 0 nor 1; expected 1 for one class, 0 for two")
    return together
