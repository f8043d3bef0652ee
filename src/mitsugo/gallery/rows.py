"""What a gallery holds: images, and the batches that changed it."""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError, shown
from ..values import Embeddings, Taught

__all__ = ["Batch", "Feedback", "Row", "check_feedback", "check_rows", "taught_of"]

LONGEST_NAME: Final = 4096
LARGEST_THUMBNAIL: Final = 1 << 20
SUM: Final = 16


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


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """What a person said of a verdict.

    Args:
        number: from 1; 0 before it is kept.
        name: of the image.
        digest: 16 bytes, the hash of its pixels.
        said: what the model called it.
        label: what the person calls it.
        right: whether the person agreed.
        batch: which batch taught the image; None where it was not taught.
        who: who said so.
        at: when, UTC, ISO 8601; empty before it is kept.
        note: why.
    """

    number: int = 0
    name: str
    digest: bytes
    said: str
    label: str
    right: bool
    batch: int | None = None
    who: str = ""
    at: str = ""
    note: str = ""


def check_feedback(feedback: Feedback) -> None:
    """Refuse what a gallery does not keep.

    Raises:
        StoreError: a text that is empty, too long or holds a zero, a digest of another size.
    """
    for what, text in (("name", feedback.name), ("verdict", feedback.said), ("class", feedback.label)):
        _check_text(what, text)
    if len(feedback.digest) != SUM:
        raise StoreError(f"{shown(feedback.name)}: has a digest of another size than expected")


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
            _check_text(what, text)
    if len({(row.digest, row.class_name) for row in rows}) < len(rows):
        raise StoreError("an image stands twice in one batch and class; leave one out")


def _check_text(what: str, text: str) -> None:
    if not text or "\0" in text or len(os.fsencode(text)) > LONGEST_NAME:
        raise StoreError(
            f"a {what} of {len(text)} characters: expected 1 to {LONGEST_NAME} bytes and no zero among them"
        )


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
