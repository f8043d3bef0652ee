"""The exact nearest neighbours, in chunks: what is found never depends on how it was searched.

A matrix product screens the gallery, some rows more than were asked for are measured again by direct
differences, and a bound on the product's rounding says whether a row that was left out could have come in.
Where it could, the query is screened again in finer numbers, and then ever wider. So the screen may be
coarse where that is fast: on processors that multiply bfloat16 in tiles it begins there.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import torch

from ..errors import DataError, UsageError
from ..shapes import Float32, Int64, Tensor
from ..values import Neighbors
from .copies import first_copies
from .screening import (
    BATCH,
    CACHE_BYTES,
    PADDED,
    Asked,
    Ground,
    Slab,
    asked,
    beyond,
    factors_of,
    heights_of,
    measured,
    multiplies_bfloat16,
    multiplies_in_float32,
    picked,
    smallest,
)

__all__ = ["SLACK", "keys_of", "nearest", "of_keys"]

SLACK = 8
"""How many rows more than k are measured at first."""
WIDEN = 5
"""By how much the screen is widened where ties may reach its edge."""
MANY = 4096
"""From so many rows on, and BATCH queries, a screen in bfloat16 pays."""


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
        search = _Search(Ground.of(gallery, chunk_bytes), kept, k, chunk_bytes)
        indices, distances = _found(search, queries, exclude)
    if not torch.isfinite(distances).all():
        raise DataError("two embeddings lie farther apart than float32 can tell; scale the embedding down")
    return Neighbors(indices=indices.cpu().numpy(), distances=distances.cpu().numpy())


def keys_of(distances: Tensor, rows: Tensor) -> Tensor:
    """Return numbers that are ordered as (distance, row): floats that are not negative are as their bits."""
    return distances.view(torch.int32).long() << 32 | rows


def of_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows and the distances of `keys_of`."""
    return keys & 0xFFFFFFFF, (keys >> 32).int().view(torch.float32)


@dataclass(frozen=True)
class _Search:
    ground: Ground
    """The rows that are searched, by ascending index."""
    original: Tensor
    """(m,), which row of the caller's gallery each is."""
    k: int
    chunk_bytes: int

    @property
    def rows(self) -> int:
        return len(self.ground.gallery)

    @property
    def slab_rows(self) -> int:
        return max(PADDED, self.chunk_bytes // (8 * self.ground.gallery.shape[1]) // PADDED * PADDED)


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
            far = measured(search.ground, queries[part], screen.positions)
            rows = search.original[screen.positions]
            far.masked_fill_(rows == exclude[part, None], math.inf)
            keys[part] = keys_of(far, rows).topk(search.k, largest=False).values
            undecided.append(part[~(screen.beyond.float() > of_keys(keys[part])[1][:, -1])])
            if number == 0 and 2 * len(undecided[0]) > len(part):
                undecided.extend(parts[1:])  # for the next pass
                break
        open_queries = torch.cat(undecided)
        if not len(open_queries):
            break
    return of_keys(keys)


def _parts(rows: Tensor, step: int) -> list[Tensor]:
    """Split rows into parts of `step`; of many the first are a trial: where most stay open, all do."""
    first = min(step, BATCH if len(rows) > 4 * BATCH else len(rows))
    return [rows[:first], *(torch.split(rows[first:], step) if len(rows) > first else ())]


def _passes(search: _Search, queries: int) -> Iterator[tuple[torch.dtype, int]]:
    """Yield with which numbers and how wide to screen: wider for ties, finer, ever wider, everything."""
    rows, width, device = search.rows, search.k + SLACK, search.ground.gallery.device
    if rows > MANY and queries >= BATCH and multiplies_bfloat16(device):
        yield from ((torch.bfloat16, wide) for wide in (2 * width, 2 * width * WIDEN) if wide < rows)
    if multiplies_in_float32(device):
        yield from ((torch.float32, wide) for wide in (width, width * WIDEN) if wide < rows)
        width *= WIDEN
    while width < rows:
        yield torch.float64, width
        width *= WIDEN
    yield torch.float64, rows


def _screened(
    search: _Search,
    slab: Callable[[torch.dtype, int], Slab],
    queries: Tensor,
    dtype: torch.dtype,
    width: int,
) -> _Screen:
    """Find the `width` rows that seem nearest, and how near any other row can be."""
    if width == search.rows:
        everything = torch.arange(width, device=queries.device).expand(len(queries), -1)
        return _Screen(everything, torch.full((len(queries),), math.inf, device=queries.device).double())
    ready = asked(search.ground, queries, dtype)
    positions, heights, radius, shift = _lowest(search, slab, ready, width)
    return _Screen(positions, beyond(search.ground, ready, heights.amax(1), radius, shift))


def _slab(search: _Search, dtype: torch.dtype, start: int) -> Slab:
    return factors_of(search.ground, search.ground.gallery[start : start + search.slab_rows], dtype)


def _lowest(
    search: _Search, slab: Callable[[torch.dtype, int], Slab], queries: Asked, width: int
) -> tuple[Tensor, Tensor, float, float]:
    """Return the rows whose product is among the `width` lowest, these, and the slabs' radius and shift."""
    heights: Tensor
    places: Tensor
    radius = shift = 0.0
    for start in range(0, search.rows, search.slab_rows):
        rows = slab(queries.factors.dtype, start)
        radius, shift = max(radius, rows.radius), max(shift, rows.shift)
        found, at = _lowest_of(rows.factors, queries.factors, width, search.chunk_bytes)
        if start:
            found, chosen = picked(torch.cat((heights, found)), width)
            at = torch.cat((places, at + start)).gather(0, chosen)
        heights, places = found, at
    return places.T, heights.T.view(queries.factors.dtype), radius, shift


def _lowest_of(rows: Tensor, queries: Tensor, width: int, chunk_bytes: int) -> tuple[Tensor, Tensor]:
    batch = BATCH if rows.device.type == "cpu" else len(queries)
    batch *= 1 if rows.dtype == torch.bfloat16 else 2
    batch = max(1, min(batch, chunk_bytes // (len(rows) * rows.element_size())))
    room = rows.new_empty(len(rows) * batch)
    parts = []
    for part in torch.split(queries, batch):
        heights, minima = heights_of(rows, part, room)
        parts.append(smallest(heights, width, minima))
    return torch.cat([values for values, _ in parts], dim=1), torch.cat([at for _, at in parts], dim=1)


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
