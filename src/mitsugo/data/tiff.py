"""The directory of a TIFF file, read as far as it takes to know where its pixels lie.

A TIFF file (Aldus, "TIFF 6.0", 1992; with 64-bit places: BigTIFF) names a directory of entries (tag, type,
number of values, and the values themselves or, where they take more room, their place in the file).
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..shapes import Float

__all__ = ["SIGNATURES", "pixel_pieces"]

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Little- and big-endian, and the same as BigTIFF."""
LENGTHS = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
"""How many bytes a value of each type takes; a type not known here takes none."""
UNSIGNED = {3: "u2", 4: "u4", 16: "u8"}
PIECES = ((273, 279), (324, 325))
"""The tags that say where the strips, or the tiles, begin, and how long they are."""


class _Entry(NamedTuple):
    tag: int
    kind: int
    number: int
    start: int


def pixel_pieces(content: bytes) -> Float[np.ndarray, "m 2"]:
    """Return where each strip or tile of the first image begins, and how long it is, in bytes.

    Raises:
        ValueError: the directory, or a value that it names, lies outside the file.
    """
    order = "<" if content.startswith(b"II") else ">"
    try:
        entries = {entry.tag: entry for entry in _entries(content, order)}
    except struct.error as error:
        raise ValueError("the directory lies outside the file") from error
    for tags in PIECES:
        values = [
            np.frombuffer(content, order + UNSIGNED[entry.kind], entry.number, entry.start).astype(np.float64)
            for tag in tags
            if (entry := entries.get(tag)) and entry.kind in UNSIGNED
        ]
        if len(values) == 2 and len(values[0]) == len(values[1]):
            return np.stack(values, axis=1)
    return np.empty((0, 2))


def _entries(content: bytes, order: str) -> Iterator[_Entry]:
    big = b"+" in content[2:4]
    place, count, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    place_length = struct.calcsize(order + place)
    (directory,) = struct.unpack_from(order + place, content, place_length if big else 4)
    (number_of_entries,) = struct.unpack_from(order + count, content, directory)
    position = directory + struct.calcsize(order + count)
    for _ in range(number_of_entries):
        tag, kind, number = struct.unpack_from(order + entry, content, position)
        start = position + struct.calcsize(order + entry)
        position = start + place_length
        length = number * LENGTHS.get(kind, 0)
        if length > place_length:
            (start,) = struct.unpack_from(order + place, content, start)
        if max(start + length, position) > len(content):
            raise ValueError(f"the value of tag {tag} lies outside the file")
        yield _Entry(tag, kind, number, start)
    if position + place_length > len(content):
        raise ValueError("the directory's end lies outside the file")
