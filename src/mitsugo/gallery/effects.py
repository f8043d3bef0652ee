"""What batches did to images: whether each stands, and how a batch is taken back."""

import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import StoreError, shown
from .rows import Batch, fitting

__all__ = ["affect", "batch_of", "check_last", "numbers", "to_undo", "undone"]


def affect(cursor: sqlite3.Cursor, batch: int, images: Sequence[int], *, stands: bool) -> None:
    """Let images stand or not, and note that this batch did it."""
    value = int(stands)
    cursor.executemany("UPDATE images SET stands = ? WHERE number = ?", [(value, image) for image in images])
    cursor.executemany("INSERT INTO effects VALUES (?, ?, ?)", [(batch, image, value) for image in images])


def undone(cursor: sqlite3.Cursor) -> dict[int, int]:
    """Return the batches that do not stand, and which batch took each back."""
    found: dict[int, int] = {}
    query = "SELECT number, undoes FROM batches WHERE undoes IS NOT NULL ORDER BY number DESC"
    for record in cursor.execute(query):
        number, undoes = fitting(record, int, int)
        if number not in found:  # what was itself taken back took nothing back
            found.setdefault(undoes, number)
    return found


def to_undo(cursor: sqlite3.Cursor, path: Path, batch: int | None) -> int:
    """Return the batch to take back: this one, or the last that stands.

    Raises:
        StoreError: there is none.
    """
    if batch is None:
        gone = undone(cursor)
        standing = [
            number
            for number in numbers(cursor, "SELECT number FROM batches WHERE kind != 'undo'")
            if number not in gone
        ]
        if not standing:
            raise StoreError(f"{shown(path)}: nothing stands that could be undone")
        return max(standing)
    kind = cursor.execute("SELECT kind FROM batches WHERE number = ?", (batch,)).fetchone()
    if kind is None:
        raise StoreError(f"{shown(path)}: has no batch {batch}; see mitsugo gallery log")
    return batch


def check_last(cursor: sqlite3.Cursor, path: Path, target: int) -> None:
    """Refuse to take back what does not stand, or what a later batch that stands built on.

    Raises:
        StoreError: it is refused.
    """
    gone = undone(cursor)
    who = f"{shown(path)}: batch {target} cannot be undone"
    if target in gone:
        raise StoreError(f"{who}: batch {gone[target]} did so already; undo that to have it again")
    query = (
        "SELECT DISTINCT batch FROM effects JOIN batches ON batches.number = batch "
        "WHERE batch > ?1 AND kind != 'undo' "
        "AND image IN (SELECT image FROM effects WHERE batch = ?1) ORDER BY batch"
    )
    for later in numbers(cursor, query, target):
        if later not in gone:
            raise StoreError(f"{who}, as batch {later} changed its images since; undo that first")


def batch_of(cursor: sqlite3.Cursor, record: tuple[Any, ...], gone: Mapping[int, int]) -> Batch:
    """Return a batch by its record and those that were taken back."""
    number, kind, undoes, who, at, note = fitting(record, int, str, int | None, bytes, str, bytes)
    counted = cursor.execute(
        "SELECT class, count(*) FROM effects JOIN images ON images.number = effects.image "
        "WHERE batch = ? GROUP BY class",
        (number,),
    )
    found = [fitting(one, bytes, int) for one in counted]
    return Batch(
        number=number,
        kind=kind,
        undoes=undoes,
        undone=gone.get(number),
        who=os.fsdecode(who),
        at=at,
        note=os.fsdecode(note),
        images=sum(count for _, count in found),
        classes=tuple(sorted(os.fsdecode(name) for name, _ in found)),
    )


def numbers(cursor: sqlite3.Cursor, query: str, *values: object) -> list[int]:
    """Return the one column that a query of numbers answers."""
    return [number for record in cursor.execute(query, values) for number in fitting(record, int)]
