"""How the files of a source are to be read."""

import re
from dataclasses import dataclass

from ..errors import UsageError

__all__ = ["Reading"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a person may say of a source's files; what is None is settled by the files.

    Args:
        image_size: height and width that every photo is brought to, in pixels.
        fit: "resize", "pad" or "crop": what becomes of a photo of another shape; see `Framing`.
        crop: x, y, width, height of the part that counts, in pixels of the upright photo.
        channels: 1 (grey) or 3 (RGB).
        bad_images: "stop" at the first file that is no image, or "skip" and list them all.
        group_by: a regular expression that is searched in a photo's name; what its first group (or else all
            of it) matches names the photo's group.

    Raises:
        UsageError: a value that cannot be meant; the option is named.
    """

    image_size: tuple[int, int] | None = None
    fit: str = "resize"
    crop: tuple[int, int, int, int] | None = None
    channels: int | None = None
    bad_images: str = "stop"
    group_by: str | None = None

    def __post_init__(self) -> None:
        if self.bad_images not in {"stop", "skip"}:
            raise UsageError(f"--bad-images {self.bad_images}: expected stop or skip")
        if self.fit not in {"resize", "pad", "crop"}:
            raise UsageError(f"--fit {self.fit}: expected resize, pad or crop")
        if self.group_by is not None:
            try:
                re.compile(self.group_by)
            except re.error as error:
                raise UsageError(f"--group-by {self.group_by}: is no regular expression: {error}") from error
