"""How files of any size became images of one, and what was found on the way."""

from dataclasses import dataclass
from typing import Final, Literal

from ..errors import UsageError

__all__ = ["Framing", "Intake"]

LARGEST_SIDE: Final = 4096


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How a photo becomes an image of the set: cut out, brought to its size, then grey or colour.

    Args:
        channels: 1 (grey) or 3 (RGB).
        height: of the image, in pixels.
        width: likewise.
        fit: a photo of another shape is stretched ("resize"), laid on grey ("pad"), or its middle is cut out
            ("crop"); in all three it is scaled, never only cut.
        crop: x, y, width, height of the part of the upright photo that counts, in its pixels; None: all.

    Raises:
        UsageError: a size that no image has.
    """

    channels: int
    height: int
    width: int
    fit: str = "resize"
    crop: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.channels not in {1, 3}:
            raise UsageError(f"images of {self.channels} channels: expected 1 (grey) or 3 (RGB)")
        for side in (self.height, self.width):
            if not 1 <= side <= LARGEST_SIDE:
                raise UsageError(f"--image-size {side}: expected 1 to {LARGEST_SIDE} pixels")
        if self.fit not in {"resize", "pad", "crop"}:
            raise UsageError(f"--fit {self.fit}: expected resize, pad or crop")
        if self.crop is not None and not (min(self.crop[:2]) >= 0 and min(self.crop[2:]) >= 1):
            raise UsageError(
                f"--crop {','.join(map(str, self.crop))}: expected x,y,width,height of the part that counts, "
                f"x and y from 0, width and height from 1"
            )


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What was found while the files of a source were read.

    Args:
        framing: what every photo went through; new photos go through it, too.
        skipped: name and reason of each file that was left out.
        shrunk: the median photo is so many times as wide (or high, what is more) as what became of it.
        stored: where the pixels are: "memory", "cache" or "files" (decoded anew at each use).
    """

    framing: Framing
    skipped: tuple[tuple[str, str], ...] = ()
    shrunk: float = 1.0
    stored: Literal["memory", "cache", "files"] = "memory"
