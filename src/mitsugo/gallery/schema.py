"""The tables of a gallery, and how a file of an older version becomes one of this."""

from typing import Final

__all__ = ["APPLICATION_ID", "MIGRATIONS", "VERSION"]

APPLICATION_ID: Final = 0x6D747367
"""What says that an SQLite file is a gallery of ours: "mtsg"."""

MIGRATIONS: Final = (
    """
    CREATE TABLE meta (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        fingerprint TEXT NOT NULL,
        dimension INTEGER NOT NULL CHECK (dimension > 0),
        statistics INTEGER NOT NULL CHECK (statistics >= 0)
    ) STRICT;
    CREATE TABLE batches (
        number INTEGER PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('add', 'remove', 'undo')),
        undoes INTEGER REFERENCES batches (number),
        who BLOB NOT NULL,
        at TEXT NOT NULL,
        note BLOB NOT NULL,
        request TEXT UNIQUE
    ) STRICT;
    CREATE TABLE classes (
        name BLOB PRIMARY KEY,
        ng INTEGER NOT NULL CHECK (ng IN (0, 1))
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE images (
        number INTEGER PRIMARY KEY,
        stands INTEGER NOT NULL CHECK (stands IN (0, 1)),
        class BLOB NOT NULL REFERENCES classes (name),
        name BLOB NOT NULL,
        source BLOB NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 16),
        vector BLOB NOT NULL,
        statistics BLOB NOT NULL,
        thumbnail BLOB NOT NULL,
        sum BLOB NOT NULL CHECK (length(sum) = 16)
    ) STRICT;
    CREATE TABLE effects (
        batch INTEGER NOT NULL REFERENCES batches (number),
        image INTEGER NOT NULL REFERENCES images (number),
        stands INTEGER NOT NULL CHECK (stands IN (0, 1)),
        PRIMARY KEY (batch, image)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX once ON images (digest, class) WHERE stands;
    CREATE INDEX of_image ON effects (image, batch);
    """,
    """
    CREATE TABLE feedback (
        number INTEGER PRIMARY KEY,
        who BLOB NOT NULL,
        at TEXT NOT NULL,
        note BLOB NOT NULL,
        name BLOB NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 16),
        said BLOB NOT NULL,
        label BLOB NOT NULL,
        right INTEGER NOT NULL CHECK (right IN (0, 1)),
        batch INTEGER REFERENCES batches (number),
        request TEXT UNIQUE
    ) STRICT;
    """,
)
"""Each brings a file from the version of its place to the next; none is ever changed."""

VERSION: Final = len(MIGRATIONS)
