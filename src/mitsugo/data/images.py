"""Bytes -> pixels, within limits and with honest errors.

Read are JPEG, PNG, BMP, TIFF and WebP, told by their content, of at most 256 MiB and 50 megapixels; whatever
else a name may promise, no other decoder is reached. What a file holds becomes 8-bit grey or RGB like this:

    1                  0 and 255
    L, RGB             as they are (16-bit RGB arrives here as its high bytes)
    LA, PA, RGBA       laid on white; so is a transparent colour or palette entry
    P                  its palette's colours
    I;16 and kin       the high byte of each 16-bit value
    RGBX               without X
    CMYK, YCbCr        Pillow's plain conversion to RGB; colour profiles are not applied
    I, F, LAB, other   refused: no agreed black and white

and then, where one channel is asked for, grey = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, as Pillow rounds
it), where three are asked for, grey three times. The EXIF orientation is applied.

A JPEG can be decoded at a half, a quarter or an eighth of its sides, for half the time: only who asks for it
by `decoded` gets that.
"""

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from ..errors import DataError, UsageError, shown
from ..files import open_regular, reason
from ..shapes import UInt8
from .containers import checked, several_frames

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "Header",
    "decode",
    "decoded",
    "encode_png",
    "file_content",
    "header_of",
    "read_image",
    "resized",
    "values_of",
]

FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
MAX_BYTES = 256 << 20
MAX_PIXELS = 50_000_000
PLAIN = {"1", "L", "RGB"}
ALPHA = {"LA", "P", "PA", "RGBA"}
COLOUR = {"RGBX", "CMYK", "YCbCr"}
GREY = {"1", "L", "LA"}
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation."""
LYING = {5, 6, 7, 8}
"""The orientations whose width becomes the height."""

_WARNINGS = threading.Lock()


@dataclass(frozen=True)
class Header:
    """What an image file tells before it is decoded: the upright photo's size, and whether it is grey."""

    height: int
    width: int
    grey: bool


def read_image(path: Path, channels: int) -> UInt8[np.ndarray, "c h w"]:
    """Read an image file as grey (1 channel) or RGB (3 channels).

    Raises:
        DataError: the file cannot be read, or is no image that is taken here (see the top of this page).
        UsageError: another number of channels.
    """
    return decode(file_content(path)[0], os.fspath(path), channels)


def file_content(path: Path) -> tuple[bytes, os.stat_result]:
    """Return the bytes of an image file, and what the system said of it once they were read.

    Raises:
        DataError: the file cannot be read, is no regular file, or is longer than an image may be.
    """
    try:
        with open_regular(path) as file:
            length = os.fstat(file.fileno()).st_size
            if length > MAX_BYTES:
                raise _too_long(shown(path), length)
            return file.read(length), os.fstat(file.fileno())
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read: {reason(error)}") from error


def decode(content: bytes, name: str, channels: int) -> UInt8[np.ndarray, "c h w"]:
    """Decode the content of an image file as grey (1 channel) or RGB (3 channels).

    Args:
        content: the whole file.
        name: what a message calls it.
        channels: 1 or 3.

    Raises:
        DataError: it is no image that is taken here (see the top of this page), or damaged.
        UsageError: another number of channels.

    >>> decode(encode_png(np.array([[[0, 7]]], np.uint8)), "two.png", 3).tolist()
    [[[0, 7]], [[0, 7]], [[0, 7]]]
    """
    return values_of(decoded(content, name, channels)[0])


def decoded(
    content: bytes, name: str, channels: int, divisor: Callable[[int, int], int] | None = None
) -> tuple[Image.Image, Header]:
    """Return an image file's picture in mode L or RGB, upright, and what its header said.

    Args:
        content: the whole file.
        name: what a message calls it.
        channels: 1 or 3.
        divisor: takes the height and the width of the upright photo, and says whether a half (2), a quarter
            (4) or an eighth (8) of its sides is enough, which must be whole pixels; else 1. A JPEG is decoded
            at that size, other formats at their own.

    Raises:
        DataError: it is no image that is taken here, or damaged.
        UsageError: another number of channels.
    """
    who = shown(name)
    _check_channels(channels)
    with _told_plainly(who):
        image, header = _opened(content, who)
        part = divisor(header.height, header.width) if divisor and image.format == "JPEG" else 1
        if part > 1:
            image.draft(None, (image.width // part, image.height // part))
        image = _plain(_upright(image)).convert("L" if channels == 1 else "RGB")
        return image, Header(image.height * part, image.width * part, header.grey)


def header_of(content: bytes, name: str) -> Header:
    """Return what an image file's header says; no pixel is decoded.

    Raises:
        DataError: it is no image that is taken here, or truncated.
    """
    who = shown(name)
    with _told_plainly(who):
        return _opened(content, who)[1]


def values_of(image: Image.Image) -> UInt8[np.ndarray, "c h w"]:
    """Return a picture in mode L or RGB as an array.

    >>> values_of(Image.new("RGB", (1, 1), (1, 2, 3))).ravel().tolist()
    [1, 2, 3]
    """
    values = np.array(image)
    return values[None] if image.mode == "L" else np.ascontiguousarray(values.transpose(2, 0, 1))


def encode_png(pixels: UInt8[np.ndarray, "c h w"]) -> bytes:
    """Return the pixels, grey or RGB, as the content of a PNG file."""
    _check_channels(len(pixels))
    values = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(file, "PNG")
    return file.getvalue()


def resized(
    pixels: UInt8[np.ndarray, "c h w"], height: int, width: int
) -> UInt8[np.ndarray, "c height width"]:
    """Return an image in another size, each channel interpolated linearly and smoothed where it shrinks.

    >>> resized(np.array([[[0, 100], [100, 200]]], np.uint8), 1, 1).tolist()
    [[[100]]]
    """
    planes = [Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR) for plane in pixels]
    return np.stack([np.asarray(plane) for plane in planes])


def _opened(content: bytes, who: str) -> tuple[Image.Image, Header]:
    """Return an image that is not decoded yet, after its header was found within the limits."""
    if not content:
        raise DataError(f"{who}: is empty (0 bytes); copy it again from where it was made")
    if len(content) > MAX_BYTES:
        raise _too_long(who, len(content))
    whole = checked(content, who)
    with _unwarned():
        try:
            image = Image.open(io.BytesIO(whole), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise DataError(f"{who}: has more than {MAX_PIXELS:,} pixels; scale it down first") from error
        _check_header(image, who)
        width, height = reversed(image.size) if _is_lying(image) else image.size
    return image, Header(height, width, grey=image.mode in GREY or image.mode.startswith("I;16"))


def _is_lying(image: Image.Image) -> bool:
    """Return whether width and height change places once the image is upright."""
    if image.format == "TIFF":  # told upright from the start
        return False
    if image.format == "PNG" and "exif" not in image.info:  # it would be decoded in search of one at its end
        return False
    return image.getexif().get(ExifTags.Base.Orientation) in LYING


def _upright(image: Image.Image) -> Image.Image:
    with _unwarned():
        if image.format == "TIFF":  # warns about its tags only now, and turns itself upright
            image.load()
    image.load()
    with _unwarned():
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _check_header(image: Image.Image, who: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(f"{who}: is {width} x {height} pixels, more than {MAX_PIXELS:,}; scale it down first")
    if getattr(image, "is_animated", False):
        raise several_frames(who)
    if image.mode not in PLAIN | ALPHA | COLOUR and not image.mode.startswith("I;16"):
        raise DataError(
            f"{who}: holds values of mode {image.mode}, which have no agreed black and white; "
            f"save it with 8 or 16 bits a channel"
        )
    if isinstance(image, TiffImageFile) and image.mode.startswith("I;16"):
        depth, photometric = image.tag_v2.get(BITSPERSAMPLE), image.tag_v2.get(PHOTOMETRIC_INTERPRETATION)
        if depth != (16,) or photometric != 1:
            raise DataError(
                f"{who}: is a TIFF of {depth} bits with photometric {photometric}; expected 16 bits where 0 "
                f"is black (photometric 1): save it so, or with 8 bits"
            )


def _plain(image: Image.Image) -> Image.Image:
    """Return the image in mode L or RGB, by the table at the top of this page."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ALPHA or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB") if image.mode in COLOUR else image


@contextlib.contextmanager
def _unwarned() -> Iterator[None]:
    """Keep Pillow's warnings from the user; one thread at a time, as the filters are the whole process's."""
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _told_plainly(who: str) -> Iterator[None]:
    """Turn whatever a decoder raises into one line that names the file."""
    try:
        yield
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(
            f"{who}: is no JPEG, PNG, BMP, TIFF or WebP image, or its header is damaged; "
            f"save it as one of them"
        ) from error
    except Exception as error:
        words = shown(str(error)) or type(error).__name__
        raise DataError(f"{who}: cannot be decoded: {words}; copy it again from where it was made") from error


def _check_channels(channels: int) -> None:
    if channels not in {1, 3}:
        raise UsageError(f"an image of {channels} channels: expected 1 (grey) or 3 (RGB)")


def _too_long(who: str, length: int) -> DataError:
    return DataError(f"{who}: is {length:,} bytes long, more than {MAX_BYTES:,}; scale it down first")
