"""What every figure shares: fonts that write Japanese, a style that leaks nowhere, PNG out."""

import contextlib
import importlib.util
import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import matplotlib.style
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from .palette import GROUND, TEXT
from .wording import legible

__all__ = [
    "DOTS_PER_INCH",
    "axes_at",
    "display_width",
    "drawable",
    "drawing",
    "plain",
    "png_of",
    "say",
    "shortened",
]

DOTS_PER_INCH = 150
FAMILY = ["DejaVu Sans", "IPAexGothic"]
JAPANESE_FONT = "fonts/ipaexg.ttf"
STYLE = {
    "font.family": FAMILY,
    "font.size": 10,
    "figure.facecolor": GROUND["light"],
    "text.color": TEXT["light"],
    "axes.labelcolor": TEXT["light"],
    "axes.edgecolor": "#8a9197",
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.unicode_minus": True,
    "xtick.color": TEXT["light"],
    "ytick.color": TEXT["light"],
}


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Draw in the report's own style, whatever the user's settings are; they are as they were afterwards."""
    _add_japanese_font()
    with matplotlib.style.context(["default", STYLE]):
        yield


def axes_at(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Return axes at (left, bottom, width, height), in inches."""
    across, up = figure.get_size_inches()
    left, bottom, width, height = box
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def say(axes: Axes, sentence: str) -> None:
    """Write a sentence where there is nothing to draw."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, sentence, transform=axes.transAxes, ha="center", va="center")


def png_of(figure: Figure) -> bytes:
    """Return a figure as PNG, of its own size to the pixel, without the library's version in it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def drawable(text: str) -> str:
    r"""Return `text` with what the fonts cannot draw written as its escape: no empty box stands for it.

    >>> drawable("傷 🚗")
    '傷 \\U0001f697'
    """
    known = _drawable_letters()
    return "".join(letter if ord(letter) in known else ascii(letter)[1:-1] for letter in legible(text))


def shortened(text: str, longest: int = 18) -> str:
    """Return what can be drawn of `text`, cut to `longest` letters of which a Japanese one counts twice.

    >>> shortened("connecting rod", 8), shortened("連結棒の傷", 8)
    ('connect…', '連結棒…')
    """
    letters = drawable(text)
    if display_width(letters) <= longest:
        return letters
    while display_width(letters) > longest - 1:
        letters = letters[:-1]
    return letters + "…"


def plain(*texts: Text) -> None:
    """Take dollar signs in names for dollar signs, not for formulas."""
    for text in texts:
        text.set_parse_math(False)


def display_width(text: str) -> int:
    """Return how wide a text is in letters, of which a Japanese one counts twice."""
    return sum(2 if ord(letter) >= 0x2E80 else 1 for letter in text)


def _japanese_font() -> Path:
    package = importlib.util.find_spec(
        "matplotlib_fontja"
    )  # found, not imported: its import changes the style of all
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / JAPANESE_FONT


def _add_japanese_font() -> None:
    known = {entry.name for entry in font_manager.fontManager.ttflist}
    if FAMILY[-1] not in known:
        font_manager.fontManager.addfont(_japanese_font())


@cache
def _drawable_letters() -> frozenset[int]:
    _add_japanese_font()
    paths = [font_manager.findfont(name, fallback_to_default=False) for name in FAMILY]
    return frozenset().union(*(font_manager.get_font(path).get_charmap() for path in paths))
