"""A table of photos, CSV or Parquet: a path and a label in each row, and a split and a group if any."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from ..errors import DataError, UsageError, shown
from ..files import open_regular, reason
from .classes import PART_OF, PARTS, check_class_names, numbered, one_class_refusal, own_split
from .grouping import grouped
from .listing import FileSet
from .reading import Reading

__all__ = ["TABLES", "listed_table"]

TABLES: Final = (".csv", ".tsv", ".parquet")
COLUMNS: Final = ("path", "label", "split", "group")
NEEDED: Final = ("path", "label")
ENCODINGS: Final = ("utf-8-sig", "cp932")
MAX_BYTES: Final = 2 << 30

Columns = dict[str, list[str]]


def listed_table(path: Path, reading: Reading) -> FileSet:
    """List the photos that a table names, in the table's order.

    Columns: path (below the table's folder, or absolute), label, and where they are there split (train,
    validation or val, test) and group; others are passed over. CSV is UTF-8, else Shift-JIS (cp932);
    fields are parted by commas, semicolons or tabs, whichever the first line has most of. A pattern
    in `reading.group_by` counts instead of the column group.

    Raises:
        DataError: the file cannot be read, a column is missing, a field is empty, a path is there twice,
            there is one class only, or a part has no photos; the line is named.
        UsageError: Parquet without pyarrow; `group_by` finds nothing in a name.
    """
    who = shown(path)
    table = _parquet(path, who) if path.suffix.lower() == ".parquet" else _csv(path, who)
    _check(table, who)
    names = tuple(table["path"])
    labels, class_names = numbered(table["label"])
    check_class_names(class_names, who)
    if len(class_names) == 1:
        raise one_class_refusal(who, shown(class_names[0]), len(names), "and name them in further rows")
    groups = group_names = None
    if reading.group_by is not None:
        groups, group_names = grouped(names, reading.group_by)
    elif "group" in table:
        groups, group_names = numbered(table["group"])
    return FileSet(
        paths=tuple(path.parent / name for name in names),
        names=names,
        labels=labels,
        class_names=class_names,
        groups=groups,
        group_names=group_names or (),
        split=own_split(_parts(table["split"], who), who) if "split" in table else None,
    )


def _csv(path: Path, who: str) -> Columns:
    text = _text(path, who)
    first = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        head = [name.strip().lower() for name in next(rows, [])]
        found: Columns = {name: [] for name in COLUMNS if name in head}
        places = [(values, head.index(name)) for name, values in found.items()]
        for row in rows:
            if not row:
                continue
            if len(row) != len(head):
                raise DataError(
                    f"{who}: line {rows.line_num} has {len(row)} fields, expected {len(head)} as in the first"
                )
            for values, place in places:
                values.append(row[place].strip())
    except csv.Error as error:
        raise DataError(f"{who}: line {rows.line_num} is no CSV: {error}") from error
    return found


def _text(path: Path, who: str) -> str:
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{who}: cannot be read: {reason(error)}") from error
    if len(content) > MAX_BYTES:
        raise DataError(f"{who}: is longer than {MAX_BYTES:,} bytes; split it, or save it as .parquet")
    for encoding in ENCODINGS:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError(f"{who}: is neither UTF-8 nor Shift-JIS; save it as UTF-8")


def _parquet(path: Path, who: str) -> Columns:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError(
            f"SOURCE {who}: Parquet needs pyarrow: pip install 'mitsugo[tables]', or save it as .csv"
        ) from error
    try:
        names = set(parquet.read_schema(path).names)
        table = parquet.read_table(path, columns=[name for name in COLUMNS if name in names])
        texts = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{who}: cannot be read as Parquet: {shown(str(error).partition(chr(10))[0])}"
        ) from error
    return {name: [value or "" for value in texts[name].to_pylist()] for name in texts.column_names}


def _check(table: Columns, who: str) -> None:
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise DataError(
            f"{who}: has no column {' and no column '.join(missing)}; expected path and label in the first "
            f"line, and split and group where there are such"
        )
    if not table["path"]:
        raise DataError(f"{who}: has no rows; expected a photo in each")
    for name, values in table.items():
        if "" in values:
            raise DataError(
                f"{who}: row {values.index('') + 1} has no {name}; fill it in, or leave the row out"
            )
    first: dict[str, int] = {}
    for row, name in enumerate(table["path"], 1):
        before = first.setdefault(name, row)
        if before != row:
            labels = {table["label"][before - 1], table["label"][row - 1]}
            what = "under two labels" if len(labels) > 1 else "twice"
            raise DataError(f"{who}: rows {before} and {row} name {shown(name)} {what}; keep one of them")


def _parts(texts: Sequence[str], who: str) -> np.ndarray:
    number = {text: PARTS.index(part) for text, part in PART_OF.items()}
    for row, text in enumerate(texts, 1):
        if text.lower() not in number:
            raise DataError(
                f"{who}: row {row} has the split {shown(text)}; expected train, validation or test"
            )
    return np.array([number[text.lower()] for text in texts], np.int8)
