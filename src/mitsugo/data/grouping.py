"""Which photos belong together: groups by a pattern in the name, and names that look like series of one part.

Photos of one part on both sides of a split tell the test part's answers beforehand.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError, shown
from ..shapes import Int64, Labels
from .classes import numbered

__all__ = ["Series", "grouped", "likely_series"]

FEWEST_SERIES: Final = 5
LEAST_SHARE: Final = 0.5
"""Of the photos that must lie in series; and of the series that must begin with the same number."""
LEAST_COVER: Final = 0.2
"""Of all (series, shot) pairs, so much must be there: parts are shot alike, unlike the seconds of a clock."""
LARGEST_FOLDER: Final = 100
"""Photos in the median folder of a series; a folder of more is a part of an archive rather than a part."""

FALLBACK: Final = "|[^/]+$"
"""What puts a name that is no member of a series into a group of its own."""
COUNTED: Final = r"[-_. (](\d{1,4})[^\d/]*$"
WORDED: Final = r"\d)[-_. (]?([^\W\d_]+)\)?\.[^./]+$"
PATTERNS: Final = (
    (rf"([^/]+){COUNTED}", rf"(.+){COUNTED}"),
    (rf"([^/]*{WORDED}", rf"(.*{WORDED}"),
    (r"([^/]+)/[^/]+$", r"(.+)/[^/]+$"),
)
"""part017_01.jpg, SN-1234-a.png, part017/any.jpg: each by the name alone, and with the folders above it."""

DATE: Final = re.compile(
    r"(?<!\d)(?:19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d(?:[-_.T ]?[0-2]\d[-_.h]?[0-5]\d)?(?![-_.]?\d)"
)
"""A day, or a day and a minute: photos of one day are not of one part."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Names that look like several photos of each of many parts.

    Args:
        pattern: the regular expression that groups them, as --group-by takes it.
        groups: how many parts have two photos or more.
        photos: how many photos those are.
        example: two names of one part.
    """

    pattern: str
    groups: int
    photos: int
    example: tuple[str, str]


def grouped(names: Sequence[str], pattern: str) -> tuple[Int64[np.ndarray, " n"], tuple[str, ...]]:
    r"""Return the group of each photo, and the groups' names in natural order.

    A group is named by what the pattern's first group matches where the pattern is found first, or by the
    whole match where the pattern has no groups or its first one takes no part.

    Args:
        names: of n photos.
        pattern: a regular expression, searched in each.

    Raises:
        UsageError: it is no regular expression, or there are names in which it finds nothing; how many, and
            the first, are named.

    >>> numbers, groups = grouped(["ok/part9_1.jpg", "ng/part10_1.jpg", "ok/part9_2.jpg"], r"part\d+")
    >>> numbers.tolist(), groups
    ([0, 1, 0], ('part9', 'part10'))
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--group-by {shown(pattern)}: is no regular expression: {error}") from error
    keys = [_key(expression.search(name)) for name in names]
    if "" in keys:
        raise UsageError(
            f"--group-by {shown(pattern)}: finds nothing in {keys.count(''):,} of {len(keys):,} names, "
            f"first in {shown(names[keys.index('')])}; write a pattern that names the group of every photo"
        )
    return numbered(keys)


def likely_series(names: Sequence[str], labels: Labels) -> Series | None:
    r"""Tell whether the names look like series: several photos of each of many parts.

    Looked for are a part and a number (part017_01.jpg), a part and a letter or word (SN-1234-a.png,
    0017_top.jpg), and a folder a part (part017/….jpg). It is careful: a series needs a number in the part's
    name that is not a date alone, two photos or more that differ in their number or word, and siblings: at
    least five series, two a class, that hold half of all photos, whose numbers begin alike and come again
    from series to series. So a plain counter (IMG_0001.jpg) is none, nor are the times of a clock, nor parts
    that are the classes themselves. A part's photos are looked for across the classes, unless most file names
    occur in several of them, so that each class counts anew.

    Not seen are parts whose number stands behind the shot's (cam1_017.jpg) or in the middle of the name.

    Args:
        names: of n photos, as `grouped` takes them.
        labels: int64 (n,).

    Returns:
        The pattern that puts most photos into series, or None. `grouped` takes it for all of the names.

    >>> names = [f"ok/part{part:03d}_{shot}.jpg" for part in range(9) for shot in (1, 2)]
    >>> likely_series(names, np.arange(18) // 2 % 2).pattern
    '([^/]+)[-_. (](\\d{1,4})[^\\d/]*$'
    """
    anew = _each_class_counts_anew(names, labels)
    found = [_series(names, labels, alone if not anew else above) for alone, above in PATTERNS]
    return max(filter(None, found), key=lambda series: series.photos, default=None)


def _key(match: re.Match[str] | None) -> str:
    if match is None:
        return ""
    return (match[1] if match.re.groups else None) or match[0]


def _each_class_counts_anew(names: Iterable[str], labels: Labels) -> bool:
    """Say whether most file names occur in several classes."""
    first: dict[str, int] = {}
    several: set[str] = set()
    for name, label in zip(names, labels.tolist(), strict=True):
        file = name.rpartition("/")[2]
        if first.setdefault(file, label) != label:
            several.add(file)
    return len(several) > LEAST_SHARE * len(first)


@dataclass
class _Candidate:
    """What shares a key: the first one's label, the different shots, two names, and how many photos."""

    label: int
    shots: set[str] = field(default_factory=set)
    example: list[str] = field(default_factory=list)
    photos: int = 0


def _series(names: Sequence[str], labels: Labels, pattern: str) -> Series | None:
    """Return the series that one pattern finds, where they look like series."""
    candidates, strays = _candidates(names, labels, pattern)
    series = [
        found
        for key, found in candidates.items()
        if len(found.shots) > 1 and re.search(r"\d", DATE.sub("", key.rpartition("/")[2]))
    ]
    photos = sum(found.photos for found in series)
    classes = len({found.label for found in series})
    if len(series) < max(FEWEST_SERIES, 2 * classes) or photos < LEAST_SHARE * len(names):
        return None
    by_folder = re.compile(pattern).groups == 1
    if not (_folders_are_small(series) if by_folder else _shots_come_again(series)):
        return None
    one, other = series[0].example
    return Series(
        pattern=pattern + (FALLBACK if strays else ""),
        groups=len(series),
        photos=photos,
        example=(one, other),
    )


def _candidates(
    names: Sequence[str], labels: NDArray[np.int64], pattern: str
) -> tuple[dict[str, _Candidate], bool]:
    """Return what the keys of a pattern hold, and whether there are names that it is not found in."""
    expression = re.compile(pattern)
    candidates: dict[str, _Candidate] = {}
    strays = False
    for name, label in zip(names, labels.tolist(), strict=True):
        match = expression.search(name)
        if match is None:
            strays = True
            continue
        candidate = candidates.setdefault(match[1], _Candidate(label))
        candidate.photos += 1
        shot = match[2].casefold() if expression.groups > 1 else name[match.end(1) :]
        if shot not in candidate.shots:
            candidate.shots.add(shot)
            if len(candidate.example) < 2:
                candidate.example.append(name)
    return candidates, strays


def _folders_are_small(series: Sequence[_Candidate]) -> bool:
    return float(np.median([found.photos for found in series])) <= LARGEST_FOLDER


def _shots_come_again(series: Sequence[_Candidate]) -> bool:
    """Say whether the series were shot alike: the same shots in each, numbers from the same first one."""
    different = set().union(*(found.shots for found in series))
    if sum(len(found.shots) for found in series) < LEAST_COVER * len(series) * len(different):
        return False
    if not all(shot.isdecimal() for shot in different):
        return True
    firsts = [min(int(shot) for shot in found.shots) for found in series]
    return max(firsts.count(first) for first in set(firsts)) >= LEAST_SHARE * len(firsts)
