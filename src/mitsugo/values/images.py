"""Images with what they show, and which of them train, choose and test."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .frozen import freeze
from .intake import Intake
from .pixels import LazyPixels, picked

__all__ = ["LabeledImages", "Split"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Which images train, which ones choices are made on, and which ones are looked at once, at the end.

    Args:
        train: int64 (m,), indices of the training images.
        validation: int64 (m,), indices of the validation images. Either apart from `test`, or the very
            same array: then nothing may be chosen by it.
        test: int64 (m,), indices of the test images.
        how: one sentence for run.json that says how the split was made.
        unseen: whether the test classes are none of the training classes: queries then find their class among
            the other test images.
        validation_unseen: likewise of the validation classes.
        calibration: int64 (m,), indices of images that are kept apart, to set thresholds by later.

    Raises:
        DataError: an index stands on both sides, twice on one, or is negative.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    how: str
    unseen: bool = False
    validation_unseen: bool = False
    calibration: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test", "calibration"):
            part = getattr(self, name)
            if part.ndim != 1 or part.dtype != np.int64:
                raise DataError(f"split part {name} is {part.dtype} {part.shape}, expected int64 (m,)")
            if part.size and (part.min() < 0 or np.unique(part).size != part.size):
                raise DataError(f"split part {name} has a negative or a repeated index")
        sides = [("train", "test"), ("train", "validation")]
        sides += [("calibration", part) for part in ("train", "validation", "test")]
        if not self.validation_is_test:
            sides.append(("validation", "test"))
        for one, other in sides:
            shared = np.intersect1d(getattr(self, one), getattr(self, other))
            if shared.size:
                raise DataError(f"image {shared[0]} stands in {one} and in {other}; a split keeps them apart")
        freeze(self)

    @property
    def parts(self) -> tuple[NDArray[np.int64], ...]:
        """The parts: train, validation, test and calibration."""
        return self.train, self.validation, self.test, self.calibration

    @property
    def validation_is_test(self) -> bool:
        """Whether the curves are drawn on the test images, as the walk-through does."""
        return self.validation.size > 0 and np.array_equal(self.validation, self.test)


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledImages:
    """Pixels and what they show.

    Args:
        pixels: uint8 (n, c, h, w), an array, a memory map, or rows that are read when they are asked for.
        labels: int64 (n,), indices into `class_names`.
        class_names: a name for each class, all different.
        names: n names of the images, as a person would look them up.
        groups: int64 (n,) or None: images of one group (a part, a lot) never stand on both sides of a split.
        split: the split that the source came with, if any.
        group_names: a name for each group, where they have names.
        intake: how the files were read, where the images come from files.

    Raises:
        DataError: shapes that do not fit together, labels outside the class names.
    """

    pixels: NDArray[np.uint8] | LazyPixels
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    groups: NDArray[np.int64] | None = None
    split: Split | None = None
    group_names: tuple[str, ...] = ()
    intake: Intake | None = None

    def __post_init__(self) -> None:
        n = len(self.names)
        if self.pixels.ndim != 4 or self.pixels.dtype != np.uint8:
            raise DataError(f"pixels: {self.pixels.dtype} {self.pixels.shape}, expected uint8 (n, c, h, w)")
        if self.labels.dtype != np.int64 or self.labels.shape != (n,) or len(self.pixels) != n:
            raise DataError(
                f"{len(self.pixels)} images, labels {self.labels.dtype} {self.labels.shape} and {n} names: "
                f"expected one int64 label and one name an image"
            )
        if len(set(self.class_names)) != len(self.class_names):
            raise DataError("two classes have the same name; give each its own")
        if n and not 0 <= self.labels.min() <= self.labels.max() < len(self.class_names):
            raise DataError(
                f"labels run from {self.labels.min()} to {self.labels.max()}, "
                f"but there are {len(self.class_names)} class names"
            )
        if self.groups is not None and (self.groups.shape != (n,) or self.groups.dtype != np.int64):
            raise DataError(f"groups are {self.groups.dtype} {self.groups.shape}, expected int64 ({n},)")
        if (
            self.groups is not None
            and self.group_names
            and n
            and not (0 <= self.groups.min() <= self.groups.max() < len(self.group_names))
        ):
            raise DataError(f"a group lies outside the {len(self.group_names)} group names")
        parts = () if self.split is None else self.split.parts
        if any(part.max(initial=-1) >= n for part in parts):
            raise DataError(f"the split names images beyond the {n} that there are")
        freeze(self)

    def __len__(self) -> int:
        return len(self.names)

    def take(self, indices: NDArray[np.int64]) -> "LabeledImages":
        """Return the images of these indices, in their order, without a split; lazy pixels stay lazy."""
        return LabeledImages(
            pixels=picked(self.pixels, indices),
            labels=self.labels[indices],
            class_names=self.class_names,
            names=tuple(self.names[i] for i in indices.tolist()),
            groups=None if self.groups is None else self.groups[indices],
            group_names=self.group_names,
            intake=self.intake,
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width
