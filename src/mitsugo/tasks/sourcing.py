"""What a person may say of a source: how its files are read."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..data.reading import Reading
from ..data.sources import load
from ..errors import ModelError, UsageError, shown
from ..model.bundle import Model
from ..values import LabeledImages
from .parting import BY_CLASS, Rules
from .talk import SILENT, Talk

__all__ = ["AS_IT_IS", "SourceOptions", "for_model", "loaded", "parsed_source", "remade_source"]

NAMES = 5
TOLD = 1.5
"""Photos that shrink by so much are spoken of."""
PIXELS = {"grey": 1, "rgb": 3}
KEPT_APART = 0.15
"""Where classes are NG, so much is kept apart to set thresholds by, if nothing else is said."""
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
RULES = {"split": "kind", "keep_together": "together", "strict": "strict"}
"""Options, and the rules that they are."""


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What was said of a source.

    Args:
        reading: how its files are read.
        rules: how it is split.
        cache_budget: bytes that decoded photos may take on the disk; None: the usual; 0 keeps nothing.
        ng: the classes that are NG; all others are OK. None where nobody asks for escapes.
    """

    reading: Reading = field(default_factory=Reading)
    rules: Rules = BY_CLASS
    ng: tuple[str, ...] = ()
    cache_budget: int | None = None

    def plain(self) -> dict[str, Any]:
        """Return all but the budget as JSON values, for run.json."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key != "cache_budget"}


AS_IT_IS = SourceOptions()


def remade_source(document: dict[str, Any]) -> SourceOptions:
    """Return what run.json tells of.

    Raises:
        ModelError: it does not.
    """
    try:
        reading = dict(document["reading"])
        for name in ("image_size", "crop"):
            reading[name] = None if reading[name] is None else tuple(reading[name])
        return SourceOptions(
            reading=Reading(**reading), rules=Rules(**document["rules"]), ng=tuple(document["ng"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"how the source was read is not told as expected: {error}") from error


def parsed_source(said: Mapping[str, str | float | bool | None], ng: Sequence[str] = ()) -> SourceOptions:
    """Return what the options of the command line say.

    Args:
        said: image_size, fit, crop, pixels, bad_images, group_by, split, keep_together, strict,
            calibration, cache_budget; None, or no key, where nothing was said.
        ng: names of classes that are NG.

    Raises:
        UsageError: a value that cannot be meant; the option is named.
    """
    known: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if "image_size" in known:
        known["image_size"] = _size(known["image_size"])
    if "crop" in known:
        known["crop"] = _crop(known["crop"])
    if (pixels := known.pop("pixels", None)) is not None:
        if pixels not in PIXELS:
            raise UsageError(f"--pixels {shown(pixels)}: expected grey or rgb")
        known["channels"] = PIXELS[pixels]
    budget = known.pop("cache_budget", None)
    share = known.pop("calibration", None)
    rules: dict[str, Any] = {to: known.pop(name) for name, to in RULES.items() if name in known}
    return SourceOptions(
        reading=Reading(**known),
        rules=Rules(**rules, calibration=_share(share, ng)),
        ng=tuple(ng),
        cache_budget=None if budget is None else _bytes(budget),
    )


def for_model(options: SourceOptions, model: Model) -> SourceOptions:
    """Return options that make of photos what the model's own became."""
    framing = model.framing
    if framing is None:
        return options
    reading = dataclasses.replace(
        options.reading,
        image_size=(framing.height, framing.width),
        fit=framing.fit,
        crop=framing.crop,
        channels=framing.channels,
    )
    return dataclasses.replace(options, reading=reading)


def loaded(source: str, options: SourceOptions = AS_IT_IS, talk: Talk = SILENT) -> LabeledImages:
    """Load a source as it was said, and tell what was left out.

    Raises:
        UsageError: options that the source has no use for.
        DataError: a source that cannot be used.
    """
    images = load(
        source, options.reading, tell=talk.reading, warn=talk.warn, cache_budget=options.cache_budget
    )
    if images.intake is None:
        return images
    if images.intake.shrunk >= TOLD:
        times = f"{images.intake.shrunk:.1f}".removesuffix(".0")
        talk.say(
            f"photos shrink {times}x: marks under {times} px become less than one pixel; a larger "
            f"--image-size, or a --crop of the part that counts, keeps them"
        )
    skipped = images.intake.skipped
    if skipped:
        some = "; ".join(f"{shown(name)}: {why}" for name, why in skipped[:NAMES])
        more = f"; and {len(skipped) - NAMES} more, all in run.json" if len(skipped) > NAMES else ""
        talk.warn(f"{len(skipped):,} files were left out: {some}{more}")
    return images


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", text)
    if not found:
        raise UsageError(
            f"--image-size {shown(text)}: expected a side in pixels or WIDTHxHEIGHT, as 128 or 160x96"
        )
    width = int(found[1])
    return int(found[2] or width), width


def _crop(text: str) -> tuple[int, int, int, int]:
    if not re.fullmatch(r"\d{1,9}(,\d{1,9}){3}", text):
        raise UsageError(f"--crop {shown(text)}: expected x,y,width,height in pixels, as 100,50,640,480")
    x, y, width, height = map(int, text.split(","))
    return x, y, width, height


def _share(
    said: Any,  # noqa: ANN401 - checked before
    ng: Sequence[str],
) -> float:
    """Return what is kept apart to calibrate on: what was said, or where classes are NG the usual share."""
    if said is None:
        return KEPT_APART if ng else 0.0
    return float(said)


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)([kmgt]?)(?:i?b)?", text.strip().lower())
    if not found:
        raise UsageError(f"--cache-budget {shown(text)}: expected bytes as 500M or 20G; 0 keeps nothing")
    return int(float(found[1]) * UNITS[found[2]])
