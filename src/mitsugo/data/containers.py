"""Image files taken apart just so far as to say that they are whole, before any decoder sees them.

Decoders are lenient: they fill what is missing with grey, or overlook it. Here a file that was cut at any
length is refused, and what a PNG carries besides its pixels (text and profiles that unpack to many times
their size) is left out instead of being unpacked.
"""

import re
import zlib

from ..errors import DataError
from . import tiff

__all__ = ["checked"]

PNG = b"\x89PNG\r\n\x1a\n"
KEPT_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND"}
JPEG = b"\xff\xd8\xff"
JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker; not the 0 that follows an FF among the pixels, nor a restart marker."""
JPEG_ALONE = {0x01, 0xD8}
"""Markers without a length (TEM, SOI); the end, EOI, is 0xD9."""
RIFF = b"RIFF"
BMP = b"BM"
MAX_TIFF_PIECES = 100_000
COPY_AGAIN = "copy it again from where it was made"


def checked(content: bytes, who: str) -> bytes:
    """Return the file's bytes, of a PNG only what the pixels need.

    Args:
        content: the whole file; one of a kind not known here is returned as it is.
        who: its name, fit for a message.

    Raises:
        DataError: the file is truncated; a PNG is damaged, has several frames or a transparent colour that
            cannot be told exactly; a TIFF is cut into absurdly many pieces.
    """
    if content.startswith(PNG):
        return _png(content, who)
    if content.startswith(JPEG):
        _whole_jpeg(content, who)
    if content.startswith(RIFF) and len(content) < 8 + int.from_bytes(content[4:8], "little"):
        raise _truncated(who)
    if content.startswith(BMP) and len(content) < int.from_bytes(content[2:6], "little"):
        raise _truncated(who)
    if content.startswith(tiff.SIGNATURES):
        _whole_tiff(content, who)
    return content


def _png(content: bytes, who: str) -> bytes:
    """Walk the chunks (length, kind, data, CRC-32 of kind and data) to the end, IEND; keep those needed."""
    kept = [PNG]
    start = len(PNG)
    while start + 12 <= len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        kind, data = content[start + 4 : start + 8], content[start + 8 : end - 4]
        if end > len(content):
            break
        if kind == b"acTL" and int.from_bytes(data[:4], "big") > 1:
            raise several_frames(who)
        if kind in KEPT_CHUNKS:
            if zlib.crc32(data, zlib.crc32(kind)) != int.from_bytes(content[end - 4 : end], "big"):
                raise DataError(
                    f"{who}: is damaged (its chunk {kind.decode()} has a wrong checksum); {COPY_AGAIN}"
                )
            if kind == b"tRNS":
                _exact_transparency(content, who)
            kept.append(content[start:end])
        if kind == b"IEND":
            return b"".join(kept)
        start = end
    raise _truncated(who)


def _exact_transparency(content: bytes, who: str) -> None:
    """Refuse the one transparent colour of a grey or RGB image where its depth does not survive decoding."""
    depth, colour_type = content[24], content[25]
    if colour_type in (0, 2) and depth not in (1, 8):
        raise DataError(
            f"{who}: has a transparent colour at {depth} bits, which cannot be told exactly; "
            f"save it with an alpha channel, or without transparency"
        )


def _whole_jpeg(content: bytes, who: str) -> None:
    """Walk the segments (marker, length, data) and the pixels between them to the end marker."""
    position = 0
    while found := JPEG_MARKER.search(content, position):
        marker = content[found.end() - 1]
        if marker == 0xD9:
            return
        position = found.end()
        if marker not in JPEG_ALONE:
            position += int.from_bytes(content[position : position + 2], "big")
    raise _truncated(who)


def _whole_tiff(content: bytes, who: str) -> None:
    """Look whether every strip or tile lies inside the file, and whether there are not absurdly many."""
    try:
        pieces = tiff.pixel_pieces(content)
    except ValueError as error:
        raise DataError(f"{who}: is truncated or damaged ({error}); {COPY_AGAIN}") from error
    if len(pieces) > MAX_TIFF_PIECES:
        raise DataError(
            f"{who}: is cut into {len(pieces):,} pieces, more than {MAX_TIFF_PIECES:,}; "
            f"save it with larger strips"
        )
    if pieces.size and pieces.sum(axis=1).max() > len(content):
        raise _truncated(who)


def several_frames(who: str) -> DataError:
    """Return the refusal of an image file that holds several pictures."""
    return DataError(f"{who}: holds several frames or pages; save the one that is meant as a file of its own")


def _truncated(who: str) -> DataError:
    return DataError(f"{who}: is truncated: its end is missing; {COPY_AGAIN}")
