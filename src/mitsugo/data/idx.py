"""IDX files, the format that MNIST and Fashion-MNIST come in, plain or .gz -> LabeledImages.

An IDX file is two zero bytes, a byte for the type of number (8: unsigned bytes, the only one taken here), a
byte for the number of dimensions, each dimension as four bytes (big-endian), then the values, the last
dimension running fastest (LeCun, Cortes and Burges, "The MNIST database of handwritten digits").

Nothing is allocated because a header asks for it: the content is read a piece at a time, no further than one
byte beyond what the header promises.
"""

import gzip
import math
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, shown
from ..files import open_regular, reason
from ..values import LabeledImages, Split

__all__ = ["IdxPart", "idx_header", "labeled_images", "read_idx", "read_idx_folder"]

MAX_BYTES = 4 << 30
PIECE = 1 << 20
UNSIGNED_BYTES = 8
OTHER_TYPES = {9: "signed bytes", 11: "int16", 12: "int32", 13: "float32", 14: "float64"}
GZIP_MAGIC = b"\x1f\x8b"
GET_AGAIN = "get it again from where it came from"


def idx_header(*sizes: int) -> bytes:
    r"""Return the header of an IDX file of unsigned bytes with these sizes.

    >>> idx_header(3).hex(" ", 4)
    '00000801 00000003'
    """
    return bytes((0, 0, UNSIGNED_BYTES, len(sizes))) + b"".join(size.to_bytes(4, "big") for size in sizes)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes; it is taken as gzip where its name ends with .gz.

    Args:
        path: the file.
        dimensions: how many it must have: 3 for images (n, h, w), 1 for labels (n,).

    Raises:
        DataError: the file cannot be read, is no such IDX file, is empty, or is not as long as its header
            promises.
    """
    who = shown(path)
    try:
        with open_regular(path) as file:
            if path.name.endswith(".gz"):
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return _parse(unpacked.read, who, dimensions)
            return _parse(file.read, who, dimensions)
    except gzip.BadGzipFile as error:
        raise DataError(
            f"{who}: is named .gz but is damaged or no gzip file ({error}); {GET_AGAIN}"
        ) from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"{who}: the gzip file is truncated or damaged; {GET_AGAIN}") from error
    except OSError as error:
        raise DataError(f"{who}: cannot be read: {reason(error)}") from error


def _parse(read: Callable[[int], bytes], who: str, dimensions: int) -> NDArray[np.uint8]:
    sizes = _read_header(read, who, dimensions)
    promised = math.prod(sizes)
    if promised == 0:
        raise DataError(f"{who}: is an empty set ({_times(sizes)}); expected at least one image")
    if promised > MAX_BYTES:
        raise DataError(
            f"{who}: its header promises {_times(sizes)} = {promised:,} bytes, "
            f"more than {MAX_BYTES:,}; {GET_AGAIN}"
        )
    content = bytearray()
    while piece := read(min(PIECE, promised + 1 - len(content))):
        content += piece
    if len(content) != promised:
        held = "more" if len(content) > promised else f"{len(content):,}"
        raise DataError(
            f"{who}: its header promises {_times(sizes)} = {promised:,} bytes, "
            f"but it holds {held}; {GET_AGAIN}"
        )
    return np.frombuffer(content, np.uint8).reshape(sizes)


def _read_header(read: Callable[[int], bytes], who: str, dimensions: int) -> tuple[int, ...]:
    magic = _exactly(read, 4, who)
    if magic[:2] == GZIP_MAGIC:
        raise DataError(f"{who}: is gzip-compressed but not named so; let its name end with .gz")
    if magic[:2] != b"\0\0" or magic[2] not in (UNSIGNED_BYTES, *OTHER_TYPES):
        raise DataError(f"{who}: is no IDX file: it begins with {magic.hex(' ')}, expected 00 00 08")
    if magic[2] != UNSIGNED_BYTES:
        raise DataError(f"{who}: holds {OTHER_TYPES[magic[2]]}, expected unsigned bytes; convert it to bytes")
    if magic[3] != dimensions:
        kind = "images (n, h, w)" if dimensions == 3 else "labels (n)"
        raise DataError(
            f"{who}: has {magic[3]} dimensions, expected {dimensions} for {kind}; is it the right file?"
        )
    header = _exactly(read, 4 * dimensions, who)
    return tuple(int.from_bytes(header[start : start + 4], "big") for start in range(0, len(header), 4))


def _exactly(read: Callable[[int], bytes], length: int, who: str) -> bytes:
    content = read(length)
    if len(content) != length:
        raise DataError(f"{who}: ends inside its header; {GET_AGAIN}")
    return content


def _times(sizes: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in sizes)


@dataclass(frozen=True)
class IdxPart:
    """The images (n, h, w) and labels (n,) of one part of a set."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def read_idx_folder(folder: Path) -> LabeledImages:
    """Read a folder of IDX files: the training part, and the test part where there is one.

    Looked for are {train,t10k}-images-idx3-ubyte and {train,t10k}-labels-idx1-ubyte, also with ".idx" for
    "-idx", each plain or with .gz. The classes are the label numbers that occur, in order, named by them.

    Raises:
        DataError: a file is missing, stands there twice or is unusable, or images and labels do not fit
            together.
    """
    found = _find(folder)
    if not found:
        raise DataError(
            f"{shown(folder)}: holds no IDX files; looked for train-images-idx3-ubyte and "
            f"train-labels-idx1-ubyte, plain or with .gz (t10k-… for a test part)"
        )
    train = _read_part(folder, "train", found)
    test = _read_part(folder, "t10k", found) if any(name.startswith("t10k") for name in found) else None
    return labeled_images(train, test, shown(folder))


def _find(folder: Path) -> dict[str, str]:
    """Return which of the four files are there: "train-images" -> the file's name."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.startswith(("train-", "t10k-")))
    except OSError as error:
        raise DataError(f"{shown(folder)}: cannot be read: {reason(error)}") from error
    found: dict[str, str] = {}
    for name in names:
        for stem in ("train-images", "train-labels", "t10k-images", "t10k-labels"):
            rank = 3 if stem.endswith("images") else 1
            if name.removesuffix(".gz") in (f"{stem}-idx{rank}-ubyte", f"{stem}.idx{rank}-ubyte"):
                if stem in found:
                    raise DataError(
                        f"{shown(folder)}: holds both {found[stem]} and {name}; "
                        f"keep one, so that it is clear which is meant"
                    )
                found[stem] = name
    return found


def _read_part(folder: Path, part: str, found: dict[str, str]) -> IdxPart:
    for kind, rank in (("images", 3), ("labels", 1)):
        if f"{part}-{kind}" not in found:
            present = ", ".join(found.values())
            raise DataError(
                f"{shown(folder)}: {part}-{kind}-idx{rank}-ubyte (or with .gz) is missing "
                f"beside {present}; add it"
            )
    images_path, labels_path = folder / found[f"{part}-images"], folder / found[f"{part}-labels"]
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{shown(labels_path)}: holds {len(labels):,} labels for the {len(images):,} images of "
            f"{images_path.name}; expected one label an image"
        )
    return IdxPart(images, labels)


def labeled_images(train: IdxPart, test: IdxPart | None, who: str) -> LabeledImages:
    """Join the parts of an IDX set; images are named train/00000 … and test/00000 …."""
    parts = {"train": train} if test is None else {"train": train, "test": test}
    if test is not None and train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"{who}: training images are {_times(train.images.shape[1:])} but test images "
            f"{_times(test.images.shape[1:])}; expected one size"
        )
    numbers = np.concatenate([part.labels for part in parts.values()])
    values = np.unique(numbers)
    return LabeledImages(
        pixels=np.concatenate([part.images for part in parts.values()])[:, None],
        labels=np.searchsorted(values, numbers).astype(np.int64),
        class_names=tuple(str(value) for value in values),
        names=tuple(f"{name}/{i:05d}" for name, part in parts.items() for i in range(len(part.labels))),
        split=None if test is None else _own_split(len(train.labels), len(test.labels)),
    )


def _own_split(train_count: int, test_count: int) -> Split:
    everything = np.arange(train_count + test_count, dtype=np.int64)
    return Split(
        train=everything[:train_count],
        validation=everything[:0],
        test=everything[train_count:],
        how=f"the source's own parts: {train_count:,} images to train on, {test_count:,} to test on",
    )
