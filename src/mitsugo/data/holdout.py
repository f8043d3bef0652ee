"""Which images are held out where some must stay together: whole units, and of every class its share."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..shapes import Bool, Int64, Labels

__all__ = ["held_out", "key_order"]

MOST_DRAWS: Final = 64
CLOSE: Final = 0.1
"""A draw is taken as soon as it holds of each class its share, give or take a tenth and an image: to look on
for the very best would leave the same few units out of every test part."""
MOST_STEPS: Final = 200_000
"""About how many units are looked at in all draws; of many units the first draws are balanced already."""


def held_out(
    labels: Labels, units: Labels, names: Sequence[str], share: float, seed: int, fewest: int = 2
) -> Bool[np.ndarray, " n"]:
    """Draw about the same share of every class, each unit whole.

    Units of several images are walked through in a drawn order; one is held out where that brings its classes
    nearer to their shares, Σ over classes of (held out - wanted)² / images, and leaves each of them another
    unit. The first such draw that comes within a tenth of every class's share is taken; if none of 64 does,
    the one with the fewest classes of which nothing is held out, then the least sum. Images that are units
    alone then fill each class up to its share, rounded with halves up. Where a class has two units or more,
    at least one stays and, as far as its units' other classes allow, one is held out; a class of one unit
    stays.

    Args:
        labels: (n,), the class of each image.
        units: (n,), images of one number stay together.
        names: n names: the draw hangs on them and on the seed, not on the order of the images.
        share: of the images, above 0 and below 1.
        seed: of the draw.
        fewest: a class of fewer images than these gives none away.

    Returns:
        Whether each image is held out.

    >>> out = held_out(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 2, 2, 3]), "abcdef", 0.34, seed=0)
    >>> out.tolist()
    [False, False, True, False, False, True]
    """
    if not len(labels):
        return np.zeros(0, np.bool_)
    order = key_order(names, seed)
    parts = _parts_of(labels[order], units[order], fewest)
    generator = np.random.default_rng(seed)
    draws = max(1, min(MOST_DRAWS, MOST_STEPS // max(1, len(parts.lumps))))
    best = _drawn(parts, share, generator)
    for _ in range(draws - 1):
        if best.close:
            break
        best = min(best, _drawn(parts, share, generator), key=lambda drawn: (not drawn.close, drawn.cost))
    out = np.empty(len(labels), np.bool_)
    out[order] = _filled(parts, best, share, generator)
    return out


def key_order(names: Sequence[str], seed: int) -> Int64[np.ndarray, " n"]:
    """Return an order of the names that hangs on them and the seed alone; equal names keep theirs."""
    start = f"{seed}/".encode()
    keys = b"".join(blake2b(start + os.fsencode(name), digest_size=8).digest() for name in names)
    return np.argsort(np.frombuffer(keys, ">u8"), kind="stable")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Parts:
    labels: NDArray[np.int64]
    """Classes from 0, those that occur."""
    units: NDArray[np.int64]
    """Units from 0, by their first image."""
    images: NDArray[np.int64]
    """How many each class has."""
    units_in: NDArray[np.int64]
    """How many units show each class."""
    closed: NDArray[np.bool_]
    """Classes that give none away."""
    lumps: list[tuple[int, list[tuple[int, int]]]]
    """Units of several images: the unit, and of each of its classes how many images it has."""
    singles: NDArray[np.int64]
    """Images that are units alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Drawn:
    units: list[int]
    """The lumps that are held out."""
    taken: NDArray[np.int64]
    """How many images of each class these hold."""
    left: NDArray[np.int64]
    """How many units of each class are not held out, singles among them."""
    close: bool
    """Whether they hold about the share of every class."""
    cost: tuple[int, float]


def _parts_of(labels: Labels, units: Labels, fewest: int) -> _Parts:
    _, labels = np.unique(labels, return_inverse=True)
    _, first, units = np.unique(units, return_index=True, return_inverse=True)
    units = np.argsort(np.argsort(first))[units]
    images = np.bincount(labels)
    pairs, counts = np.unique(units * len(images) + labels, return_counts=True)
    of_unit, of_class = np.divmod(pairs, len(images))
    sizes = np.bincount(units)
    lumps: dict[int, list[tuple[int, int]]] = {}
    several = sizes[of_unit] > 1
    shown = zip(of_unit[several].tolist(), of_class[several].tolist(), counts[several].tolist(), strict=True)
    for unit, label, count in shown:
        lumps.setdefault(unit, []).append((label, count))
    return _Parts(
        labels=labels,
        units=units,
        images=images,
        units_in=np.bincount(of_class),
        closed=images < fewest,
        lumps=list(lumps.items()),
        singles=np.flatnonzero(sizes[units] == 1),
    )


@dataclass(frozen=True, kw_only=True)
class _Tally:
    """What has been held out so far; its lists grow, one number a class."""

    wanted: list[float]
    weight: list[float]
    able: list[bool]
    """Classes that may give something away."""
    taken: list[int]
    left: list[int]

    def gain(self, lump: list[tuple[int, int]]) -> float:
        """Return by how much the sum falls where a lump is held out."""
        return sum(self.weight[c] * m * (2 * (self.wanted[c] - self.taken[c]) - m) for c, m in lump)

    def free(self, lump: list[tuple[int, int]]) -> bool:
        return all(self.able[c] and self.left[c] > 1 for c, _ in lump)

    def take(self, lump: list[tuple[int, int]]) -> None:
        for c, m in lump:
            self.taken[c] += m
            self.left[c] -= 1


def _drawn(parts: _Parts, share: float, generator: np.random.Generator) -> _Drawn:
    """Draw lumps to hold out until they hold the share of the images that are in lumps."""
    alone = np.bincount(parts.labels[parts.singles], minlength=len(parts.images))
    able = ~parts.closed & (parts.units_in > 1)
    tally = _Tally(
        wanted=np.where(able, share * (parts.images - alone), 0).tolist(),
        weight=(1 / parts.images).tolist(),
        able=able.tolist(),
        taken=[0] * len(able),
        left=parts.units_in.tolist(),
    )
    held, unused = [], []
    for place in generator.permutation(len(parts.lumps)).tolist():
        unit, lump = parts.lumps[place]
        if tally.free(lump) and tally.gain(lump) > 0:
            tally.take(lump)
            held.append(unit)
        else:
            unused.append(place)
    needed = (able & (alone == 0)).tolist()
    # what is too large a lump for its share may be the only way to hold out a class without single images
    for place in sorted(unused, key=lambda place: -tally.gain(parts.lumps[place][1])):
        unit, lump = parts.lumps[place]
        if tally.free(lump) and any(needed[c] and not tally.taken[c] for c, _ in lump):
            tally.take(lump)
            held.append(unit)
    return _weighed(tally, held, needed)


def _weighed(tally: _Tally, held: list[int], needed: list[bool]) -> _Drawn:
    """Say how good a draw is; of the classes that are needed something should be held out."""
    off = [abs(t - a) for t, a in zip(tally.taken, tally.wanted, strict=True)]
    nothing = sum(need and not t for need, t in zip(needed, tally.taken, strict=True))
    return _Drawn(
        units=held,
        taken=np.array(tally.taken),
        left=np.array(tally.left),
        close=not nothing and all(d <= CLOSE * a + 1 for d, a in zip(off, tally.wanted, strict=True)),
        cost=(nothing, sum(w * d**2 for w, d in zip(tally.weight, off, strict=True))),
    )


def _filled(
    parts: _Parts, drawn: _Drawn, share: float, generator: np.random.Generator
) -> Bool[np.ndarray, " n"]:
    """Hold out the drawn lumps, and of each class as many single images as its share still wants."""
    out = np.isin(parts.units, drawn.units)
    classes = len(parts.images)
    alone = np.bincount(parts.labels[parts.singles], minlength=classes)
    most = np.where(parts.closed, 0, np.minimum(alone, drawn.left - 1))
    wanted = np.floor(parts.images * share + 0.5).astype(np.int64) - drawn.taken
    wanted = np.clip(wanted, np.minimum(drawn.taken == 0, most), most)
    mixed = generator.permutation(parts.singles)
    mixed = mixed[np.argsort(parts.labels[mixed], kind="stable")]
    of_class = parts.labels[mixed]
    rank = np.arange(len(mixed)) - np.repeat(np.cumsum(alone) - alone, alone)
    out[mixed[rank < wanted[of_class]]] = True
    return out
