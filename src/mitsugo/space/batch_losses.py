"""Losses of a whole batch and its labels: every triplet, the hardest ones, all pairs, or plain softmax."""

import math
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from ..errors import UsageError
from ..shapes import Embedded, Float, Int64, Scalar, Tensor
from .distances import DISTANCES, cosine
from .triplets import (
    Anchors,
    Rule,
    TripletCounts,
    Work,
    anchors_of,
    check_margin,
    check_rule,
    chunked,
    count_triplets,
)

__all__ = ["Loss", "batch_hard_loss", "every_triplet_loss", "softmax_loss", "supervised_contrastive_loss"]

Count = Callable[[Anchors, Work], TripletCounts]


class Loss(NamedTuple):
    """A loss, and how many of its terms had something to say."""

    value: Scalar
    """What is made small; 0, with a gradient of 0, where there is no term at all."""
    active: Int64[Tensor, ""]
    """How many terms push or pull; no gradient runs through it."""
    valid: Int64[Tensor, ""]
    """How many terms there were in all: triplets, pairs, anchors or images."""


def every_triplet_loss(
    embeddings: Embedded,
    labels: Int64[Tensor, " b"],
    margin: float = 1.0,
    *,
    rule: Rule = "all",
    distance: str = "squared_euclidean",
    average: Literal["active", "all"] = "active",
    chunk_bytes: int | None = None,
) -> Loss:
    """Return the mean of relu(d_ap - d_an + margin) over all triplets of a batch, without building any.

    The hinges are summed in float64, and their gradient is made along with them, chunk by chunk of rows, so
    that nothing of size b² is held. Between embeddings at one point the gradient is 0.

    Args:
        embeddings: (b, d).
        labels: (b,), the class of each, any classes in any order.
        margin: by how much the negative is to be farther than the positive, in units of the distance.
        rule: "all", or "semi-hard": of these only the triplets with d_ap < d_an.
        distance: a name of `DISTANCES`.
        average: over the triplets that are "active", or over "all" there are, whatever the rule.
        chunk_bytes: about how large each of the few work arrays may grow; by default as the device likes it.

    Raises:
        UsageError: not one label an embedding, a name that is none, or a margin that is negative or not
            finite.

    >>> line = torch.tensor([[0.0], [1.0], [1.5]])
    >>> every_triplet_loss(line, torch.tensor([0, 0, 1]))  # 1² - 0.5² + 1; and 1² - 1.5² + 1 is below 0
    Loss(value=tensor(1.7500), active=tensor(1), valid=tensor(2))
    """
    check_margin(margin)
    check_rule(rule)
    _check_labels(embeddings, labels)
    _check_name("distance", distance, DISTANCES)
    _check_name("average", average, ("active", "all"))
    anchors = anchors_of(labels)
    numbers = _precise(embeddings)
    count = partial(count_triplets, margin=margin, rule=rule)
    hinges, active = _sum_of_hinges(numbers, anchors, distance, count, chunk_bytes)
    valid = anchors.triplets
    terms = active if average == "active" else valid
    return Loss((hinges / terms.clamp_min(1)).to(numbers.dtype), active, valid)


def batch_hard_loss(
    embeddings: Embedded,
    labels: Int64[Tensor, " b"],
    margin: float = 1.0,
    *,
    soft: bool = False,
    distance: str = "euclidean",
) -> Loss:
    """Return the mean of relu(d_ap - d_an + margin), p an anchor's farthest positive, n its nearest negative.

    After Hermans, Beyer and Leibe (2017), "In defense of the triplet loss". The soft margin is their
    ln(1 + exp(d_ap - d_an)), which takes no margin and is always active. The terms are the anchors that
    have a positive and a negative.

    Args:
        embeddings: (b, d).
        labels: (b,), the class of each.
        margin: by how much the negative is to be farther than the positive, in units of the distance.
        soft: whether the margin is the soft one.
        distance: a name of `DISTANCES`.

    Raises:
        UsageError: not one label an embedding, a distance that is none, or a margin that is negative or not
            finite.

    >>> line = torch.tensor([[0.0], [1.0], [1.5]])
    >>> batch_hard_loss(line, torch.tensor([0, 0, 1]))  # (1 - 1.5 + 1 and 1 - 0.5 + 1) / 2
    Loss(value=tensor(1.), active=tensor(2), valid=tensor(2))
    """
    check_margin(margin)
    _check_labels(embeddings, labels)
    _check_name("distance", distance, DISTANCES)
    anchors = anchors_of(labels).rows
    if not len(anchors):
        return _no_term(embeddings)
    numbers = _precise(embeddings)
    with torch.autocast(numbers.device.type, enabled=False):
        distances = DISTANCES[distance](numbers[anchors], numbers)
    same = labels[anchors, None] == labels
    farthest = distances.masked_fill(~same, -math.inf)
    farthest = farthest.scatter(1, anchors[:, None], -math.inf).max(dim=1).values
    gaps = farthest - distances.masked_fill(same, math.inf).min(dim=1).values
    valid = labels.new_full((), len(anchors))
    if soft:
        return Loss(torch.nn.functional.softplus(gaps).mean(), valid, valid)
    hinges = (gaps + margin).relu()
    return Loss(hinges.mean(), hinges.detach().count_nonzero(), valid)


def supervised_contrastive_loss(
    embeddings: Embedded, labels: Int64[Tensor, " b"], temperature: float = 0.1
) -> Loss:
    """Return the mean over anchors i of -1/|P(i)| Σ_p ln(exp(z_i·z_p / t) / Σ_{a≠i} exp(z_i·z_a / t)).

    Equation 2 (L_out) of Khosla et al. (2020), "Supervised contrastive learning", with the embeddings z
    normalised here, P(i) the other images of i's class, and the mean over the anchors that have any where
    the paper takes the sum. All of these anchors are active.

    Args:
        embeddings: (b, d); their lengths do not matter.
        labels: (b,), the class of each.
        temperature: t, above 0.

    Raises:
        UsageError: not one label an embedding, or a temperature that is not above 0 and finite.

    >>> three = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> loss = supervised_contrastive_loss(three, torch.tensor([0, 0, 1]), temperature=1.0)
    >>> round(loss.value.item(), 4), loss.valid.item()  # ln((e + 1) / e), twice
    (0.3133, 2)
    """
    if not 0 < temperature < math.inf:
        raise UsageError(f"temperature {temperature}: expected a finite number above 0")
    _check_labels(embeddings, labels)
    alike = (labels[:, None] == labels).fill_diagonal_(False)
    counts = alike.sum(1)
    anchors = counts.nonzero().squeeze(1)
    if not len(anchors):
        return _no_term(embeddings)
    numbers = _precise(embeddings)
    with torch.autocast(numbers.device.type, enabled=False):
        # a shift of all does not change their ratios: minus the distance serves as well as the product
        scores = cosine(numbers[anchors], numbers) / -temperature
    scores = scores.scatter(1, anchors[:, None], -math.inf)
    logarithms = scores - scores.logsumexp(dim=1, keepdim=True)
    terms = logarithms.masked_fill(~alike[anchors], 0).sum(1) / counts[anchors]
    valid = labels.new_full((), len(anchors))
    return Loss(-terms.mean(), valid, valid)


def softmax_loss(logits: Float[Tensor, "b c"], labels: Int64[Tensor, " b"]) -> Loss:
    """Return the mean cross-entropy -ln softmax(logits)[label]; every image is active.

    Args:
        logits: (b, c), a score a class.
        labels: (b,), the class of each, from 0 to c - 1.

    Raises:
        UsageError: not one label a row, or a label without a column.

    >>> softmax_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))  # ln 2
    Loss(value=tensor(0.6931), active=tensor(1), valid=tensor(1))
    """
    _check_labels(logits, labels)
    if not len(labels):
        return _no_term(logits)
    low, high = labels.aminmax()
    if low < 0 or high >= logits.shape[1]:
        raise UsageError(
            f"labels run from {int(low)} to {int(high)}, but there are {logits.shape[1]} columns of logits"
        )
    valid = labels.new_full((), len(labels))
    return Loss(torch.nn.functional.cross_entropy(_precise(logits), labels), valid, valid)


class _Ready(torch.autograd.Function):
    """A value whose gradient was made along with it."""

    @staticmethod
    def forward(context: Any, embeddings: Tensor, value: Tensor, gradient: Tensor) -> Tensor:  # noqa: ANN401, ARG004 - torch's own signature
        context.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(context: Any, outer: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401 - torch's own signature
        (gradient,) = context.saved_tensors
        return gradient * outer.to(gradient.dtype), None, None


def _sum_of_hinges(
    embeddings: Tensor, anchors: Anchors, distance: str, count: Count, chunk_bytes: int | None
) -> tuple[Tensor, Tensor]:
    """Return the sum of the active hinges, in float64 and with its gradient, and how many there are."""
    batch = embeddings.detach()
    gradient = torch.zeros_like(batch) if torch.is_grad_enabled() and embeddings.requires_grad else None
    hinges = torch.zeros((), dtype=torch.float64, device=batch.device)
    active = torch.zeros((), dtype=torch.int64, device=batch.device)
    parts = chunked(anchors, batch, chunk_bytes)
    with torch.no_grad(), torch.autocast(batch.device.type, enabled=False):
        if distance == "squared_euclidean":
            found = _squared(batch, parts, count, gradient)
        else:
            found = _measured(DISTANCES[distance], batch, parts, count, gradient)
        for counts in found:
            hinges += counts.hinges
            active += counts.active
    if gradient is not None:
        hinges = _Ready.apply(embeddings, hinges, gradient)  # type: ignore[no-untyped-call]
    return hinges, active


def _squared(
    batch: Tensor, parts: Iterable[tuple[Anchors, Work]], count: Count, gradient: Tensor | None
) -> Iterable[TripletCounts]:
    """Yield the counts, and add up the gradient of the sum of w_ij |x_i - x_j|² without autograd.

    By rows it is -2 w x, as the rows of w add up to 0; by columns 2 (v x - wᵀ x), v the sums of the columns.
    """
    lengths = torch.linalg.vecdot(batch, batch)
    centred = batch - batch.mean(0)  # changes nothing but the rounding
    columns = torch.zeros_like(lengths)
    for part, work in parts:
        # squared_euclidean(batch[part.rows], batch), but that the lengths are not measured again
        distances = torch.add(lengths[part.rows, None], lengths, out=work.distances)
        distances.addmm_(batch[part.rows], batch.T, alpha=-2).clamp_min_(0)
        counts = count(part, work)
        if gradient is not None:
            columns += counts.weights.sum(0)
            gradient.addmm_(counts.weights.T, centred[part.rows], alpha=-2)
            gradient.index_add_(0, part.rows, counts.weights @ centred, alpha=-2)
        yield counts
    if gradient is not None:
        gradient.addcmul_(columns[:, None], centred, value=2)


def _measured(
    measure: Callable[[Tensor, Tensor], Tensor],
    batch: Tensor,
    parts: Iterable[tuple[Anchors, Work]],
    count: Count,
    gradient: Tensor | None,
) -> Iterable[TripletCounts]:
    """Yield the counts, and add up the gradient that autograd finds with them held fixed."""
    for part, work in parts:
        with torch.set_grad_enabled(gradient is not None):
            every = batch.detach().requires_grad_(gradient is not None)
            distances = measure(every[part.rows], every)
        work.distances.copy_(distances.detach())
        counts = count(part, work)
        if gradient is not None:
            gradient += torch.autograd.grad(distances, every, counts.weights)[0]
        yield counts


def _precise(numbers: Tensor) -> Tensor:
    """Return float32 where the network was left in fewer bits: distances and losses are not."""
    return numbers if numbers.dtype == torch.float64 else numbers.float()


def _no_term(numbers: Tensor) -> Loss:
    nothing = numbers[:0].sum()
    none = torch.zeros((), dtype=torch.int64, device=numbers.device)
    return Loss(nothing if nothing.dtype == torch.float64 else nothing.float(), none, none)


def _check_labels(rows: Tensor, labels: Tensor) -> None:
    if labels.shape != rows.shape[:1]:
        raise UsageError(f"labels have shape {tuple(labels.shape)}, expected ({len(rows)},): one a row")


def _check_name(what: str, name: str, family: Collection[str]) -> None:
    if name not in family:
        raise UsageError(f"{what} {name!r}: expected one of {', '.join(family)}")
