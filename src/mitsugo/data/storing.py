"""Where decoded rows go as they come: into memory, into the cache, or nowhere."""

import contextlib
import hashlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ResourceError, shown
from ..values import Framing, Pixels
from .cache import Cache, Contents, Draft, Entry, discarded, drafted, entry_of, pixels_of
from .decoding import Look
from .listing import FileSet

__all__ = ["NAMED", "Store", "Taken", "Tally", "Tell", "Warn", "Work", "opened"]

IN_MEMORY: Final = 256 << 20
"""Bytes of pixels that are held in memory."""
NAMED: Final = 5

Tell = Callable[[int, int], object]
Warn = Callable[[str], object]


class Taken(NamedTuple):
    """Pixels, what was found in their files, and where they are."""

    pixels: Pixels
    contents: Contents
    stored: Literal["memory", "cache", "files"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """What a set of files is worked on with; `statuses` are size, time, inode and time of change of each."""

    files: FileSet
    statuses: NDArray[np.int64]
    cache: Cache | None
    stop: bool
    tell: Tell
    warn: Warn

    @property
    def each(self) -> float:
        """Bytes of a file, the mean."""
        return float(self.statuses[:, 0].mean())


def opened(work: Work, entry: Entry | None) -> Taken | None:
    """Return what an entry of the cache holds; a damaged one is told of and removed."""
    if entry is None or entry.contents.files != len(work.files):
        return None
    mapped = size_of(entry.contents.framing, len(work.files)) > IN_MEMORY
    pixels = pixels_of(entry, mapped=mapped)
    if pixels is None:
        work.warn(f"{shown(entry.folder)}: is damaged; the photos are decoded again")
        assert work.cache is not None
        with contextlib.suppress(
            ResourceError
        ):  # the folder that could not be cleaned is told of when written
            discarded(work.cache, entry)
        return None
    return Taken(pixels, entry.contents, "cache" if mapped else "memory")


def size_of(framing: Framing, images: int) -> int:
    """Return how many bytes the pixels of so many images take."""
    return images * framing.channels * framing.height * framing.width


@dataclass(eq=False)
class Tally:
    """What was found in the files so far."""

    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    shrunk: "array[float]" = field(default_factory=lambda: array("f"))
    left_out: list[tuple[int, str]] = field(default_factory=list)
    constant: list[int] = field(default_factory=list)
    constants: int = 0

    def see(self, place: int, look: Look) -> None:
        """Take a file in, in the files' order."""
        self.digest.update(look.digest)
        if look.framed is None:
            self.left_out.append((place, look.reason))
            return
        if look.framed.constant:
            self.constants += 1
            if len(self.constant) < NAMED:
                self.constant.append(len(self.shrunk))
        self.shrunk.append(look.framed.shrunk)

    def contents(self, framing: Framing, source_bytes: int) -> Contents:
        """Return what was found in all of them."""
        return Contents(
            framing=framing,
            files=len(self.shrunk) + len(self.left_out),
            source_bytes=source_bytes,
            images=len(self.shrunk),
            left_out=tuple(self.left_out),
            shrunk=float(np.median(self.shrunk)) if self.shrunk else 1.0,
            constant=tuple(self.constant),
            constants=self.constants,
        )


class Store:
    """Where rows go as they come: into memory, into a draft of the cache, or nowhere."""

    def __init__(self, work: Work, framing: Framing) -> None:
        self._work = work
        self._stack = contextlib.ExitStack()
        self._rows: NDArray[np.uint8] | None = None
        self._draft: Draft | None = None
        self._images = 0
        size = size_of(framing, len(work.files))
        if size <= IN_MEMORY:
            self._rows = np.empty(
                (len(work.files), framing.channels, framing.height, framing.width), np.uint8
            )
        elif work.cache is None:
            work.warn(
                f"{size / 1e9:.1f} GB of pixels and no cache to keep them in: "
                f"photos are decoded at each use, which is slow"
            )
        else:
            with self._or_without():
                self._draft = self._stack.enter_context(drafted(work.cache, size))

    def close(self) -> None:
        """Remove what was not finished."""
        self._stack.close()

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """Take one row."""
        if self._rows is not None:
            self._rows[self._images] = pixels
        elif self._draft is not None:
            with self._or_without():
                self._draft.add(pixels)
        self._images += 1

    def finish(self, key: str, contents: Contents) -> Taken | None:
        """Return the images; None where they stay in their files."""
        cache = self._work.cache
        if self._rows is not None:
            rows = self._rows[: self._images]
            if cache is not None and self._images:
                try:
                    with drafted(cache, rows.nbytes) as draft:
                        draft.add(rows)
                        draft.finish(key, contents)
                except ResourceError as error:
                    self._work.warn(f"{error}; the photos are decoded again next time")
            return Taken(rows, contents, "memory")
        if self._draft is None or cache is None or not self._images:
            return None
        with self._or_without():
            self._draft.finish(key, contents)
            return opened(self._work, entry_of(cache, key))
        return None

    @contextlib.contextmanager
    def _or_without(self) -> Iterator[None]:
        try:
            yield
        except ResourceError as error:
            self._work.warn(f"{error}; until then photos are decoded at each use, which is slow")
            self._draft = None
            self._stack.close()
