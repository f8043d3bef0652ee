"""Photos of any size -> images of one: cut out, brought to size, grey or colour."""

import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
from PIL import Image

from ..errors import DataError, shown
from ..shapes import UInt8
from ..values import Caution, Framing
from ..values.intake import LARGEST_SIDE
from .images import Header, decode, decoded, file_content, resized, values_of
from .reading import Reading

__all__ = ["Framed", "chosen_framing", "decode_as", "decode_framed", "framed", "read_framed"]

GREY: Final = 128
"""What a padded photo is laid on: drawn-out edges would look like a part of the part."""
KEPT: Final = 64
"""Photos of one size up to so many pixels high and wide stay as they are."""
LARGEST: Final = 128
"""The shorter side of an image is no longer than this where nobody asks for more."""
FINER: Final = 2
"""A photo is decoded at so many times the size it is brought to, at least, and then smoothed down."""


class Framed(NamedTuple):
    """An image of the set, and what became of the photo.

    `shrunk` says how many times as wide or high (what is more) a mark was in the photo; `constant` that the
    photo shows one value all over.
    """

    pixels: UInt8[np.ndarray, "c h w"]
    shrunk: float
    constant: bool


def read_framed(path: Path, framing: Framing) -> UInt8[np.ndarray, "c h w"]:
    """Read one photo as an image of the set.

    Raises:
        DataError: the file is no image that is taken (see `images`), or smaller than the crop.
    """
    return decode_framed(file_content(path)[0], os.fspath(path), framing).pixels


def decode_framed(content: bytes, name: str, framing: Framing) -> Framed:
    """Decode the content of an image file and frame it.

    A JPEG that shrinks to less than half is decoded at a half, a quarter or an eighth of its size, which must
    stay twice the image's or more, where its sides and the crop's are whole then: nearly the same pixels for
    half the time.

    Raises:
        DataError: it is no image that is taken (see `images`), or smaller than the crop.
    """

    def divisor(height: int, width: int) -> Literal[1, 2, 4, 8]:
        _check_crop(height, width, framing, name)
        return _divisor(height, width, framing)

    photo, header = decoded(content, name, framing.channels, divisor)
    _check_crop(header.height, header.width, framing, name)
    return _framed(photo, header, framing)


def decode_as(
    content: bytes,
    name: str,
    image_shape: tuple[int, int, int],
    framing: Framing | None,
    *,
    resize: bool,
) -> tuple[UInt8[np.ndarray, "c h w"], tuple[str, ...]]:
    """Decode the content of an image file as a model takes it: framed as its training photos were, or as is.

    Args:
        content: of the file.
        name: what errors call it.
        image_shape: channels, height and width.
        framing: of the training photos; None where images came as they are.
        resize: without a framing, bring an image of another size to the model's.

    Returns:
        The pixels, and what should be known of them.

    Raises:
        DataError: it is no image that is taken (see `images`), or of another size.
    """
    if framing is not None:
        return decode_framed(content, name, framing).pixels, ()
    channels, height, width = image_shape
    image = decode(content, name, channels)
    if image.shape[1:] == (height, width):
        return image, ()
    found = f"{image.shape[2]}x{image.shape[1]}"
    if not resize:
        raise DataError(
            f"{shown(name)}: is {found} pixels, the model takes {width}x{height}; "
            f"cut or scale it, or give --resize"
        )
    to = f"{width}x{height}"
    caution = Caution(f"resized from {found} to {to}", "resized", found=found, to=to)
    return resized(image, height, width), (caution,)


def framed(image: UInt8[np.ndarray, "c height width"], framing: Framing) -> UInt8[np.ndarray, "c h w"]:
    """Cut, scale and lay out one photo of as many channels as the framing has.

    First the crop is cut out. Then "resize" stretches it to the size; "pad" scales it until it fits and lays
    it on the middle of mid-grey; "crop" cuts out the largest part of the size's shape, the middle, and scales
    that. Scaled is as `images.resized` does.

    Raises:
        DataError: the crop lies outside the photo.

    >>> photo = np.array([[[0, 100, 100, 200]]], np.uint8)
    >>> framed(photo, Framing(channels=1, height=1, width=1)).tolist()
    [[[100]]]
    >>> framed(photo, Framing(channels=1, height=1, width=1, crop=(1, 0, 1, 1))).tolist()
    [[[100]]]
    """
    channels, height, width = image.shape
    assert channels == framing.channels, "the photo is grey or colour as the framing is"
    _check_crop(height, width, framing, "the photo")
    photo = Image.fromarray(image[0] if channels == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
    return _framed(photo, Header(height, width, grey=channels == 1), framing).pixels


def chosen_framing(headers: Sequence[Header], reading: Reading) -> Framing:
    """Settle what a person left open, by the headers of some photos.

    Photos all of one size up to 64 pixels keep it. Else the shorter side is the median photo's, at most 128;
    the image is a square, or, where all photos have one shape, of that shape. With a crop its size counts.
    Images are grey where all these photos are.

    Args:
        headers: of the photos; what needs none may come without.
        reading: what was said.

    >>> chosen_framing([Header(960, 1280, True), Header(480, 640, True)], Reading())
    Framing(channels=1, height=128, width=171, fit='resize', crop=None)
    """
    channels = reading.channels or (1 if all(header.grey for header in headers) else 3)
    sizes = [(header.height, header.width) for header in headers]
    if reading.crop is not None:
        sizes = [(reading.crop[3], reading.crop[2])]
    height, width = reading.image_size or _chosen_size(sizes)
    return Framing(channels=channels, height=height, width=width, fit=reading.fit, crop=reading.crop)


def _chosen_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    first = sizes[0]
    if max(first) <= KEPT and len(set(sizes)) == 1:
        return first
    shorter = min(LARGEST, statistics.median_low(min(size) for size in sizes))
    if any(height * first[1] != width * first[0] for height, width in sizes):
        return shorter, shorter
    height, width = (min(LARGEST_SIDE, round(side * shorter / min(first))) for side in first)
    return height, width


def _framed(photo: Image.Image, header: Header, framing: Framing) -> Framed:
    """Frame a photo that may be decoded at a part of its size already."""
    part = header.width // photo.width
    if framing.crop is not None:
        x, y, width, height = (side // part for side in framing.crop)
        photo = photo.crop((x, y, x + width, y + height))
    if framing.fit == "crop":
        photo = _middle(photo, framing)
    height, width = _scaled(photo.height, photo.width, framing)
    ratio = part * max(photo.height / height, photo.width / width)
    scaled = photo.resize((width, height), Image.Resampling.BILINEAR)
    constant = _is_constant(scaled) and _is_constant(photo)
    pixels = values_of(scaled)
    if pixels.shape[1:] != (framing.height, framing.width):
        pixels = _laid_on_grey(pixels, framing)
    return Framed(pixels, ratio, constant)


def _is_constant(photo: Image.Image) -> bool:
    return all(low == high for low, high in np.reshape(photo.getextrema(), (-1, 2)).tolist())


def _middle(photo: Image.Image, framing: Framing) -> Image.Image:
    """Cut out the largest part of the image's shape."""
    width = min(photo.width, max(1, round(photo.height * framing.width / framing.height)))
    height = min(photo.height, max(1, round(photo.width * framing.height / framing.width)))
    x, y = (photo.width - width) // 2, (photo.height - height) // 2
    return photo.crop((x, y, x + width, y + height))


def _scaled(height: int, width: int, framing: Framing) -> tuple[int, int]:
    """Return the height and width that a photo is scaled to."""
    if framing.fit != "pad":
        return framing.height, framing.width
    scale = min(framing.height / height, framing.width / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _laid_on_grey(
    scaled: UInt8[np.ndarray, "c height width"], framing: Framing
) -> UInt8[np.ndarray, "c h w"]:
    whole = np.full((framing.channels, framing.height, framing.width), GREY, np.uint8)
    _, height, width = scaled.shape
    y, x = (framing.height - height) // 2, (framing.width - width) // 2
    whole[:, y : y + height, x : x + width] = scaled
    return whole


def _divisor(height: int, width: int, framing: Framing) -> Literal[1, 2, 4, 8]:
    """Return at what part of its size a photo may be decoded: every place in it stays a whole pixel."""
    places = (height, width, *(framing.crop or ()))
    if framing.crop is not None:
        _, _, width, height = framing.crop
    high, wide = _scaled(height, width, framing)
    ratio = min(height / high, width / wide)
    for part in (8, 4, 2):
        if ratio >= FINER * part and all(place % part == 0 for place in places):
            return part
    return 1


def _check_crop(height: int, width: int, framing: Framing, name: str) -> None:
    if framing.crop is None:
        return
    x, y, wide, high = framing.crop
    if x + wide > width or y + high > height:
        raise DataError(
            f"{shown(name)}: is {width} x {height} pixels, but --crop {x},{y},{wide},{high} reaches to "
            f"{x + wide}, {y + high}; name a part that lies inside of every photo"
        )
