"""The exact nearest neighbours, in chunks: what is found never depends on how it was searched.

A matrix product screens the gallery, some rows more than were asked for are measured again by direct
differences, and a bound on the product's rounding says whether a row that was left out could have come in.
Where it could, the query is screened again in float64, and then ever wider.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ..errors import DataError, UsageError
from ..shapes import Float32, Int64, Tensor
from ..values import Neighbors
from .copies import first_copies

__all__ = ["nearest"]

SLACK = 8
"""How many rows more than k are measured at first."""
WIDEN = 8
"""By how much the screen is widened where ties reach its edge."""
STRIP = 32
"""How many rows share one minimum before the smallest are picked."""
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
        kept = first_copies(gallery, k if exclude is None else k + 1, chunk_bytes)
        if len(kept) < len(gallery):
            gallery = gallery[kept]
        if exclude is None:
            exclude = torch.full((len(queries),), -1, device=queries.device)
        search = _Search(gallery, kept, k, chunk_bytes, *_frame(gallery))
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
    centre: Tensor
    """(d,) float64, taken off everything, so that little cancels in the product."""
    scale: float
    """A power of two that brings the gallery's largest coordinate to between ½ and 1."""

    def placed(self, vectors: Tensor, dtype: torch.dtype) -> Tensor:
        """Centre and scale vectors; each coordinate is rounded once to `dtype`."""
        return ((vectors.double() - self.centre) * self.scale).to(dtype)


@dataclass(frozen=True)
class _Screen:
    positions: Tensor
    """(q, width) rows of the searched gallery, ascending."""
    beyond: Tensor
    """(q,) float64: every row that is not in `positions` is at least so far from the query."""


def _found(search: _Search, queries: Tensor, exclude: Tensor) -> tuple[Tensor, Tensor]:
    indices = torch.empty((len(queries), search.k), dtype=torch.int64, device=queries.device)
    distances = torch.empty((len(queries), search.k), dtype=torch.float32, device=queries.device)
    open_queries = torch.arange(len(queries), device=queries.device)
    for dtype, width in _passes(search):
        undecided = []
        step = max(1, search.chunk_bytes // (64 * width + 32 * queries.shape[1]))
        for part in torch.split(open_queries, step):
            screen = _screened(search, queries[part], dtype, width)
            measured = _measured(search, queries[part], screen.positions)
            rows = search.original[screen.positions]
            measured.masked_fill_(rows == exclude[part, None], math.inf)
            ordered, order = measured.sort(dim=1, stable=True)
            indices[part] = rows.gather(1, order[:, : search.k])
            distances[part] = ordered[:, : search.k]
            undecided.append(part[~(screen.beyond.float() > ordered[:, search.k - 1])])
        open_queries = torch.cat(undecided)
        if not len(open_queries):
            break
    return indices, distances


def _passes(search: _Search) -> Iterator[tuple[torch.dtype, int]]:
    """Yield with which numbers and how wide to screen, until nothing is left out."""
    width = search.k + SLACK
    if width < len(search.gallery) and _multiplies_in_float32(search.gallery.device):
        yield torch.float32, width
    while width < len(search.gallery):
        yield torch.float64, width
        width *= WIDEN
    yield torch.float64, len(search.gallery)


def _screened(search: _Search, queries: Tensor, dtype: torch.dtype, width: int) -> _Screen:
    """Find by |g|² - 2 q·g the `width` rows that seem nearest, and how near any other row can be.

    In any order of summation the product errs by at most γ(d + 2) (|g|² + 2 |q| |g|), with u the unit
    roundoff of `dtype` and γ(m) = m u / (1 - m u) (Higham, Accuracy and Stability of Numerical Algorithms,
    2002, section 3.1); the squared lengths, which are summed in float64, by at most γ(d) of themselves; and
    rounding the centred coordinates moves a distance by at most 2 u (|q| + |g|). `beyond` takes off all of
    it, with room for the terms of order u².
    """
    if width == len(search.gallery):
        everything = torch.arange(width, device=queries.device).expand(len(queries), -1)
        return _Screen(everything, torch.full((len(queries),), math.inf, device=queries.device).double())
    placed = search.placed(queries, dtype)
    positions, heights, radius = _lowest(search, placed, width)
    lengths = torch.linalg.vector_norm(placed.double(), dim=1)
    lengths = torch.where(lengths < FARTHEST, lengths, math.inf)
    terms = queries.shape[1] + 4
    product = _gamma(terms, dtype) * (radius**2 + 2 * lengths * radius)
    squares = 2 * _gamma(terms, torch.float64) * (lengths.square() + radius**2)
    floor = (lengths.square() + heights.amax(1).double() - product - squares).clamp_min(0).sqrt()
    floor -= 1.5 * torch.finfo(dtype).eps * (lengths + radius)
    # the direct distance is itself rounded, by far less than a part in 10^9
    return _Screen(positions.sort(dim=1).values, floor * (1 - 1e-9) / search.scale)


def _lowest(search: _Search, placed: Tensor, width: int) -> tuple[Tensor, Tensor, float]:
    """Return the rows with the `width` lowest |g|² - 2 q·g, these values, and the longest row's length."""
    positions = torch.empty((len(placed), 0), dtype=torch.int64, device=placed.device)
    heights = torch.empty((len(placed), 0), dtype=placed.dtype, device=placed.device)
    radius = 0.0
    block = max(STRIP, search.chunk_bytes // (16 * placed.shape[1]) // STRIP * STRIP)
    for start in range(0, len(search.gallery), block):
        rows = search.placed(search.gallery[start : start + block], placed.dtype)
        squares = rows.double().square().sum(1)
        radius = max(radius, math.sqrt(squares.max().item()))
        missing = -len(rows) % STRIP
        rows = torch.nn.functional.pad(rows, (0, 0, 0, missing))
        squares = torch.nn.functional.pad(squares, (0, missing), value=math.inf).to(placed.dtype)
        step = max(1, search.chunk_bytes // (len(rows) * rows.element_size()))
        parts = [
            _smallest(torch.addmm(squares, part, rows.T, alpha=-2), width)
            for part in torch.split(placed, step)
        ]
        heights = torch.cat((heights, torch.cat([height for height, _ in parts])), dim=1)
        positions = torch.cat((positions, torch.cat([column for _, column in parts]) + start), dim=1)
        heights, chosen = _smallest(heights, width)
        positions = positions.gather(1, chosen)
    return positions, heights, radius


def _smallest(values: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return the `width` smallest values of each row, and their columns, in no order.

    The columns are folded into strips first: the smallest values lie in the strips with the smallest minima.
    """
    strips = values.shape[1] // STRIP
    if strips <= 2 * width or values.shape[1] % STRIP:
        found = values.topk(min(width, values.shape[1]), dim=1, largest=False, sorted=False)
        return found.values, found.indices
    folded = values.view(-1, STRIP, strips)
    best = folded.amin(1).topk(width, dim=1, largest=False, sorted=False).indices
    pool = folded.gather(2, best.unsqueeze(1).expand(-1, STRIP, -1)).flatten(1)
    found = pool.topk(width, dim=1, largest=False, sorted=False)
    columns = found.indices // width * strips + best.gather(1, found.indices % width)
    return found.values, columns


def _gamma(terms: int, dtype: torch.dtype) -> float:
    error = terms * torch.finfo(dtype).eps / 2
    return error / max(1 - error, error * 1e-9)


def _measured(search: _Search, queries: Tensor, positions: Tensor) -> Tensor:
    """Return the distances (q, width) to the rows at `positions`, float32, by differences in float64."""
    distances = torch.empty(positions.shape, dtype=torch.float32, device=positions.device)
    pairs = max(1, search.chunk_bytes // (24 * queries.shape[1]))
    columns = min(pairs, positions.shape[1])
    rows = max(1, pairs // columns)
    for top in range(0, len(queries), rows):
        some = queries[top : top + rows].double().unsqueeze(1)
        for left in range(0, positions.shape[1], columns):
            at = positions[top : top + rows, left : left + columns]
            squares = (search.gallery[at].double() - some).square_()
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
    centre = gallery.mean(0, dtype=torch.float64)
    low, high = gallery.aminmax(dim=0)
    extent = torch.maximum(high - centre, centre - low).max().item()
    return centre, 2.0 ** -math.frexp(extent)[1]


def _multiplies_in_float32(device: torch.device) -> bool:
    """Whether a float32 product is one on this device: TF32 and bfloat16 can be switched on in torch."""
    backend = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    return backend.matmul.fp32_precision in {"none", "ieee"}


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
        if not torch.isfinite(vectors).all():
            raise DataError(
                f"the {name} hold a value that is not finite; the model that made them is unusable"
            )
    if exclude is None:
        return
    if exclude.shape != (len(queries),):
        raise UsageError(f"exclude has shape {tuple(exclude.shape)}, expected ({len(queries)},)")
    if ((exclude < -1) | (exclude >= len(gallery))).any():
        raise UsageError(f"an excluded row lies outside the gallery; expected -1 to {len(gallery) - 1}")
