"""The exact nearest neighbours, in chunks: what is found never depends on how it was searched.

A matrix product screens the gallery, some rows more than were asked for are measured again by direct
differences, and a bound on the product's rounding says whether a row that was left out could have come in.
Where it could, the query is screened again in finer numbers, and then ever wider. So the screen may be
coarse where that is fast: on processors that multiply bfloat16 in tiles it begins there.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

import torch

from ..errors import DataError, UsageError
from ..shapes import Float32, Int64, Tensor
from ..values import Neighbors
from .copies import first_copies

__all__ = ["nearest"]

SLACK = 8
"""How many rows more than k are measured at first."""
WIDEN = 5
"""By how much the screen is widened where ties may reach its edge."""
GROUP = 8
"""How many rows share one minimum before the smallest are picked."""
PADDED = GROUP**3
"""The screen takes a multiple of so many rows, for minima of minima of minima."""
TILE, BATCH = 16384, 128
"""How many rows a CPU multiplies at once, by how many queries (but for bfloat16 by twice as many)."""
CACHE_BYTES = 1 << 20
"""About how large the arrays may be that a CPU goes through several times."""
MANY = 4096
"""From so many rows on, and BATCH queries, a screen in bfloat16 pays; so many rows tell the middle of all."""
FARTHEST = 2.0**60
"""Beyond so many gallery extents the product could overflow: nothing is concluded from it."""


def nearest(
    queries: Float32[Tensor, "q d"],
    gallery: Float32[Tensor, "g d"],
    k: int,
    *,
    exclude: Int64[Tensor, " q"] | None = None,
    chunk_bytes: int = 256 << 20,
) -> Neighbors:
    """Return for each query the k nearest gallery rows by Euclidean distance, ordered by (distance, index).

    The distance is √Σ(q_j - g_j)², summed pairwise in float64 in an order that depends on d alone, then
    rounded to float32; rows whose rounded distances are equal are tied, and ties go to the lower index. So
    the answer is the same to the bit whatever the chunks, alone or in a batch.

    Args:
        queries: (q, d), finite.
        gallery: (g, d), finite, on the same device.
        k: how many neighbours.
        exclude: for each query the gallery row that it must not find (itself), or -1.
        chunk_bytes: about how large each of the few work arrays may grow.

    Raises:
        UsageError: k that the gallery cannot give, other dimensions, an excluded row that is not there.
        DataError: a value that is not finite, or a distance too large for float32.

    >>> found = nearest(torch.tensor([[0.0]]), torch.tensor([[5.0], [-1.0], [1.0]]), k=2)
    >>> found.indices.tolist(), found.distances.tolist()
    ([[1, 2]], [[1.0, 1.0]])
    """
    _check(queries, gallery, k, exclude)
    with torch.no_grad(), torch.autocast(gallery.device.type, enabled=False):
        small = min(chunk_bytes, CACHE_BYTES) if gallery.device.type == "cpu" else chunk_bytes
        kept = first_copies(gallery, k if exclude is None else k + 1, small)
        if len(kept) < len(gallery):
            gallery = gallery[kept]
        if exclude is None:
            exclude = torch.full((len(queries),), -1, device=queries.device)
        search = _Search(gallery, kept, k, chunk_bytes, small, *_frame(gallery))
        indices, distances = _found(search, queries, exclude)
    if not torch.isfinite(distances).all():
        raise DataError("two embeddings lie farther apart than float32 can tell; scale the embedding down")
    return Neighbors(indices=indices.cpu().numpy(), distances=distances.cpu().numpy())


@dataclass(frozen=True)
class _Search:
    gallery: Tensor
    """(m, d), the rows that are searched, by ascending index."""
    original: Tensor
    """(m,), which row of the caller's gallery each is."""
    k: int
    chunk_bytes: int
    small_bytes: int
    """About how large the arrays may be that are gone through several times."""
    centre: Tensor
    """(d,) float64, taken off everything, so that little cancels in the product."""
    scale: float
    """A power of two that brings the gallery's largest coordinate to between ½ and 1."""


@dataclass(frozen=True)
class _Slab:
    start: int
    """Which row of the searched gallery is the first."""
    factors: Tensor
    """(rows, d + 2 p): g, the p pieces of |g|², and p ones; the last rows may be padding, infinitely far."""
    radius: float
    """The length of the longest row."""
    shift: float
    """How far the rounding moved a row at most."""


@dataclass(frozen=True)
class _Screen:
    positions: Tensor
    """(q, width) rows of the searched gallery."""
    beyond: Tensor
    """(q,) float64: every row that is not in `positions` is at least so far from the query."""


def _found(search: _Search, queries: Tensor, exclude: Tensor) -> tuple[Tensor, Tensor]:
    keys = torch.empty((len(queries), search.k), dtype=torch.int64, device=queries.device)
    open_queries = torch.arange(len(queries), device=queries.device)
    # the one slab of most galleries is kept, of several only the last
    slab = lru_cache(maxsize=1)(partial(_slab, search))
    for dtype, width in _passes(search, len(queries)):
        undecided = []
        parts = _parts(open_queries, max(1, search.chunk_bytes // (64 * width + 32 * queries.shape[1])))
        for number, part in enumerate(parts):
            screen = _screened(search, slab, queries[part], dtype, width)
            measured = _measured(search, queries[part], screen.positions)
            rows = search.original[screen.positions]
            measured.masked_fill_(rows == exclude[part, None], math.inf)
            # floats that are not negative are ordered as their bits are
            ordered = (measured.view(torch.int32).long() << 32 | rows).topk(search.k, largest=False).values
            keys[part] = ordered
            undecided.append(part[~(screen.beyond.float() > _distances(ordered)[:, -1])])
            if number == 0 and 2 * len(undecided[0]) > len(part):
                undecided.extend(parts[1:])  # for the next pass
                break
        open_queries = torch.cat(undecided)
        if not len(open_queries):
            break
    return keys & 0xFFFFFFFF, _distances(keys)


def _parts(rows: Tensor, step: int) -> list[Tensor]:
    """Split rows into parts of `step`; of many the first are a trial: where most stay open, all do."""
    first = min(step, BATCH if len(rows) > 4 * BATCH else len(rows))
    return [rows[:first], *(torch.split(rows[first:], step) if len(rows) > first else ())]


def _distances(keys: Tensor) -> Tensor:
    return (keys >> 32).int().view(torch.float32)


def _passes(search: _Search, queries: int) -> Iterator[tuple[torch.dtype, int]]:
    """Yield with which numbers and how wide to screen: wider for ties, finer, ever wider, everything."""
    rows, width, device = len(search.gallery), search.k + SLACK, search.gallery.device
    if rows > MANY and queries >= BATCH and _multiplies_bfloat16(device):
        yield from ((torch.bfloat16, wide) for wide in (2 * width, 2 * width * WIDEN) if wide < rows)
    if _multiplies_in_float32(device):
        yield from ((torch.float32, wide) for wide in (width, width * WIDEN) if wide < rows)
        width *= WIDEN
    while width < rows:
        yield torch.float64, width
        width *= WIDEN
    yield torch.float64, rows


def _screened(
    search: _Search,
    slab: Callable[[torch.dtype, int], _Slab],
    queries: Tensor,
    dtype: torch.dtype,
    width: int,
) -> _Screen:
    """Find by |q|² - 2 q·g + |g|² the `width` rows that seem nearest, and how near any other row can be.

    In any order of summation the product of d + 2p terms errs by at most γ(d + 2p) (|q| + |g|)², with u the
    unit roundoff of the numbers it is summed in (float32 for bfloat16) and γ(m) = m u / (1 - m u) (Higham,
    Accuracy and Stability of Numerical Algorithms, 2002, section 3.1). To it add what the p pieces of a
    squared length leave of it, less than u; γ(d) of float64, in which the lengths are summed; the rounding of
    the sum to `dtype`; and how far the rounded points lie from the true ones, which is measured. `beyond`
    takes off all of it, with room for the terms of order u².
    """
    if width == len(search.gallery):
        everything = torch.arange(width, device=queries.device).expand(len(queries), -1)
        return _Screen(everything, torch.full((len(queries),), math.inf, device=queries.device).double())
    dimension, pieces = queries.shape[1], _pieces(dtype)
    factors = queries.new_ones((len(queries), dimension + 2 * pieces), dtype=dtype)
    squares, shifts = _place(search, queries, factors[:, :dimension])
    far = ~(squares < FARTHEST**2)
    lengths = squares.sqrt().masked_fill_(far, math.inf)
    factors[:, :dimension].mul_(-2).masked_fill_(far[:, None], 0)
    _split(squares.masked_fill_(far, 0), factors[:, -pieces:])
    positions, heights, radius, shift = _lowest(search, slab, factors, width)
    added = torch.promote_types(dtype, torch.float32)
    terms = factors.shape[1] + 4
    product = 1.01 * (_gamma(terms, added) + _gamma(terms, torch.float64)) * (lengths + radius).square()
    floor = heights.amax(1).double() * (1 - torch.finfo(dtype).eps / 2) - product
    floor = floor.clamp_min(0).sqrt() - (shifts + shift)
    floor -= 4 * torch.finfo(torch.float64).eps * (lengths + radius)
    # the direct distance is itself rounded, by far less than a part in 10^9
    return _Screen(positions, floor * (1 - 1e-9) / search.scale)


def _place(search: _Search, vectors: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Centre, scale and round vectors into `out`; return their squared lengths and how far they moved."""
    squares, shifts = vectors.new_empty((2, len(vectors)), dtype=torch.float64)
    step = max(1, search.small_bytes // (16 * vectors.shape[1]))
    for start in range(0, len(vectors), step):
        part = slice(start, start + step)
        exact = (vectors[part].double() - search.centre).mul_(search.scale)
        rounded = out[part].copy_(exact).double()
        squares[part] = torch.linalg.vecdot(rounded, rounded)
        shifts[part] = torch.linalg.vector_norm(exact.sub_(rounded), dim=1)
    return squares, shifts


def _pieces(dtype: torch.dtype) -> int:
    return 3 if dtype == torch.bfloat16 else 1


def _split(squares: Tensor, pieces: Tensor) -> None:
    """Let the columns of `pieces` add up to `squares`, as nearly as float32 could hold them, or nearer."""
    for piece in pieces.T:
        piece.copy_(squares)
        squares = squares - piece.double()


def _slab(search: _Search, dtype: torch.dtype, start: int) -> _Slab:
    rows = search.gallery[start : start + _slab_rows(search)]
    count, dimension = rows.shape
    pieces = _pieces(dtype)
    factors = rows.new_zeros((count + -count % PADDED, dimension + 2 * pieces), dtype=dtype)
    squares, shifts = _place(search, rows, factors[:count, :dimension])
    _split(squares, factors[:count, dimension:-pieces])
    factors[:, -pieces:] = 1
    factors[count:, dimension] = math.inf
    return _Slab(start, factors, squares.max().sqrt().item(), shifts.max().item())


def _slab_rows(search: _Search) -> int:
    return max(PADDED, search.chunk_bytes // (8 * search.gallery.shape[1]) // PADDED * PADDED)


def _lowest(
    search: _Search, slab: Callable[[torch.dtype, int], _Slab], queries: Tensor, width: int
) -> tuple[Tensor, Tensor, float, float]:
    """Return the rows whose product is among the `width` lowest, these, and the slabs' radius and shift."""
    heights: Tensor
    places: Tensor
    radius = shift = 0.0
    for start in range(0, len(search.gallery), _slab_rows(search)):
        rows = slab(queries.dtype, start)
        radius, shift = max(radius, rows.radius), max(shift, rows.shift)
        found, at = _lowest_of(rows.factors, queries, width, search.chunk_bytes)
        if start:
            found, chosen = _picked(torch.cat((heights, found)), width)
            at = torch.cat((places, at + start)).gather(0, chosen)
        heights, places = found, at
    return places.T, heights.T.view(queries.dtype), radius, shift


def _lowest_of(rows: Tensor, queries: Tensor, width: int, chunk_bytes: int) -> tuple[Tensor, Tensor]:
    tile, batch = (TILE, BATCH) if rows.device.type == "cpu" else (len(rows), len(queries))
    batch *= 1 if rows.dtype == torch.bfloat16 else 2
    batch = max(1, min(batch, chunk_bytes // (len(rows) * rows.element_size())))
    room = rows.new_empty(len(rows) * batch)
    parts = []
    for part in torch.split(queries, batch):
        product = room[: len(rows) * len(part)].view(len(rows), len(part))
        # bfloat16 is ordered as its bits are, but for what is negative, and that is all as good as 0
        heights = product.view(torch.int16) if rows.dtype == torch.bfloat16 else product
        minima = heights.new_empty((len(rows) // GROUP, len(part)))
        for top in range(0, len(rows), tile):
            some, groups = slice(top, top + tile), slice(top // GROUP, (top + tile) // GROUP)
            torch.mm(rows[some], part.T, out=product[some])
            torch.amin(_grouped(heights[some]), dim=1, out=minima[groups])
        parts.append(_smallest(heights, width, minima))
    return torch.cat([values for values, _ in parts], dim=1), torch.cat([at for _, at in parts], dim=1)


def _smallest(values: Tensor, width: int, minima: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the `width` smallest values of each column, and their rows, in no order.

    They lie in the groups of rows that have the smallest minima, which are found in the same way.
    """
    groups = len(values) // GROUP
    if groups <= 2 * width or len(values) % GROUP:
        return _picked(values, width)
    grouped = _grouped(values)
    _, best = _smallest(grouped.amin(1) if minima is None else minima, width)
    pool = grouped.gather(0, best.unsqueeze(1).expand(-1, GROUP, -1)).flatten(0, 1)
    found, rows = _picked(pool, width)
    return found, best.gather(0, rows // GROUP) * GROUP + rows % GROUP


def _grouped(rows: Tensor) -> Tensor:
    return rows.view(len(rows) // GROUP, GROUP, rows.shape[1])


def _picked(values: Tensor, width: int) -> tuple[Tensor, Tensor]:
    found = values.T.contiguous().topk(min(width, len(values)), dim=1, largest=False, sorted=False)
    return found.values.T, found.indices.T


def _gamma(terms: int, dtype: torch.dtype) -> float:
    error = terms * torch.finfo(dtype).eps / 2
    return error / max(1 - error, error * 1e-9)


def _measured(search: _Search, queries: Tensor, positions: Tensor) -> Tensor:
    """Return the distances (q, width) to the rows at `positions`, float32, by differences in float64."""
    distances = torch.empty(positions.shape, dtype=torch.float32, device=positions.device)
    pairs = max(1, search.small_bytes // (8 * queries.shape[1]))
    columns = min(pairs, positions.shape[1])
    rows = max(1, pairs // columns)
    for top in range(0, len(queries), rows):
        some = queries[top : top + rows].double().unsqueeze(1)
        for left in range(0, positions.shape[1], columns):
            at = positions[top : top + rows, left : left + columns]
            there = search.gallery.index_select(0, at.flatten()).view(*at.shape, queries.shape[1])
            squares = there.double().sub_(some).square_()
            distances[top : top + rows, left : left + columns] = _summed(squares).sqrt()
    return distances


def _summed(terms: Tensor) -> Tensor:
    """Add up the last axis by halves, by additions alone: one order on every device and in every batch."""
    while (count := terms.shape[-1]) > 1:
        half = (count + 1) // 2
        terms[..., : count - half] += terms[..., half:]
        terms = terms[..., :half]
    return terms[..., 0]


def _frame(gallery: Tensor) -> tuple[Tensor, float]:
    """Return about the middle of the gallery, which some of its rows tell well enough, and the scale."""
    centre = gallery[:: 1 + len(gallery) // MANY].mean(0, dtype=torch.float64)
    extent = torch.maximum(gallery.amax(0) - centre, centre - gallery.amin(0)).max().item()
    return centre, 2.0 ** -math.frexp(extent)[1]


def _multiplies_in_float32(device: torch.device) -> bool:
    """Whether a float32 product is one on this device: TF32 and bfloat16 can be switched on in torch."""
    backend = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    return backend.matmul.fp32_precision in {"none", "ieee"}


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 in tiles, and adds in float32: 300 ones in bfloat16 are 256."""
    if device.type != "cpu" or not torch.backends.mkldnn.enabled:
        return False
    flags: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.10 has none
    ones = torch.ones(300, 300, dtype=torch.bfloat16)
    return bool(flags.get("amx_bf16")) and bool((ones @ ones == 300).all())


def _check(queries: Tensor, gallery: Tensor, k: int, exclude: Tensor | None) -> None:
    if queries.shape[1] != gallery.shape[1] or not gallery.shape[1]:
        raise UsageError(
            f"queries of dimension {queries.shape[1]} and a gallery of dimension {gallery.shape[1]}; "
            f"expected one for both, of 1 or more"
        )
    available = len(gallery) - (exclude is not None)
    if not 1 <= k <= available:
        raise UsageError(f"k = {k} neighbours of {available} gallery rows; expected 1 to {available}")
    for name, vectors in (("queries", queries), ("gallery", gallery)):
        if len(vectors) and not torch.isfinite(torch.stack(vectors.aminmax())).all():
            raise DataError(
                f"the {name} hold a value that is not finite; the model that made them is unusable"
            )
    if exclude is None:
        return
    if exclude.shape != (len(queries),):
        raise UsageError(f"exclude has shape {tuple(exclude.shape)}, expected ({len(queries)},)")
    if ((exclude < -1) | (exclude >= len(gallery))).any():
        raise UsageError(f"an excluded row lies outside the gallery; expected -1 to {len(gallery) - 1}")
