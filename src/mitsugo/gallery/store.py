"""The gallery that is taught: rows in one SQLite file, and nothing that is acknowledged is ever lost.

Every change is one transaction that is on the disk before it is acknowledged (write-ahead log, synchronous
FULL). A row is never changed but for whether it stands, and what each batch did to it is kept, so that every
batch can be undone. Each carries a sum over all that it says: a page that went bad is told, never believed.
"""

import contextlib
import getpass
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import StoreError, UsageError, shown
from ..values import Taught
from .effects import affect, batch_of, check_last, numbers, to_undo, undone
from .feedback import Feedback, check_feedback, keep, kept_for, last_kept
from .opening import RESTORE, connected, told
from .rows import Batch, DamagedError, Row, check_rows, encoded, fitting, taught_of

__all__ = ["Store", "opened"]

MOST_ROWS: Final = 1_000_000


class Store:
    """An open gallery; closed by `with`. All errors are StoreErrors of one line that name the file."""

    def __init__(self, path: Path, connection: sqlite3.Connection, dimension: int, statistics: int) -> None:
        self.path = path
        self._connection = connection
        self._dimension = dimension
        self._statistics = statistics

    def __enter__(self) -> "Store":  # noqa: PYI034 - the annotations are checked under the tests
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def add(
        self,
        rows: Sequence[Row],
        *,
        ng: Mapping[str, bool],
        who: str | None = None,
        note: str = "",
        request: str | None = None,
    ) -> int:
        """Add images as one batch, all or none; return its number.

        Args:
            rows: the images.
            ng: of each class that is new to the gallery whether it is NG.
            who: who teaches; None takes the user's name.
            note: why.
            request: what names the request: the same one again adds nothing and returns the same number.

        Raises:
            StoreError: a row that cannot be taken, an image that its class holds already, a full disk.
        """
        check_rows(rows, self._dimension, self._statistics)
        with self._changing() as cursor:
            if (before := self._answered(cursor, request)) is not None:
                return before
            return self._add(cursor, rows, ng, who, note, request)

    def tell(
        self,
        feedback: Feedback,
        rows: Sequence[Row] = (),
        *,
        ng: Mapping[str, bool] | None = None,
        request: str | None = None,
    ) -> Feedback:
        """Keep what a person said of a verdict, and teach the images with it: both or neither.

        Args:
            feedback: what was said.
            rows: images to teach; none teaches nothing.
            ng: as for `add`.
            request: what names the request: the same one again keeps nothing and returns what was kept.

        Raises:
            StoreError: as for `add`, or a text that is empty or too long.
        """
        check_feedback(feedback)
        if request is not None:
            _check_request(request)
        if rows:
            check_rows(rows, self._dimension, self._statistics)
        with self._changing() as cursor:
            if (before := kept_for(cursor, request)) is not None:
                return before
            who = _user() if not feedback.who else feedback.who
            batch = self._add(cursor, rows, ng or {}, who, feedback.note, None) if rows else None
            return keep(cursor, replace(feedback, who=who, at=_now(), batch=batch), request)

    def feedback(self, most: int) -> tuple[Feedback, ...]:
        """Return what was said last, the newest first; so many at most."""
        with self._reading() as cursor:
            return last_kept(cursor, most)

    def version(self) -> int:
        """Return a number that changes where another connection changed the file; it costs little."""
        with self._reading() as cursor:
            (number,) = cursor.execute("PRAGMA data_version").fetchone()
        return int(number)

    def revision(self) -> int:
        """Return the number of the last batch; 0 before the first. Another revision, another gallery."""
        with self._reading() as cursor:
            (number,) = cursor.execute("SELECT coalesce(max(number), 0) FROM batches").fetchone()
        return int(number)

    def _add(
        self,
        cursor: sqlite3.Cursor,
        rows: Sequence[Row],
        ng: Mapping[str, bool],
        who: str | None,
        note: str,
        request: str | None,
    ) -> int:
        (held,) = cursor.execute("SELECT count(*) FROM images WHERE stands").fetchone()
        if held + len(rows) > MOST_ROWS:
            room = f"holds {held:,} images and takes {MOST_ROWS:,} at most"
            raise StoreError(f"{shown(self.path)}: {room}")
        number = self._begin(cursor, "add", None, who, note, request)
        for name in {row.class_name for row in rows}:
            cursor.execute(
                "INSERT INTO classes (name, ng) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
                (os.fsencode(name), int(ng.get(name, False))),
            )
        affect(cursor, number, [self._insert(cursor, row) for row in rows], stands=True)
        return number

    def remove(
        self,
        *,
        class_name: str | None = None,
        names: Sequence[str] = (),
        who: str | None = None,
        note: str = "",
        request: str | None = None,
    ) -> int:
        """Remove the images of a class, or those of these names, as one batch; return its number.

        Raises:
            StoreError: there is no such class or name.
        """
        if class_name is None and not names:
            raise UsageError("nothing to remove is named; name images, or a class by --label")
        with self._changing() as cursor:
            if (before := self._answered(cursor, request)) is not None:
                return before
            wanted = self._wanted(cursor, class_name, names)
            number = self._begin(cursor, "remove", None, who, note, request)
            affect(cursor, number, wanted, stands=False)
        return number

    def undo(self, *, batch: int | None = None, who: str | None = None, request: str | None = None) -> int:
        """Take a batch back: the last that stands, or this one; return the number of the batch that does so.

        Taking back an undo does again what it took back.

        Raises:
            StoreError: nothing stands that could be taken back, or the batch's images were changed since.
        """
        with self._changing() as cursor:
            if (before := self._answered(cursor, request)) is not None:
                return before
            target = to_undo(cursor, self.path, batch)
            effects = cursor.execute(
                "SELECT image, stands FROM effects WHERE batch = ?", (target,)
            ).fetchall()
            check_last(cursor, self.path, target)
            number = self._begin(cursor, "undo", target, who, "", request)
            for stood in (True, False):
                images = [image for image, stands in effects if bool(stands) == stood]
                try:
                    affect(cursor, number, images, stands=not stood)
                except sqlite3.IntegrityError as error:
                    raise StoreError(
                        f"{shown(self.path)}: batch {target} cannot be undone: some of its images were "
                        f"taught again since; undo the later batch first"
                    ) from error
        return number

    def log(self) -> tuple[Batch, ...]:
        """Return all batches, the first first."""
        with self._reading() as cursor:
            cursor.execute("BEGIN")
            gone = undone(cursor)
            rows = cursor.execute("SELECT number, kind, undoes, who, at, note FROM batches ORDER BY number")
            return tuple(batch_of(cursor, row, gone) for row in rows.fetchall())

    def rows(self) -> tuple[Row, ...]:
        """Return the images that stand, in the order in which they were added, each compared with its sum.

        Raises:
            StoreError: a row is damaged.
        """
        with self._reading() as cursor:
            cursor.execute("BEGIN")
            return self._standing(cursor)

    def taught(self, fingerprint: str) -> Taught | None:
        """Return what is taught as embeddings of the model of this fingerprint; None where nothing is."""
        with self._reading() as cursor:
            cursor.execute("BEGIN")
            rows = self._standing(cursor)
            found = cursor.execute("SELECT name FROM classes WHERE ng")
            ng = [os.fsdecode(name) for record in found for name in fitting(record, bytes)]
            cursor.execute("COMMIT")
        return taught_of(rows, ng, fingerprint)

    def ng(self) -> dict[str, bool]:
        """Return of each class whether it is NG."""
        with self._reading() as cursor:
            records = cursor.execute("SELECT name, ng FROM classes ORDER BY name").fetchall()
            found = [fitting(record, bytes, int) for record in records]
        return {os.fsdecode(name): bool(bad) for name, bad in found}

    def verify(self) -> int:
        """Look through the whole file; return how many images it holds, removed ones among them.

        Raises:
            StoreError: a page, a reference or a row is damaged.
        """
        with self._reading() as cursor:
            found = [line for (line,) in cursor.execute("PRAGMA integrity_check(3)")]
            if found != ["ok"]:
                raise self._damaged("; ".join(found))
            if cursor.execute("PRAGMA foreign_key_check").fetchall():
                raise self._damaged("a row refers to another that is missing")
            count = 0
            self._standing(cursor)
            for record in cursor.execute(EVERY_ROW):
                self._row(record)
                count += 1
            return count

    def salvaged(self) -> tuple[tuple[Row, ...], int]:
        """Return the images that stand and can still be read, and how many could not."""
        good: list[Row] = []
        bad = 0
        try:
            (last,) = self._connection.execute("SELECT max(number) FROM images").fetchone()
        except sqlite3.Error:
            last = MOST_ROWS
        gap = 0
        for number in range(1, (last or 0) + 1):
            try:
                record = self._connection.execute(f"{EVERY_ROW} WHERE number = ?", (number,)).fetchone()
                gap = 0 if record is not None else gap + 1
                if record is not None and record[-1]:
                    good.append(self._row(record[:-1]))
            except (StoreError, DamagedError):
                bad += 1
            except sqlite3.Error:
                bad, gap = bad + 1, gap + 1
            if gap > LONGEST_GAP:  # what says how many there are is damaged, too
                break
        return tuple(good), bad

    def copied(self, path: Path) -> None:
        """Write a consistent copy, whoever writes meanwhile.

        Raises:
            StoreError: it cannot be written, or is there already.
        """
        if path.exists():
            raise StoreError(f"{shown(path)}: is there already; choose another name")
        try:
            with contextlib.closing(sqlite3.connect(path)) as copy:
                self._connection.backup(copy)
        except sqlite3.Error as error:
            for half in (path, Path(f"{path}-journal")):
                with contextlib.suppress(OSError):
                    half.unlink()
            raise StoreError(f"{shown(path)}: cannot be written: {error}") from error

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Cursor]:
        cursor = self._connection.cursor()
        with told(self.path):
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    cursor.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Cursor]:
        with told(self.path):
            cursor = self._connection.cursor()
            try:
                yield cursor
            finally:
                if self._connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        cursor.execute("ROLLBACK")

    def _answered(self, cursor: sqlite3.Cursor, request: str | None) -> int | None:
        if request is not None:
            _check_request(request)
        found = cursor.execute("SELECT number FROM batches WHERE request = ?", (request,)).fetchone()
        return None if found is None else int(found[0])

    def _begin(
        self,
        cursor: sqlite3.Cursor,
        kind: str,
        undoes: int | None,
        who: str | None,
        note: str,
        request: str | None,
    ) -> int:
        cursor.execute(
            "INSERT INTO batches (kind, undoes, who, at, note, request) VALUES (?, ?, ?, ?, ?, ?)",
            (
                kind,
                undoes,
                encoded("name of who does it", _user() if who is None else who, least=0),
                _now(),
                encoded("note", note, least=0),
                request,
            ),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _insert(self, cursor: sqlite3.Cursor, row: Row) -> int:
        try:
            cursor.execute(
                "INSERT INTO images "
                "(stands, class, name, source, digest, vector, statistics, thumbnail, sum) "
                "VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    os.fsencode(row.class_name),
                    os.fsencode(row.name),
                    os.fsencode(row.source),
                    row.digest,
                    row.vector.astype("<f4").tobytes(),
                    row.statistics.astype("<f4").tobytes(),
                    row.thumbnail,
                    row.sum(),
                ),
            )
        except sqlite3.IntegrityError as error:
            raise StoreError(
                f"{shown(row.name)}: this very image stands in class {shown(row.class_name)} already; "
                f"leave it out"
            ) from error
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _wanted(self, cursor: sqlite3.Cursor, class_name: str | None, names: Sequence[str]) -> list[int]:
        wanted: list[int] = []
        if class_name is not None:
            asked = (encoded("class", class_name, least=0),)
            wanted += numbers(cursor, "SELECT number FROM images WHERE stands AND class = ?", *asked)
            if not wanted:
                raise StoreError(f"{shown(self.path)}: holds no image of class {shown(class_name)}")
        for name in names:
            asked = (encoded("name", name, least=0),)
            found = numbers(cursor, "SELECT number FROM images WHERE stands AND name = ?", *asked)
            if not found:
                raise StoreError(
                    f"{shown(self.path)}: holds no image {shown(name)}; see mitsugo gallery list"
                )
            wanted += found
        return sorted(set(wanted))

    def _standing(self, cursor: sqlite3.Cursor) -> tuple[Row, ...]:
        """Return the images that stand; which ones these are is told twice, and must agree."""
        query = "SELECT image, stands, max(batch) FROM effects GROUP BY image ORDER BY image"
        expected = [image for image, stands, _ in cursor.execute(query) if stands]
        records = cursor.execute(f"{ROWS} ORDER BY number").fetchall()
        if [record[-1] for record in records] != expected:
            raise self._damaged("the images that stand are not those of its batches")
        return tuple(self._row(record) for record in records)

    def _row(self, record: tuple[Any, ...]) -> Row:
        class_name, name, source, digest, vector, statistics, thumbnail, expected = fitting(
            record[:8], *[bytes] * 8
        )
        if len(vector) != 4 * self._dimension or len(statistics) != 4 * self._statistics:
            raise self._damaged(f"image {shown(os.fsdecode(name))} has a vector of another length")
        row = Row(
            class_name=os.fsdecode(class_name),
            name=os.fsdecode(name),
            source=os.fsdecode(source),
            digest=digest,
            vector=np.frombuffer(vector, "<f4").astype(np.float32),
            statistics=np.frombuffer(statistics, "<f4").astype(np.float32),
            thumbnail=thumbnail,
        )
        if row.sum() != expected:
            raise self._damaged(f"image {shown(row.name)} is not what was written")
        return row

    def _damaged(self, what: str) -> StoreError:
        return StoreError(f"{shown(self.path)}: is damaged: {what}; {RESTORE}")


COLUMNS: Final = "class, name, source, digest, vector, statistics, thumbnail, sum"
ROWS: Final = f"SELECT {COLUMNS}, number FROM images WHERE stands"  # noqa: S608 - of our own words alone
EVERY_ROW: Final = f"SELECT {COLUMNS}, stands FROM images"  # noqa: S608
LONGEST_GAP: Final = 10_000


def opened(path: Path, *, fingerprint: str, dimension: int, statistics: int, create: bool = False) -> Store:
    """Open the gallery of a model; older files are brought to this version first.

    Args:
        path: the file.
        fingerprint: the model's.
        dimension: of its embeddings.
        statistics: how many plain statistics it takes of an image.
        create: whether a missing file is begun.

    Raises:
        StoreError: no gallery, another model's, a newer version's, damaged, or not to be read.
    """
    there = path.exists()
    if there and not path.is_file():
        raise StoreError(f"{shown(path)}: is no regular file; expected a gallery")
    if not there and not create:
        raise StoreError(f"{shown(path)}: there is no gallery yet; mitsugo gallery add begins one")
    connection = connected(path, fingerprint, dimension, statistics)
    return Store(path, connection, dimension, statistics)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _check_request(request: str) -> None:
    encoded("request", request)
    if any("\ud800" <= letter <= "\udfff" for letter in request):
        raise StoreError(f"the request {shown(request)} is no text; name it by letters and digits")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
