"""Opening a gallery's file: whose it is, of which version, and every error in one line."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..errors import StoreError, shown
from ..files import reason
from .schema import APPLICATION_ID, MIGRATIONS, VERSION

__all__ = ["RESTORE", "connected", "told"]

WAIT_SECONDS: Final = 30.0
RESTORE: Final = "restore it from a copy, or save what can be read by `mitsugo gallery export --salvage`"
UNLOCKED: Final = (
    "its file system cannot lock files, so two could write at once: keep the model and its gallery on a "
    "local disk"
)
WORDS: Final = {
    ("SQLITE_BUSY", "SQLITE_LOCKED"): (
        f"another process has been writing to it for {WAIT_SECONDS:g} s; try again"
    ),
    ("SQLITE_FULL",): "the disk is full; nothing was written: free some, and try again",
    ("SQLITE_READONLY",): "cannot be written: check who may write to it and to its folder",
    ("SQLITE_CORRUPT", "SQLITE_NOTADB"): f"is damaged, or no gallery: {{message}}; {RESTORE}",
    (
        "SQLITE_IOERR_LOCK",
        "SQLITE_IOERR_RDLOCK",
        "SQLITE_IOERR_UNLOCK",
        "SQLITE_IOERR_CHECKRESERVEDLOCK",
        "SQLITE_IOERR_SHM",
        "SQLITE_PROTOCOL",
        "SQLITE_NOLFS",
    ): f"{UNLOCKED} ({{code}})",
    ("SQLITE_IOERR",): "the disk failed ({code}); nothing was written: check it, and try again",
    ("SQLITE_CANTOPEN",): "cannot be opened: check its name and who may read it and its folder",
}
"""What is said of an error of SQLite, by the beginning of its name."""


def connected(path: Path, fingerprint: str, dimension: int, statistics: int) -> sqlite3.Connection:
    """Connect to the gallery of a model; see `store.opened`."""
    with told(path):
        connection = _connected(path)
        try:
            _migrated(connection, path)
            _bound(connection, path, fingerprint, dimension, statistics)
        except BaseException:
            connection.close()
            raise
    return connection


def _connected(path: Path) -> sqlite3.Connection:
    writable = os.access(path if path.exists() else path.parent, os.W_OK) and os.access(path.parent, os.W_OK)
    address = f"{path.resolve().as_uri()}?mode={'rwc' if writable else 'ro'}"
    if not writable and not Path(f"{path}-wal").exists():
        address += "&immutable=1"  # nobody can write to it, so nothing need be locked
    connection = sqlite3.connect(
        address, uri=True, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    if writable:
        connection.execute("PRAGMA synchronous = FULL")
    return connection


def _migrated(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a file to this version; a new one gets its tables."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (tables and mark != APPLICATION_ID) or (not tables and (version or mark not in {0, APPLICATION_ID})):
        raise StoreError(f"{shown(path)}: is a database of another program; name a gallery of mitsugo")
    if version > VERSION:
        raise StoreError(
            f"{shown(path)}: was written by a newer mitsugo (version {version}, this one reads up to "
            f"{VERSION}); upgrade mitsugo"
        )
    if version == VERSION:
        return
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":  # SQLite says so and goes on, with another log
        raise StoreError(f"{shown(path)}: {UNLOCKED}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()  # another may have been first
        for script in MIGRATIONS[version:]:
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _bound(
    connection: sqlite3.Connection, path: Path, fingerprint: str, dimension: int, statistics: int
) -> None:
    """Bind a new gallery to its model; refuse another model's."""
    query = "SELECT fingerprint, dimension, statistics FROM meta"
    found = connection.execute(query).fetchone()
    if found is None:
        connection.execute(
            "INSERT INTO meta VALUES (1, ?, ?, ?) ON CONFLICT DO NOTHING",
            (fingerprint, dimension, statistics),
        )
        found = connection.execute(query).fetchone()
    if found != (fingerprint, dimension, statistics):
        raise StoreError(
            f"{shown(path)}: was taught to model {shown(str(found[0])[:12])}, this is model "
            f"{fingerprint[:12]}: teach its images again, or use the model that it belongs to"
        )


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Tell an error of SQLite or of the system in one line.

    Raises:
        StoreError: there was one.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "")
        raise StoreError(f"{shown(path)}: {_words(code, str(error))}") from error
    except UnicodeDecodeError as error:  # SQLite quotes what it found damaged
        words = WORDS["SQLITE_CORRUPT", "SQLITE_NOTADB"].format(message="a text is none")
        raise StoreError(f"{shown(path)}: {words}") from error
    except OSError as error:
        raise StoreError(f"{shown(path)}: {reason(error)}") from error


def _words(code: str, message: str) -> str:
    for beginnings, words in WORDS.items():
        if code.startswith(beginnings):
            return words.format(message=message, code=code)
    return message.lower()
