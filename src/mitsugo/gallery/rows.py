"""What a gallery holds: images, and the batches that changed it."""

import os
import sqlite3
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from types import UnionType
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError, shown
from ..values import Embeddings, Taught

__all__ = ["SUM", "Batch", "DamagedError", "Row", "check_rows", "encoded", "fitting", "taught_of"]

LONGEST_NAME: Final = 4096
LARGEST_THUMBNAIL: Final = 1 << 20
SUM: Final = 16
"""So many bytes have hashes and sums."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """An image to be taught.

    Args:
        class_name: its class.
        name: what a person calls it.
        source: where it came from.
        digest: 16 bytes, the hash of its pixels.
        vector: float32 (d,).
        statistics: float32 (p,).
        thumbnail: a small PNG.
    """

    class_name: str
    name: str
    source: str
    digest: bytes
    vector: NDArray[np.float32]
    statistics: NDArray[np.float32]
    thumbnail: bytes

    def sum(self) -> bytes:
        """Return a hash of all that the row says."""
        parts = [*map(os.fsencode, (self.class_name, self.name, self.source)), self.digest]
        parts += [
            self.vector.astype("<f4").tobytes(),
            self.statistics.astype("<f4").tobytes(),
            self.thumbnail,
        ]
        digest = blake2b(digest_size=SUM)
        for part in parts:
            digest.update(struct.pack("<Q", len(part)))
            digest.update(part)
        return digest.digest()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A change, in the order of `number`.

    Args:
        number: from 1.
        kind: "add", "remove" or "undo".
        undoes: the batch that an undo takes back; it is None for the others.
        undone: the batch that took it back; None where it stands.
        who: who did it.
        at: when, UTC, ISO 8601.
        note: why.
        images: how many images it added, removed, or brought back or took away again.
        classes: of these images, ascending.
    """

    number: int
    kind: Literal["add", "remove", "undo"]
    undoes: int | None
    undone: int | None
    who: str
    at: str
    note: str
    images: int
    classes: tuple[str, ...]


def check_rows(rows: Sequence[Row], dimension: int, statistics: int) -> None:
    """Refuse images that a gallery does not take.

    Raises:
        StoreError: no image, numbers of another shape or not finite, a text that is empty, too long or
            holds a zero, an image that stands twice in one class.
    """
    if not rows:
        raise StoreError("there is no image to teach; name some")
    for row in rows:
        who = shown(row.name)
        shapes = (row.vector.shape, row.statistics.shape)
        if shapes != ((dimension,), (statistics,)):
            raise StoreError(
                f"{who}: has numbers of shapes {shapes}, expected {((dimension,), (statistics,))}"
            )
        if not (np.isfinite(row.vector).all() and np.isfinite(row.statistics).all()):
            raise StoreError(f"{who}: its embedding is not finite")
        if len(row.digest) != SUM or len(row.thumbnail) > LARGEST_THUMBNAIL:
            raise StoreError(f"{who}: has a digest or a thumbnail of another size than expected")
        for what, text in (("class", row.class_name), ("name", row.name), ("source", row.source)):
            encoded(what, text)
    if len({(row.digest, row.class_name) for row in rows}) < len(rows):
        raise StoreError("an image stands twice in one batch and class; leave one out")


def encoded(what: str, text: str, *, least: int = 1) -> bytes:
    """Return a text as the bytes that a system would name a file by.

    Args:
        what: it is, in one word.
        text: to be kept.
        least: so many characters it has, 1 or 0.

    Raises:
        StoreError: it is too short or too long, holds a zero, or half a character.
    """
    try:
        content = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise StoreError(f"a {what} holds half a character, {text[error.start]!a}; write it whole") from error
    if len(text) < least or b"\0" in content or len(content) > LONGEST_NAME:
        raise StoreError(
            f"a {what} of {len(text)} characters: expected {least} to {LONGEST_NAME} bytes and no zero among "
            f"them"
        )
    return content


class DamagedError(sqlite3.DatabaseError):
    """What a table cannot hold was read from it; SQLite itself would say so of a page that makes no sense."""

    sqlite_errorname = "SQLITE_CORRUPT"


def fitting(record: tuple[Any, ...], *kinds: type | UnionType) -> tuple[Any, ...]:
    """Return a record whose columns are of these types.

    A page that was exchanged with another table's is read as if it were this one's: SQLite does not look.

    Raises:
        DamagedError: a column is of another type.
    """
    if not all(isinstance(value, kind) for value, kind in zip(record, kinds, strict=True)):
        raise DamagedError("a record is none of its table")
    return record


def taught_of(rows: Sequence[Row], ng: Sequence[str], fingerprint: str) -> Taught | None:
    """Return images as what is taught to the model of this fingerprint; None where there are none.

    Args:
        rows: in the order in which they were added.
        ng: names of the classes that are NG.
        fingerprint: the model's.
    """
    if not rows:
        return None
    names = tuple(dict.fromkeys(row.class_name for row in rows))
    state = sha256()
    for row in rows:
        state.update(row.sum())
    for name in sorted(set(ng) & set(names)):
        state.update(os.fsencode(name) + b"\0")
    return Taught(
        embeddings=Embeddings(
            vectors=np.stack([row.vector for row in rows]),
            labels=np.array([names.index(row.class_name) for row in rows], np.int64),
            class_names=names,
            names=tuple(row.name for row in rows),
            fingerprint=fingerprint,
        ),
        statistics=np.stack([row.statistics for row in rows]),
        digests=np.stack([np.frombuffer(row.digest, "<u8").astype(np.uint64) for row in rows]),
        ng=tuple(name for name in names if name in ng),
        state=state.hexdigest(),
    )
