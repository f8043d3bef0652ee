"""How images are split: by which rules, and what the guard found on both sides."""

from dataclasses import dataclass
from typing import Final, Literal, cast

import numpy as np

from ..data.duplicates import Twins, equal_images, fingerprints, twins_of
from ..data.grouping import likely_series
from ..data.guard import Findings, findings, units
from ..data.splits import drawn_split, kept_apart
from ..errors import DataError, UsageError, shown
from ..values import LabeledImages, Split
from .talk import Talk

__all__ = ["BY_CLASS", "Parted", "Rules", "equal_alone", "parted", "tell"]

KINDS: Final = ("stratified", "unseen-classes")
TOGETHER: Final = ("equal", "near")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How images are split where their source does not say.

    Args:
        kind: "stratified" by class, or "unseen-classes": whole classes are held out.
        together: what never stands on both sides, beside groups: "equal" pixels, or "near" duplicates, too.
        strict: whether contradictory labels, and equal images or groups on both sides, stop the work.
        calibration: the share of the images that is kept apart, to set thresholds by; 0 keeps none.

    Raises:
        UsageError: another word.
    """

    kind: str = "stratified"
    together: str = "equal"
    strict: bool = False
    calibration: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"--split {shown(self.kind)}: expected stratified or unseen-classes")
        if self.together not in TOGETHER:
            raise UsageError(f"--keep-together {shown(self.together)}: expected equal or near")
        if not 0 <= self.calibration < 1:
            raise UsageError(
                f"--calibration {self.calibration}: expected a share from 0 to less than 1, as 0.15"
            )


BY_CLASS = Rules()


@dataclass(frozen=True, kw_only=True, eq=False)
class Parted:
    """A split, and what the guard found in it."""

    split: Split
    found: Findings


def parted(images: LabeledImages, rules: Rules, validation_share: float, seed: int) -> Parted:
    """Split by the rules; where a part to choose by would show one class alone, nothing is chosen.

    Near-duplicates are looked for among photos alone: small pictures of one kind, as of digits, all look
    alike to a perceptual hash. `--keep-together near` asks for them anywhere.

    Raises:
        DataError: there are no images.
        UsageError: what is to be kept together, or held out, cannot be.
    """
    looks = images.intake is not None or rules.together == "near"
    twins = twins_of(images.pixels) if looks else equal_alone(images)
    together = units(images, twins, cast("Literal['equal', 'near']", rules.together))
    kind = cast("Literal['stratified', 'unseen-classes']", rules.kind)
    split = drawn_split(images, together, seed=seed, kind=kind, validation_share=validation_share)
    if validation_share and len(np.unique(images.labels[split.validation])) < 2:
        split = drawn_split(images, together, seed=seed, kind=kind)
    if rules.calibration:
        split = kept_apart(images, together, split, rules.calibration, seed)
    return Parted(split=split, found=findings(images, twins, split))


def tell(images: LabeledImages, found: Findings, rules: Rules, talk: Talk) -> None:
    """Tell before training what will flatter the scores, and what is good to know of the images.

    Raises:
        DataError: labels contradict each other, or something stands on both sides, and the rules are strict.
    """
    for line in found.notes():
        talk.say(line)
    series = None
    if images.intake is not None and images.groups is None:
        series = likely_series(images.names, images.labels)
    if series is not None:
        one, other = map(shown, series.example)
        talk.warn(
            f"the names look like several photos each of {series.groups:,} parts, as {one} and {other}: "
            f"photos of one part on both sides of the split flatter the scores, often by tens of points; "
            f"if they are, give --group-by '{series.pattern}'"
        )
    warnings = found.warnings()
    if rules.strict and not found.strict:
        raise DataError(f"--strict: {warnings[0]}")
    for line in warnings:
        talk.warn(line)


def equal_alone(images: LabeledImages) -> Twins:
    """Return which images are equal; what looks nearly the same is not looked for."""
    equal = equal_images(fingerprints(images.pixels))
    return Twins(equal=equal, look=equal, near=np.empty((0, 2), np.int64))
