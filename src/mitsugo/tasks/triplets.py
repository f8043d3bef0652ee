"""Triplets or labelled pairs as a table, for trainers that draw none themselves.

The rule and the chance are those of a training: with the same seed the rows are what the recipe `article`
(pairs: `article-siamese`) sees in its first epoch, then in its second, and so on.

A .csv is read by spreadsheets, too, which take a cell that begins with = + - @, a tab or a line break for a
formula: an apostrophe is put in front of it. A name of bytes that are no UTF-8 stands in a .csv as these very
bytes and in a .jsonl as JSON's escape of Python's surrogate (0xff: U+DCFF); a .parquet cannot hold it.
"""

import contextlib
import csv
import io
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .. import __version__
from ..data.sampling import Draw, generator_of, index_classes, random_pairs, random_triplets
from ..data.sources import check_trainable
from ..errors import DataError, UsageError, shown
from ..files import replacing
from ..recipes import RECIPES
from ..shapes import Int64
from ..values import LabeledImages
from .parting import parted, tell
from .sourcing import AS_IT_IS, SourceOptions, loaded
from .talk import SILENT, Talk

__all__ = ["write_triplets"]

TRIPLET = ("anchor", "positive", "negative")
PAIR = ("first", "second")
LABEL = "label"
"""Of a pair: 1 where both are of one class, else 0."""
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
TOGETHER = 1 << 16
"""Rows that are put into words at once."""

Table = dict[str, list[Any]]
"""Some rows, by column."""
Writer = Callable[[Table], object]


def write_triplets(
    source: str,
    out: Path,
    *,
    pairs: bool = False,
    count: int | None = None,
    seed: int = 0,
    sourcing: SourceOptions = AS_IT_IS,
    talk: Talk = SILENT,
) -> dict[str, Any]:
    """Write names and classes of anchor, positive and negative of random triplets of the training part.

    Every image is an anchor once before any is twice, by `random_triplets`; pairs are drawn by `random_pairs`
    and have a label. The file's ending says what it is: .parquet, .csv or .jsonl.

    Args:
        source: what can be named as a source; without parts of its own 80 % of each class train.
        out: the file; what was there stands until the new one is whole.
        pairs: pairs in place of triplets.
        count: how many; None: one for each training image.
        seed: of the draw.
        sourcing: how the source is read.
        talk: who listens.

    Raises:
        UsageError: another ending, a count or a seed that cannot be meant, or no pyarrow for .parquet.
        DataError: a source that cannot be used, or a name that the file cannot hold.
        ResourceError: the file cannot be written.
    """
    kind = _kind(out)
    if count is not None and count < 1:
        raise UsageError(f"--count {count}: expected 1 or more; without it there is one for each image")
    if not 0 <= seed < 1 << 63:
        raise UsageError(f"--seed {seed}: expected 0 to 2^63 - 1")
    images = loaded(source, sourcing, talk)
    recipe = RECIPES["article-siamese" if pairs else "article"]
    parts = parted(images, sourcing.rules, recipe.validation_share, seed)
    tell(images, parts.found, sourcing.rules, talk)
    split = parts.split
    check_trainable(images, split)
    train = images.take(split.train)
    rows = len(train) if count is None else count
    talk.say(f"writing {rows:,} {'pairs' if pairs else 'triplets'} of {len(train):,} training images")
    made_by = {"mitsugo": __version__, "source": source, "seed": seed, "split": split.how}
    with replacing(out) as file, WRITERS[kind](file, out, made_by) as write:
        for draw in _drawn(train, rows, seed, pairs=pairs):
            write(_table(train, draw))
    return {
        "source": source,
        "out": str(out),
        "kind": "pairs" if pairs else "triplets",
        "rows": rows,
        "images": len(train),
        "classes": len(np.unique(train.labels)),
        "seed": seed,
        "split": split.how,
    }


def _kind(out: Path) -> str:
    if out.suffix not in WRITERS:
        raise UsageError(f"--out {shown(out)}: expected a name that ends in {', '.join(WRITERS)}")
    if out.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401 - whether it is there, before the images are read
        except ImportError as error:
            raise UsageError(
                f"--out {shown(out)}: Parquet needs pyarrow, which is not installed; "
                f"`pip install mitsugo[tables]`, or name a .csv or a .jsonl file"
            ) from error
    return out.suffix


def _drawn(images: LabeledImages, rows: int, seed: int, *, pairs: bool) -> Iterator[Draw]:
    """Yield so many rows, epoch after epoch, some at a time."""
    index, rule = index_classes(images.labels), random_pairs if pairs else random_triplets
    for epoch, done in enumerate(range(0, rows, len(images)), start=1):
        draw = rule(index, generator_of(seed, epoch))
        end = min(rows - done, len(images))
        for start in range(0, end, TOGETHER):
            part = slice(start, min(start + TOGETHER, end))
            yield Draw(indices=draw.indices[part], same=None if draw.same is None else draw.same[part])


def _table(images: LabeledImages, draw: Draw) -> Table:
    roles = TRIPLET if draw.same is None else PAIR
    table: Table = {
        role: [images.names[row] for row in draw.indices[:, place].tolist()]
        for place, role in enumerate(roles)
    }
    if draw.same is not None:
        table[LABEL] = draw.same.astype(np.int64).tolist()
    return table | {
        f"{role}_class": _classes(images, draw.indices[:, place]) for place, role in enumerate(roles)
    }


def _classes(images: LabeledImages, rows: Int64[np.ndarray, " t"]) -> list[str]:
    return [images.class_names[label] for label in images.labels[rows].tolist()]


@contextlib.contextmanager
def _parquet(file: BinaryIO, out: Path, made_by: dict[str, Any]) -> Iterator[Writer]:
    import pyarrow as pa
    from pyarrow import parquet

    about = {"mitsugo": json.dumps(made_by)}
    writer: Any = None

    def write(table: Table) -> None:
        nonlocal writer
        _check_text(table, out, "strict")
        columns = pa.table(table).replace_schema_metadata(about)
        if writer is None:
            writer = parquet.ParquetWriter(file, columns.schema)
        writer.write_table(columns)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


@contextlib.contextmanager
def _csv(file: BinaryIO, out: Path, _made_by: dict[str, Any]) -> Iterator[Writer]:
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    writer = csv.writer(text, lineterminator="\n")
    begun = False

    def write(table: Table) -> None:
        nonlocal begun
        if not begun:
            writer.writerow(table)
            begun = True
        _check_text(table, out, "surrogateescape")
        writer.writerows(zip(*(map(_cell, column) for column in table.values()), strict=True))

    try:
        yield write
    finally:
        text.detach()  # which writes out what is left, and leaves the file open


@contextlib.contextmanager
def _jsonl(file: BinaryIO, _out: Path, _made_by: dict[str, Any]) -> Iterator[Writer]:
    def write(table: Table) -> None:
        for row in zip(*table.values(), strict=True):
            line = json.dumps(dict(zip(table, row, strict=True)), ensure_ascii=False)
            file.write(line.encode(errors="backslashreplace") + b"\n")  # \udcff is JSON's escape, too

    yield write


WRITERS: dict[str, Callable[[BinaryIO, Path, dict[str, Any]], contextlib.AbstractContextManager[Writer]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _jsonl,
}


def _cell(value: str | int) -> str | int:
    """Return a cell that no spreadsheet takes for a formula.

    >>> _cell("=1+1"), _cell("-3.png"), _cell("a=b"), _cell(1)
    ("'=1+1", "'-3.png", 'a=b', 1)
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def _check_text(table: Table, out: Path, errors: str) -> None:
    """Look that every name can be encoded in UTF-8, `errors` said."""
    for value in itertools.chain.from_iterable(table.values()):
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode(errors=errors)
            except UnicodeEncodeError as error:
                raise DataError(
                    f"--out {shown(out)}: cannot hold the name {shown(value)}, which is no UTF-8; "
                    f"rename it, or write a .jsonl file"
                ) from error
