"""The split guard: what must stay together, and what stands on both sides of a split all the same."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..errors import UsageError, shown
from ..shapes import Bool, Int64
from ..values import LabeledImages, Split
from .duplicates import Twins

__all__ = ["Findings", "findings", "units"]

LARGEST_CHAIN: Final = 0.1
"""Of all images, near duplicates may chain so many into one unit at most; a handful always may."""
HANDFUL: Final = 4
LISTED: Final = 100
"""So many sets or pairs are listed by name; all are counted."""
EXAMPLES: Final = 3
NAMES: Final = 5


def units(
    images: LabeledImages, twins: Twins, together: Literal["equal", "near"] = "equal"
) -> Int64[np.ndarray, " n"]:
    """Number what is never torn apart: images of one group, of equal pixels and, if asked for, near ones.

    What belongs together with the same image belongs together. Numbers run from 0 in order of appearance.

    Raises:
        UsageError: "near" would chain more than a tenth of the images, and more than four, into one unit that
            groups and equal pixels alone do not make; or there are more near pairs than were kept.
    """
    kept = _joined(images, twins, near=False)
    if together == "equal":
        return kept
    joined = _joined(images, twins, near=True)
    largest, before = (int(np.bincount(numbers).max(initial=0)) for numbers in (joined, kept))
    chained = largest > max(LARGEST_CHAIN * len(images), HANDFUL) and largest > before
    if chained or twins.countless:
        many = f"{largest:,} of {len(images):,} images"
        if twins.countless:
            many = f"{many} or more, by {len(twins.near):,} pairs or more,"
        raise UsageError(
            f"--keep-together near: near-duplicates would chain {many} into one that cannot be split, "
            f"expected a tenth at most: photos of a fixed pose all look alike; say which belong together "
            f"with --group-by or a group column, and take --keep-together equal"
        )
    return joined


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Which images are twins, and what stands on both sides of a split.

    Args:
        images: how many there are.
        equal_images: how many have an equal image beside them.
        equal_sets: in how many sets.
        equal: the names of the first sets.
        contradictory_images: how many are in sets of equal pixels under two labels or more.
        contradictory_sets: how many such sets there are.
        contradictory: of the first of them, each image's name and class.
        near_images: how many look nearly the same as another that is not equal.
        near_pairs: how many such pairs of looks there are.
        countless: whether there are more pairs than that.
        near: the first pairs, a name for each.
        tested: test images.
        equal_across: how many of them have an equal image that trains or is chosen by.
        near_across: how many of the others have a near one.
        groups_across: groups that stand on both sides.
        grouped_across: how many test images are of these.
        chosen_across: validation images, where they are not the test part, with an equal one that trains.
    """

    images: int
    equal_images: int
    equal_sets: int
    equal: tuple[tuple[str, ...], ...]
    contradictory_images: int
    contradictory_sets: int
    contradictory: tuple[tuple[tuple[str, str], ...], ...]
    near_images: int
    near_pairs: int
    countless: bool
    near: tuple[tuple[str, str], ...]
    tested: int
    equal_across: int
    near_across: int
    groups_across: int
    grouped_across: int
    chosen_across: int

    @property
    def strict(self) -> bool:
        """Whether nothing contradicts itself and nothing that must not stands on both sides."""
        return not (self.contradictory_sets or self.equal_across or self.groups_across or self.chosen_across)

    def plain(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        return dataclasses.asdict(self)

    def warnings(self) -> tuple[str, ...]:
        """Return a line for each thing that flatters the scores or spoils the labels."""
        lines = []
        if self.contradictory_sets:
            some = _listed(
                [[f"{shown(name)} ({shown(label)})" for name, label in one] for one in self.contradictory]
            )
            lines.append(
                f"contradictory labels: {_count(self.contradictory_sets, 'set')} of equal images under "
                f"several classes: {some}; correct the labels, or take these images out"
            )
        return (*lines, *_leaks(self))

    def notes(self) -> tuple[str, ...]:
        """Return a line for each thing that is good to know."""
        lines = []
        if self.equal_sets:
            some = _listed([[shown(name) for name in one] for one in self.equal])
            lines.append(
                f"equal pixels: {self.equal_images:,} images in {_count(self.equal_sets, 'set')}: {some}"
            )
        if self.near_pairs:
            least = "more than " if self.countless else ""
            some = _listed([[shown(name) for name in one] for one in self.near], " ~ ")
            lines.append(
                f"near-duplicates: {self.near_images:,} images look nearly the same as another, in {least}"
                f"{_count(self.near_pairs, 'pair')}: {some}"
            )
        return tuple(lines)


def findings(images: LabeledImages, twins: Twins, split: Split) -> Findings:
    """Say which images are twins, and which of them, and of groups, stand on both sides of a split.

    Near are images of one look or of near looks; a test image that has an equal one across is not counted
    again among the near.
    """
    equal, labels, test = twins.equal, images.labels, split.test
    sizes = np.bincount(equal)
    several = np.flatnonzero(sizes > 1)
    lowest = np.full(len(sizes), len(images.class_names))
    np.minimum.at(lowest, equal, labels)
    against = np.unique(equal[labels != lowest[equal]])
    near, in_pairs = _near_pairs(twins)
    chosen = split.validation[: 0 if split.validation_is_test else None]
    rest = np.concatenate((split.train, chosen))
    equal_across = np.isin(equal[test], equal[rest])
    torn = test[:0]
    if images.groups is not None:
        torn = images.groups[test][np.isin(images.groups[test], images.groups[rest])]
    return Findings(
        images=len(images),
        equal_images=int(sizes[several].sum()),
        equal_sets=len(several),
        equal=tuple(tuple(images.names[i] for i in rows) for rows in _sets(equal, several)),
        contradictory_images=int(sizes[against].sum()),
        contradictory_sets=len(against),
        contradictory=tuple(
            tuple((images.names[i], images.class_names[labels[i]]) for i in rows)
            for rows in _sets(equal, against)
        ),
        near_images=int(in_pairs[twins.look].sum()),
        near_pairs=len(near),
        countless=twins.countless,
        near=tuple((images.names[one], images.names[other]) for one, other in near[:LISTED].tolist()),
        tested=len(test),
        equal_across=int(equal_across.sum()),
        near_across=int((_reached(twins, rest)[test] & ~equal_across).sum()),
        groups_across=len(np.unique(torn)),
        grouped_across=len(torn),
        chosen_across=int(np.isin(equal[chosen], equal[split.train]).sum()),
    )


def _leaks(found: Findings) -> list[str]:
    """Return a line for each thing that stands on both sides."""
    lines = []
    if found.groups_across:
        lines.append(
            f"leak: {_count(found.groups_across, 'group')} on both sides of the split, with "
            f"{found.grouped_across:,} of {found.tested:,} test images: the scores will flatter; leave the "
            f"source's own parts out and a split by group is drawn"
        )
    if found.equal_across:
        lines.append(
            f"leak: {found.equal_across:,} of {found.tested:,} test images are equal to one that trains "
            f"or is chosen by: the scores will flatter; take them out of one of the parts"
        )
    if found.chosen_across:
        lines.append(
            f"leak: {_count(found.chosen_across, 'validation image')} equal to one that trains: choices "
            f"lean on what was learnt by heart; take them out of one of the parts"
        )
    if found.near_across:
        lines.append(
            f"{found.near_across:,} of {found.tested:,} test images look nearly the same as one that "
            f"trains or is chosen by: if they are photos of one part, the scores will flatter; say so with "
            f"--group-by or a group column, or take --keep-together near"
        )
    return lines


def _joined(images: LabeledImages, twins: Twins, *, near: bool) -> Int64[np.ndarray, " n"]:
    """Number the connected parts: each image is joined to its pixels, group and, if asked for, look."""
    n = len(images)
    if n == 0:
        return np.empty(0, np.int64)
    joints = [twins.equal] if images.groups is None else [twins.equal, _from_zero(images.groups)]
    if near:
        joints.append(twins.look)
    one, other, size = [], [], n
    for numbers in joints:
        one.append(np.arange(n))
        other.append(size + numbers)
        size += int(numbers.max()) + 1
    if near:  # the looks are the last joints
        first = size - int(twins.look.max()) - 1
        one.append(first + twins.near[:, 0])
        other.append(first + twins.near[:, 1])
    ends = np.concatenate(one), np.concatenate(other)
    edges = coo_array((np.ones(len(ends[0]), np.bool_), ends), shape=(size, size))
    return _from_zero(connected_components(edges, directed=False)[1][:n])


def _from_zero(numbers: NDArray[np.integer[Any]]) -> Int64[np.ndarray, " n"]:
    """Number anew, from 0 in order of appearance."""
    _, first, compact = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[compact]


def _near_pairs(twins: Twins) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return a pair of images for each two near looks and for each two different images of one look.

    Returns:
        Rows of images, (m, 2), and which looks are in a pair.
    """
    _, first_of_look = np.unique(twins.look, return_index=True)
    _, first = np.unique(twins.equal, return_index=True)
    alike = first[np.isin(first, first_of_look, invert=True)]  # another image had this look before
    pairs = np.concatenate(
        (
            np.stack((first_of_look[twins.look[alike]], alike), axis=1),
            first_of_look[twins.near],
        )
    )
    in_pairs = np.zeros(len(first_of_look), np.bool_)
    in_pairs[twins.look[pairs]] = True
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))], in_pairs


def _reached(twins: Twins, rows: NDArray[np.int64]) -> Bool[np.ndarray, " n"]:
    """Say of each image whether one of these rows has its look or a near one."""
    there = np.zeros(int(twins.look.max(initial=-1)) + 1, np.bool_)
    there[twins.look[rows]] = True
    near = there.copy()
    near[twins.near[there[twins.near[:, 0]], 1]] = True
    near[twins.near[there[twins.near[:, 1]], 0]] = True
    return near[twins.look]


def _sets(equal: NDArray[np.int64], which: NDArray[np.int64]) -> list[list[int]]:
    """Return the rows of the first of these sets, in order of appearance."""
    order = np.argsort(equal, kind="stable")
    ordered = equal[order]
    starts, ends = (np.searchsorted(ordered, which[:LISTED], side) for side in ("left", "right"))
    return [order[start:end][:LISTED].tolist() for start, end in zip(starts, ends, strict=True)]


def _listed(sets: Sequence[Sequence[str]], sign: str = " = ") -> str:
    """Return the first sets, a few names of each: a = b; c = d = e."""
    some = "; ".join(
        sign.join([*names[:NAMES], *([f"{len(names) - NAMES} more"] if len(names) > NAMES else [])])
        for names in sets[:EXAMPLES]
    )
    return some if len(sets) <= EXAMPLES else f"{some}; …"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
