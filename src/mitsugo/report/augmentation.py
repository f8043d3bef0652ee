"""A sheet of what training sees: a row an image, first the image itself, then what became of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image

from ..files import write_bytes
from .drawing import DOTS_PER_INCH, display_width, drawable, drawing, plain, png_of, shortened
from .palette import TEXT
from .sprites import image_of

__all__ = ["draw_augmentation"]

SIDE = 144  # pixels of the sheet that the longer side of a picture takes, or the nearest whole multiple
SHARP_UP_TO = (
    64  # pixels a side; below it the pixels themselves are shown, each a whole number of the sheet's
)
WHITE = np.uint8(255)
EDGE, GAP, MARGIN = 3, 14, 36
FIRST_LINE, LINE, BELOW_TITLE, BELOW_HEADINGS = 44, 34, 50, 32
TITLE_LETTER, NAME_LETTER = 13.8, 12.5  # pixels, at most on average
LONGEST_NAME = 26
NARROWEST = 720
ORIGINAL_EDGE, VARIANT_EDGE = (0, 114, 178), (154, 163, 169)
ORIGINAL_COLOR, QUIET_COLOR = "#0072b2", "#59636b"

Canvas = UInt8[np.ndarray, "y x 3"]


def draw_augmentation(
    originals: UInt8[np.ndarray, "r c h w"],
    variants: UInt8[np.ndarray, "r v c h w"],
    labels: Sequence[str],
    path: Path,
    title: str,
) -> None:
    """Write a PNG sheet of images and their variants, whole or not at all.

    Args:
        originals: (r, c, h, w), the images as they are; each begins a row.
        variants: (r, v, c, h, w), v of each that were changed at random.
        labels: the name of each row, as of its class; what is too long is cut.
        path: the file; an old one is replaced.
        title: stands above, in as many lines as it takes.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written. The old file is as it was.
    """
    assert len(labels) == len(originals) == len(variants)
    width, height = size = _size(originals.shape[3], originals.shape[2])
    names = [shortened(label, LONGEST_NAME) for label in labels]
    left = MARGIN + round(NAME_LETTER * max((display_width(name) for name in names), default=0)) + GAP
    lefts = [left + place * (width + GAP) + (place > 0) * GAP for place in range(variants.shape[1] + 1)]
    wide = max(lefts[-1] + width + MARGIN, NARROWEST)
    lines = _lines(title, int((wide - 2 * MARGIN) / TITLE_LETTER))
    headings = FIRST_LINE + LINE * (len(lines) - 1) + BELOW_TITLE
    tops = [headings + BELOW_HEADINGS + row * (height + GAP) for row in range(len(names))]
    canvas = np.full((headings + BELOW_HEADINGS + len(names) * (height + GAP) + MARGIN - GAP, wide, 3), WHITE)
    for row, top in enumerate(tops):
        _place(canvas, originals[row], (lefts[0], top), size, ORIGINAL_EDGE)
        for start, variant in zip(lefts[1:], variants[row], strict=True):
            _place(canvas, variant, (start, top), size, VARIANT_EDGE)
    words = [_Words(MARGIN, FIRST_LINE + LINE * place, line, 11) for place, line in enumerate(lines)]
    words += [_Words(lefts[0], headings, "original", 8.5, ORIGINAL_COLOR)]
    words += [_Words(start, headings, "as training may see it", 8.5, QUIET_COLOR) for start in lefts[1:2]]
    words += [_Words(MARGIN, top + height / 2, name, 10) for top, name in zip(tops, names, strict=True)]
    write_bytes(path, _png(canvas, words))


class _Words(NamedTuple):
    left: float
    middle: float
    text: str
    size: float
    color: str = TEXT["light"]


def _lines(text: str, longest: int) -> list[str]:
    lines = [""]
    for word in drawable(text).split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and display_width(longer) > longest:
            lines.append(word)
        else:
            lines[-1] = longer
    return [shortened(line, longest) for line in lines]


def _size(width: int, height: int) -> tuple[int, int]:
    longest = max(width, height)
    scale = max(1, round(SIDE / longest)) if longest <= SHARP_UP_TO else SIDE / longest
    return max(1, round(width * scale)), max(1, round(height * scale))


def _place(
    canvas: Canvas,
    pixels: UInt8[np.ndarray, "c h w"],
    corner: tuple[int, int],
    size: tuple[int, int],
    edge: tuple[int, int, int],
) -> None:
    sharp = max(pixels.shape[1:]) <= SHARP_UP_TO
    smoothing = Image.Resampling.NEAREST if sharp else Image.Resampling.LANCZOS
    (left, top), (width, height) = corner, size
    canvas[top - EDGE : top + height + EDGE, left - EDGE : left + width + EDGE] = edge
    canvas[top : top + height, left : left + width] = image_of(pixels).convert("RGB").resize(size, smoothing)


def _png(canvas: Canvas, texts: Sequence[_Words]) -> bytes:
    high, wide = canvas.shape[:2]
    with drawing():
        figure = Figure(figsize=(wide / DOTS_PER_INCH, high / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
        figure.figimage(canvas, origin="upper")  # to the pixel, where axes would resample
        for words in texts:
            drawn = figure.text(words.left / wide, 1 - words.middle / high, words.text, va="center_baseline")
            drawn.set(fontsize=words.size, color=words.color)
            plain(drawn)
        return png_of(figure)
