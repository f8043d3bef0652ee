"""What people said of verdicts: kept beside what is taught, never changed."""

import os
import sqlite3
from dataclasses import dataclass, replace
from typing import Any, Final

from ..errors import StoreError, shown
from .rows import SUM, encoded, fitting

__all__ = ["Feedback", "check_feedback", "keep", "kept_for", "last_kept"]

COLUMNS: Final = {
    "number": int,
    "name": bytes,
    "digest": bytes,
    "said": bytes,
    "label": bytes,
    "right": int,
    "batch": int | None,
    "who": bytes,
    "at": str,
    "note": bytes,
}
KEPT: Final = f"SELECT {', '.join(COLUMNS)} FROM feedback"  # noqa: S608 - of our own words alone


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
        encoded(what, text)
    if len(feedback.digest) != SUM:
        raise StoreError(f"{shown(feedback.name)}: has a digest of another size than expected")


def keep(cursor: sqlite3.Cursor, feedback: Feedback, request: str | None) -> Feedback:
    """Keep it, in the transaction that is under way; return it with its number."""
    cursor.execute(
        "INSERT INTO feedback (who, at, note, name, digest, said, label, right, batch, request) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            encoded("name of who does it", feedback.who, least=0),
            feedback.at,
            encoded("note", feedback.note, least=0),
            os.fsencode(feedback.name),
            feedback.digest,
            *map(os.fsencode, (feedback.said, feedback.label)),
            int(feedback.right),
            feedback.batch,
            request,
        ),
    )
    assert cursor.lastrowid is not None
    return replace(feedback, number=cursor.lastrowid)


def kept_for(cursor: sqlite3.Cursor, request: str | None) -> Feedback | None:
    """Return what was kept for a request; None where nothing was."""
    found = cursor.execute(f"{KEPT} WHERE request = ? ORDER BY number", (request,)).fetchone()
    return None if found is None else _told(found)


def last_kept(cursor: sqlite3.Cursor, most: int) -> tuple[Feedback, ...]:
    """Return what was kept last, the newest first; so many at most."""
    found = cursor.execute(f"{KEPT} ORDER BY number DESC LIMIT ?", (most,)).fetchall()
    return tuple(map(_told, found))


def _told(record: tuple[Any, ...]) -> Feedback:
    number, name, digest, said, label, right, batch, who, at, note = fitting(record, *COLUMNS.values())
    return Feedback(
        number=number,
        name=os.fsdecode(name),
        digest=digest,
        said=os.fsdecode(said),
        label=os.fsdecode(label),
        right=bool(right),
        batch=batch,
        who=os.fsdecode(who),
        at=at,
        note=os.fsdecode(note),
    )
