"""Screens: a matrix product tells about how far rows are, and a bound on its rounding tells how sure that is.

What the product seems to find is measured again by direct differences; a row that it left out is at least as
far as the bound says. The searches of `neighbors` and `classed` are made of these parts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch

from ..shapes import Tensor

__all__ = [
    "Asked",
    "Ground",
    "Slab",
    "asked",
    "beyond",
    "factors_of",
    "heights_of",
    "measured",
    "multiplies_bfloat16",
    "multiplies_in_float32",
    "picked",
    "smallest",
    "summed",
]

GROUP = 8
"""How many rows share one minimum before the smallest are picked."""
PADDED = GROUP**3
"""The screen takes a multiple of so many rows, for minima of minima of minima."""
TILE, BATCH = 16384, 128
"""How many rows a CPU multiplies at once, by how many queries (but for bfloat16 by twice as many)."""
CACHE_BYTES = 1 << 20
"""About how large the arrays may be that a CPU goes through several times."""
SAMPLED = 4096
"""So many rows tell the middle of all."""
FARTHEST = 2.0**60
"""Beyond so many gallery extents the product could overflow: nothing is concluded from it."""


SMALL_CHANGE: Final = 1024
"""So many units of float64's rounding, of the lengths at hand, are more than centring and turning cost."""


@dataclass(frozen=True, eq=False)
class Ground:
    """The rows that are searched, and where their middle is."""

    gallery: Tensor
    """(m, d)."""
    centre: Tensor
    """(d,) float64, taken off everything, so that little cancels in the product."""
    scale: float
    """A power of two that brings the gallery's largest coordinate to between ½ and 1."""
    small_bytes: int
    """About how large the arrays may be that are gone through several times."""
    axes: Tensor | None = None
    """(d, p) float64, orthonormal: the product tells of these directions, and of the length of all others."""

    @property
    def dimension(self) -> int:
        """Of the points that are multiplied."""
        return self.gallery.shape[1] if self.axes is None else self.axes.shape[1] + 1

    @classmethod
    def of(cls, gallery: Tensor, chunk_bytes: int, axes: Tensor | None = None) -> "Ground":
        """Look where the rows lie: about their middle, which some of them tell well enough, and the scale."""
        centre = gallery[:: 1 + len(gallery) // SAMPLED].mean(0, dtype=torch.float64)
        extent = torch.maximum(gallery.amax(0) - centre, centre - gallery.amin(0)).max().item()
        small = min(chunk_bytes, CACHE_BYTES) if gallery.device.type == "cpu" else chunk_bytes
        return cls(gallery, centre, 2.0 ** -math.frexp(extent)[1], small, axes)


@dataclass(frozen=True, eq=False)
class Slab:
    """Some gallery rows, ready to be multiplied."""

    factors: Tensor
    """(rows, d + 2 p): g, the p pieces of |g|², and p ones; the last rows may be padding, infinitely far."""
    radius: float
    """The length of the longest row."""
    shift: float
    """How far the rounding moved a row at most."""


@dataclass(frozen=True, eq=False)
class Asked:
    """Queries, ready to be multiplied."""

    factors: Tensor
    """(q, d + 2 p): -2 q, p ones, and the p pieces of |q|²."""
    lengths: Tensor
    """(q,) float64; infinite where a query is too far to be multiplied."""
    shifts: Tensor
    """(q,) float64, how far the rounding moved each."""


def factors_of(ground: Ground, rows: Tensor, dtype: torch.dtype, multiple: int = PADDED) -> Slab:
    """Return gallery rows as a slab of these numbers, padded to a multiple of so many rows."""
    count, dimension, pieces = len(rows), ground.dimension, _pieces(dtype)
    factors = rows.new_zeros((count + -count % multiple, dimension + 2 * pieces), dtype=dtype)
    squares, shifts = _place(ground, rows, factors[:count, :dimension])
    _split(squares, factors[:count, dimension:-pieces])
    factors[:, -pieces:] = 1
    factors[count:, dimension] = math.inf
    return Slab(factors, squares.max().sqrt().item(), shifts.max().item())


def asked(ground: Ground, queries: Tensor, dtype: torch.dtype) -> Asked:
    """Return queries as factors of these numbers."""
    dimension, pieces = ground.dimension, _pieces(dtype)
    factors = queries.new_ones((len(queries), dimension + 2 * pieces), dtype=dtype)
    squares, shifts = _place(ground, queries, factors[:, :dimension])
    far = ~(squares < FARTHEST**2)
    lengths = squares.sqrt().masked_fill_(far, math.inf)
    factors[:, :dimension].mul_(-2).masked_fill_(far[:, None], 0)
    _split(squares.masked_fill_(far, 0), factors[:, -pieces:])
    return Asked(factors, lengths, shifts)


def heights_of(rows: Tensor, queries: Tensor, room: Tensor) -> tuple[Tensor, Tensor]:
    """Return |q|² - 2 q·g + |g|² as the product has it, (rows, q), and the minimum of each GROUP of rows.

    In bfloat16 they are returned as int16: it is ordered as its bits are, but for what is negative, and that
    is all as good as 0.

    Args:
        rows: (rows, f), factors of a slab.
        queries: (q, f), factors of what was asked.
        room: to write into, rows x q values or more.
    """
    tile = TILE if rows.device.type == "cpu" else len(rows)
    product = room[: len(rows) * len(queries)].view(len(rows), len(queries))
    heights = product.view(torch.int16) if rows.dtype == torch.bfloat16 else product
    minima = heights.new_empty((len(rows) // GROUP, len(queries)))
    for top in range(0, len(rows), tile):
        some, groups = slice(top, top + tile), slice(top // GROUP, (top + tile) // GROUP)
        torch.mm(rows[some], queries.T, out=product[some])
        torch.amin(_grouped(heights[some]), dim=1, out=minima[groups])
    return heights, minima


def beyond(ground: Ground, queries: Asked, highest: Tensor, radius: float, shift: float) -> Tensor:
    """Return how near a row can be at least, (q, …) float64, whose height is `highest` (q, …) or more.

    In any order of summation the product of d + 2p terms errs by at most γ(d + 2p) (|q| + |g|)², with u the
    unit roundoff of the numbers it is summed in (float32 for bfloat16) and γ(m) = m u / (1 - m u) (Higham,
    Accuracy and Stability of Numerical Algorithms, 2002, section 3.1). To it add what the p pieces of a
    squared length leave of it, less than u; γ(d) of float64, in which the lengths are summed; the rounding of
    the sum to the factors' own numbers; and how far the rounded points lie from the true ones, which is
    measured. The bound takes off all of it, with room for the terms of order u².

    Args:
        ground: what is searched.
        queries: what was asked.
        highest: (q,) or (q, c).
        radius: the length of the longest row.
        shift: how far the rounding moved a row at most.
    """
    dtype = queries.factors.dtype
    added = torch.promote_types(dtype, torch.float32)
    terms = queries.factors.shape[1] + 4
    lengths, shifts = (
        of.view(-1, *(1,) * (highest.ndim - 1)) for of in (queries.lengths + radius, queries.shifts + shift)
    )
    product = 1.01 * (_gamma(terms, added) + _gamma(terms, torch.float64)) * lengths.square()
    floor = highest.double() * (1 - torch.finfo(dtype).eps / 2) - product
    floor = floor.clamp_min(0).sqrt() - shifts
    floor -= SMALL_CHANGE * torch.finfo(torch.float64).eps * lengths
    # the direct distance is itself rounded, by far less than a part in 10^9
    return floor * (1 - 1e-9) / ground.scale


def measured(ground: Ground, queries: Tensor, positions: Tensor) -> Tensor:
    """Return the distances (q, width) to the rows at `positions`, float32, by differences in float64."""
    distances = torch.empty(positions.shape, dtype=torch.float32, device=positions.device)
    pairs = max(1, ground.small_bytes // (8 * queries.shape[1]))
    columns = max(1, min(pairs, positions.shape[1]))
    rows = max(1, pairs // columns)
    for top in range(0, len(queries), rows):
        some = queries[top : top + rows].double().unsqueeze(1)
        for left in range(0, positions.shape[1], columns):
            at = positions[top : top + rows, left : left + columns]
            there = ground.gallery.index_select(0, at.flatten()).view(*at.shape, queries.shape[1])
            squares = there.double().sub_(some).square_()
            distances[top : top + rows, left : left + columns] = summed(squares).sqrt()
    return distances


def summed(terms: Tensor) -> Tensor:
    """Add up the last axis by halves, by additions alone: one order on every device and in every batch."""
    while (count := terms.shape[-1]) > 1:
        half = (count + 1) // 2
        terms[..., : count - half] += terms[..., half:]
        terms = terms[..., :half]
    return terms[..., 0]


def smallest(values: Tensor, width: int, minima: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the `width` smallest values of each column, and their rows, in no order.

    They lie in the groups of rows that have the smallest minima, which are found in the same way.
    """
    groups = len(values) // GROUP
    if groups <= 2 * width or len(values) % GROUP:
        return picked(values, width)
    grouped = _grouped(values)
    _, best = smallest(grouped.amin(1) if minima is None else minima, width)
    pool = grouped.gather(0, best.unsqueeze(1).expand(-1, GROUP, -1)).flatten(0, 1)
    found, rows = picked(pool, width)
    return found, best.gather(0, rows // GROUP) * GROUP + rows % GROUP


def picked(values: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return the `width` smallest values of each column, and their rows, in no order; all of a few."""
    found = values.T.contiguous().topk(min(width, len(values)), dim=1, largest=False, sorted=False)
    return found.values.T, found.indices.T


def multiplies_in_float32(device: torch.device) -> bool:
    """Whether a float32 product is one on this device: TF32 and bfloat16 can be switched on in torch."""
    backend = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    return backend.matmul.fp32_precision in {"none", "ieee"}


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 in tiles, and adds in float32: 300 ones in bfloat16 are 256."""
    if device.type != "cpu" or not torch.backends.mkldnn.enabled:
        return False
    flags: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.10 has none
    ones = torch.ones(300, 300, dtype=torch.bfloat16)
    return bool(flags.get("amx_bf16")) and bool((ones @ ones == 300).all())


def _place(ground: Ground, vectors: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Centre, scale and round vectors into `out`; return their squared lengths and how far they moved."""
    squares, shifts = vectors.new_empty((2, len(vectors)), dtype=torch.float64)
    step = max(1, ground.small_bytes // (16 * vectors.shape[1]))
    for start in range(0, len(vectors), step):
        part = slice(start, start + step)
        exact = _turned(ground, (vectors[part].double() - ground.centre).mul_(ground.scale))
        rounded = out[part].copy_(exact).double()
        squares[part] = torch.linalg.vecdot(rounded, rounded)
        shifts[part] = torch.linalg.vector_norm(exact.sub_(rounded), dim=1)
    return squares, shifts


def _turned(ground: Ground, points: Tensor) -> Tensor:
    """Return points along the axes, and how long the rest of each is: no two lie farther apart than before.

    |r - s| ≥ ||r| - |s||, so what is left of the rests makes the bound tighter.
    """
    if ground.axes is None:
        return points
    along = points @ ground.axes
    rest = torch.linalg.vector_norm(points.addmm(along, ground.axes.T, alpha=-1), dim=1, keepdim=True)
    return torch.cat([along, rest], dim=1)


def _pieces(dtype: torch.dtype) -> int:
    return 3 if dtype == torch.bfloat16 else 1


def _split(squares: Tensor, pieces: Tensor) -> None:
    """Let the columns of `pieces` add up to `squares`, as nearly as float32 could hold them, or nearer."""
    for piece in pieces.T:
        piece.copy_(squares)
        squares = squares - piece.double()


def _grouped(rows: Tensor) -> Tensor:
    return rows.view(len(rows) // GROUP, GROUP, rows.shape[1])


def _gamma(terms: int, dtype: torch.dtype) -> float:
    error = terms * torch.finfo(dtype).eps / 2
    return error / max(1 - error, error * 1e-9)
