"""Images for the page: one sprite for all thumbnails, single ones as data URIs, small whatever came in."""

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

__all__ = ["Sprite", "data_uri", "image_of", "image_uri", "sprite_of"]

SPRITE_PIXELS = 8_000_000  # 10,000 thumbnails of 28 x 28; every browser holds such an image
LARGEST_TILE = 96
LARGEST_IMAGE = 192
DRAWN_EXACTLY = 32  # up to this side an image is kept to the pixel; above it is a photo
QUALITY = 85


@dataclass(frozen=True, kw_only=True)
class Sprite:
    """One image that holds many: `columns` tiles a row, each `width` x `height` pixels."""

    uri: str
    columns: int
    width: int
    height: int


def image_of(pixels: UInt8[np.ndarray, "c h w"]) -> Image.Image:
    """Return an image: of 1 channel grey, of 3 colour, of any other number the mean of them, grey."""
    if pixels.shape[0] == 3:
        return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    return Image.fromarray(np.ascontiguousarray(pixels.mean(axis=0).round().astype(np.uint8)))


def sprite_of(thumbnails: UInt8[np.ndarray, "n c h w"]) -> Sprite:
    """Lay thumbnails out row by row in one image, made smaller where they would not fit the page."""
    count, channels, height, width = thumbnails.shape
    longest = min(LARGEST_TILE, max(1, math.isqrt(SPRITE_PIXELS // max(count, 1))))
    width, height = _fitted(width, height, longest)
    columns = max(1, math.ceil(math.sqrt(count)))
    sheet = Image.new(
        "RGB" if channels == 3 else "L", (columns * width, max(1, -(-count // columns)) * height)
    )
    for index in range(count):
        row, column = divmod(index, columns)
        tile = image_of(thumbnails[index])
        if tile.size != (width, height):
            tile = tile.resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(tile, (column * width, row * height))
    photo = channels == 3 or max(thumbnails.shape[2:]) > DRAWN_EXACTLY  # small colour images are photos, too
    return Sprite(uri=_encoded(sheet, photo=photo), columns=columns, width=width, height=height)


def image_uri(pixels: UInt8[np.ndarray, "c h w"]) -> str:
    """Return one image as a data URI, made smaller where it is larger than it is shown."""
    image = image_of(pixels)
    photo = max(image.size) > DRAWN_EXACTLY
    if max(image.size) > LARGEST_IMAGE:
        image = image.resize(_fitted(*image.size, LARGEST_IMAGE), Image.Resampling.LANCZOS)
    return _encoded(image, photo=photo)


def data_uri(kind: str, content: bytes) -> str:
    """Return bytes as a data URI.

    >>> data_uri("text/plain", b"a")
    'data:text/plain;base64,YQ=='
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _fitted(width: int, height: int, longest: int) -> tuple[int, int]:
    shrink = min(1.0, longest / max(width, height))
    return max(1, int(width * shrink)), max(1, int(height * shrink))


def _encoded(image: Image.Image, *, photo: bool) -> str:
    buffer = io.BytesIO()
    if photo:
        image.save(buffer, "JPEG", quality=QUALITY)
        return data_uri("image/jpeg", buffer.getvalue())
    image.save(buffer, "PNG", optimize=True)
    return data_uri("image/png", buffer.getvalue())
