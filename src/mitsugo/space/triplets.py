"""Which triplets of a batch count, and how often each pair stands in them: exact, without building any.

For an anchor a with positives P (its class, itself left out) and negatives N,

    sum over p, n of relu(d_ap - d_an + m)  =  sum over p of k_p (d_ap + m)  -  sum over n of c_n d_an

with k_p = with how many negatives p is active, and c_n = with how many positives n is. The counts are
piecewise constant, so with them held fixed this sum has the exact gradient. Time is O(b² log b) and memory a
few chunks of rows.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple, get_args

import torch

from ..errors import UsageError
from ..shapes import Distances, Float, Int64, Tensor

__all__ = [
    "Anchors",
    "Rule",
    "TripletCounts",
    "Work",
    "active_triplets",
    "anchors_of",
    "check_margin",
    "check_rule",
    "chunked",
    "count_triplets",
    "valid_triplets",
]

Rule = Literal["all", "semi-hard"]
"""Active is d_ap > fl(d_an - m); semi-hard asks for d_ap < d_an as well."""

CELLS: Final = 16
"""How many cells a positive the grid has by which most negatives are placed."""
CORE_BYTES, DEVICE_BYTES, MOST_BYTES = 1 << 20, 1 << 26, 1 << 30
"""A core's cache holds little, another device wants much at once, and places are counted in 32 bits."""


class TripletCounts(NamedTuple):
    """How the active triplets of a batch weigh on its distances; no gradient runs through it."""

    weights: Float[Tensor, "r b"]
    """k_p where a column is a positive of its row, -c_n where it is a negative, else 0; rows add up to 0."""
    hinges: Float[Tensor, ""]
    """The sum of the active hinges, in float64."""
    active: Int64[Tensor, ""]
    """How many triplets are active."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Anchors:
    """The images of a batch that have a positive and a negative, small classes first.

    Args:
        images: b, how many images the batch has.
        rows: int64 (a,), the anchors.
        classes: int64 (a,), the class of each, a row of `members`.
        sizes: int64 (a,), how many images its class has, ascending.
        members: int64 (classes, widest), the images of each class; what follows them has no meaning.
    """

    images: int
    rows: Tensor
    classes: Tensor
    sizes: Tensor
    members: Tensor

    @property
    def triplets(self) -> Tensor:
        """How many triplets these are the anchors of, active or not: an int64 scalar."""
        return ((self.sizes - 1) * (self.images - self.sizes)).sum()


class Work(NamedTuple):
    """The arrays of a chunk, each (r, b), which the next chunk uses again: fresh memory would cost more."""

    distances: Tensor
    values: Tensor
    cells: Tensor
    """int32"""
    beyond: Tensor
    """int32"""
    products: Tensor
    """float64, in the memory of the two before."""


def chunked(anchors: Anchors, like: Tensor, chunk_bytes: int | None) -> Iterator[tuple[Anchors, Work]]:
    """Yield the anchors in parts whose distances to the batch take about `chunk_bytes` each."""
    images, count, width = anchors.images, len(anchors.rows), like.element_size()
    if chunk_bytes is None:
        on_cpu = like.device.type == "cpu"
        chunk_bytes = CORE_BYTES * torch.get_num_threads() if on_cpu else DEVICE_BYTES
    parts = min(count, math.ceil(count * images * width / min(chunk_bytes, MOST_BYTES)))
    step = math.ceil(count / parts) if parts else 1
    memory = torch.empty((8 + 2 * width) * step * images, dtype=torch.uint8, device=like.device)
    for start in range(0, count, step):
        part = slice(start, start + step)
        rows, classes, sizes = anchors.rows[part], anchors.classes[part], anchors.sizes[part]
        size = len(rows) * images
        integers, floats = memory[: 8 * size], memory[8 * size : (8 + 2 * width) * size]
        distances, values = floats.view(like.dtype).view(2, -1, images)
        cells, beyond = integers.view(torch.int32).view(2, -1, images)
        work = Work(distances, values, cells, beyond, integers.view(torch.float64).view(-1, images))
        yield replace(anchors, rows=rows, classes=classes, sizes=sizes), work


def anchors_of(labels: Int64[Tensor, " b"]) -> Anchors:
    """Find the anchors of a batch and the members of their classes."""
    _, classes, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    sizes = counts[classes]
    rows = sizes.argsort(stable=True)
    rows = rows[(sizes[rows] > 1) & (sizes[rows] < len(labels))]
    widest = int(sizes[rows[-1]]) if len(rows) else 0
    places = (counts.cumsum(0) - counts)[:, None] + torch.arange(widest, device=labels.device)
    members = classes.argsort(stable=True)[places.clamp_max_(len(labels) - 1)]
    return Anchors(images=len(labels), rows=rows, classes=classes[rows], sizes=sizes[rows], members=members)


def valid_triplets(labels: Int64[Tensor, " b"]) -> int:
    """Return how many triplets a batch holds: an anchor, another of its class, one of another class.

    >>> valid_triplets(torch.tensor([0, 0, 1]))
    2
    """
    return int(anchors_of(labels).triplets)


@torch.no_grad()
def active_triplets(
    distances: Distances,
    labels: Int64[Tensor, " b"],
    margin: float,
    rule: Rule = "all",
    *,
    chunk_bytes: int | None = None,
) -> TripletCounts:
    """Count the active triplets of a batch: d_ap > fl(d_an - margin), and for "semi-hard" also d_ap < d_an.

    Semi-hard are all such triplets, not one a pair as in FaceNet (Schroff et al., 2015). The sum of weights
    times distances is the sum of the hinges but for margin times active, and has its gradient.

    Args:
        distances: (b, b), from each anchor, a row, to each image; what stands on the diagonal is not used.
        labels: (b,), the class of each image.
        margin: by how much the negative is to be farther than the positive.
        rule: which of the active triplets count.
        chunk_bytes: about how large each of the few work arrays may grow; the counts do not depend on it.

    Raises:
        UsageError: distances that are not (b, b), a rule that is none, or a margin that is negative or not
            finite.

    >>> distances = torch.tensor([[0.0, 1.0, 1.5], [1.0, 0.0, 9.0], [1.5, 9.0, 0.0]])
    >>> weights, hinges, active = active_triplets(distances, torch.tensor([0, 0, 1]), margin=1.0)
    >>> weights.tolist()
    [[0.0, 1.0, -1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    >>> hinges.item(), active.item()
    (0.5, 1)
    """
    check_margin(margin)
    check_rule(rule)
    if distances.shape != (len(labels), len(labels)):
        raise UsageError(
            f"distances of shape {tuple(distances.shape)} and {len(labels)} labels; expected one row and one "
            f"column a label"
        )
    distances = distances if distances.dtype == torch.float64 else distances.float()
    weights = torch.zeros_like(distances)
    hinges = torch.zeros((), dtype=torch.float64, device=distances.device)
    active = torch.zeros((), dtype=torch.int64, device=distances.device)
    for part, work in chunked(anchors_of(labels), distances, chunk_bytes):
        torch.index_select(distances, 0, part.rows, out=work.distances)
        counts = count_triplets(part, work, margin, rule)
        weights[part.rows] = counts.weights
        hinges += counts.hinges
        active += counts.active
    return TripletCounts(weights, hinges, active)


def check_margin(margin: float) -> None:
    """Refuse a margin that is negative or not finite."""
    if not 0 <= margin < math.inf:
        raise UsageError(f"margin {margin}: expected a finite number of 0 or more")


def check_rule(rule: str) -> None:
    """Refuse a rule that is none."""
    if rule not in get_args(Rule):
        raise UsageError(f"rule {rule!r}: expected one of {', '.join(get_args(Rule))}")


def count_triplets(anchors: Anchors, work: Work, margin: float, rule: Rule) -> TripletCounts:
    """Count the active triplets of some anchors; `work.distances` are used up, and the weights lie in `work`.

    Each row's positives are sorted and every d_an - m is placed among them, which gives c_n; the cumulative
    histogram of these places gives k_p. One comparison serves both, so their sums agree to the last triplet.
    """
    distances = work.distances.scatter_(1, anchors.rows[:, None], torch.inf)
    near, columns = _positives(distances, anchors)
    distances.scatter_(1, anchors.rows[:, None], 0.0)
    grid = _grid(near, anchors.sizes - 1, distances.shape[1])
    placed = _placed(grid, work, columns, margin)
    active = _histogram(grid, placed, work.cells)
    if rule == "semi-hard":
        lower = placed.clone()
        # where d_an - m rounds to d_an nothing lies between the two, and nothing is taken off
        upper = torch.maximum(_placed(grid, work, columns, None), lower)
        active -= _histogram(grid, upper, work.cells)
        placed = lower.sub_(upper)
    weights = work.values.copy_(placed).scatter_(1, columns, active.to(distances.dtype))
    total = active.sum()
    products = work.products.copy_(distances.mul_(weights))
    return TripletCounts(weights, products.sum() + margin * total.double(), total)


def _positives(distances: Tensor, anchors: Anchors) -> tuple[Tensor, Tensor]:
    """Return (r, w) each row's distances to its class, ascending, itself last at infinity; and their columns.

    w is the size of the widest class; the rows of smaller ones repeat the anchor itself.
    """
    width = int(anchors.sizes[-1])
    columns = anchors.members[anchors.classes, :width]
    if anchors.sizes[0] != width:
        padding = torch.arange(width, device=distances.device) >= anchors.sizes[:, None]
        columns = torch.where(padding, anchors.rows[:, None], columns)
    near, order = distances.gather(1, columns).sort(dim=1)
    return near, columns.gather(1, order)


class _Grid(NamedTuple):
    """The sorted positives of some anchors, and for each cell of a row's range how many lie beyond it."""

    near: Tensor
    """(r, w), ascending; at least the last is infinite and no positive."""
    positives: Tensor
    """(r, 1) int32, how many there are."""
    low: Tensor
    """(r, 1), where the first cell begins."""
    scale: Tensor
    """(r, 1), cells a unit of distance."""
    table: Tensor
    """(r, cells) int32, minus how many positives lie in later cells; but where the cell itself holds one, how
    many lie in it and before it."""
    fullest: int
    """How many positives a cell holds at most."""

    def cells(self, values: Tensor, out: Tensor) -> Tensor:
        """Find the cell of each value in its row: the larger the value, never an earlier cell.

        The values are overwritten. These are single correctly rounded steps on purpose: fused ones could
        treat equal values differently.
        """
        last = self.table.shape[1] - 2
        out.copy_(values.sub_(self.low).mul_(self.scale).clamp_(0, last))
        return out.clamp_(0, last)  # where a value is not a number


def _grid(near: Tensor, positives: Tensor, columns: int) -> _Grid:
    """Divide each row's range of positives into cells: 0 lies below them, the last but one above them."""
    positives = positives[:, None]
    width, numbers = near.shape[1], torch.finfo(near.dtype)
    cells = min(CELLS * width, 2 * columns + 16)
    low, high = near[:, :1], near.gather(1, positives - 1)
    step = torch.maximum((high - low) / cells, high.abs() * (16 * numbers.eps))
    step.clamp_min_(numbers.tiny * cells)
    table = torch.zeros((len(near), cells + 4), dtype=torch.int32, device=near.device)
    grid = _Grid(near, positives.int(), low - 1.5 * step, 1 / step, table, 0)
    padding = torch.arange(width, device=near.device) >= positives
    occupied = grid.cells(near.clone(), torch.empty_like(near, dtype=torch.int64))
    occupied.masked_fill_(padding, cells + 3)
    table.scatter_add_(1, occupied, (~padding).int())
    fullest = int(table.max())
    table[:, :1] -= grid.positives
    table.cumsum_(1)
    table.scatter_(1, occupied, table.gather(1, occupied) + grid.positives)
    return grid._replace(fullest=fullest)


def _placed(grid: _Grid, work: Work, columns: Tensor, margin: float | None) -> Tensor:
    """Return minus how many positives are greater than each d - margin, int32 (r, b); 0 for the own class.

    Without a margin, minus how many are not less than each d. A cell without positives decides for all
    values in it; the few others are searched by halving.
    """
    values = torch.sub(work.distances, margin or 0.0, out=work.values)
    cells = grid.cells(values.scatter_(1, columns, torch.inf), work.cells)
    rows, size = grid.table.shape
    cells += torch.arange(0, rows * size, size, dtype=torch.int32, device=cells.device)[:, None]
    beyond = work.beyond.view(-1)
    torch.index_select(grid.table.view(-1), 0, cells.view(-1), out=beyond)
    undecided = torch.clamp_min(beyond, 0, out=cells.view(-1)).bool().nonzero().squeeze(1)
    row = undecided.div(cells.shape[1], rounding_mode="floor")
    some = work.distances.view(-1).index_select(0, undecided).sub_(margin or 0.0)
    until = beyond.index_select(0, undecided)
    beyond[undecided] = _searched(grid, some, row, until, right=margin is not None)
    return work.beyond


def _searched(grid: _Grid, values: Tensor, row: Tensor, until: Tensor, *, right: bool) -> Tensor:
    """Do the same for values (u,) whose cell ends before the positive number `until` of their row."""
    bits = grid.fullest.bit_length()
    near, width = grid.near.view(-1), grid.near.shape[1]
    first = row * width
    last = first + (width - 1)  # infinite in every row
    at = first + (until - ((1 << bits) - 1)).clamp_min_(0)
    for bit in reversed(range(bits)):
        probe = near.index_select(0, torch.minimum(at + ((1 << bit) - 1), last))
        at.add_(probe <= values if right else probe < values, alpha=1 << bit)
    return (at - first).int() - grid.positives.view(-1).index_select(0, row)


def _histogram(grid: _Grid, beyond: Tensor, scratch: Tensor) -> Tensor:
    """Return for each sorted positive how many values lie before it, 0 for the padding, int64 (r, w)."""
    rows, width = grid.near.shape
    size = width + 1
    bins = torch.arange(0, rows * size, size, dtype=torch.int32, device=beyond.device)[:, None]
    places = torch.add(beyond, bins + grid.positives, out=scratch)
    found = torch.bincount(places.view(-1), minlength=rows * size).view(rows, size)
    before = found[:, :width].cumsum(1)
    padding = torch.arange(width, device=beyond.device) >= grid.positives
    return before.masked_fill_(padding, 0)
