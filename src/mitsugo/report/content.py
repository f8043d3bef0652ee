"""What a report is made from: frozen values, validated once, at birth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..values import Gap, LearningPoint, Scores, freeze
from .wording import legible

__all__ = ["EpochPoint", "MapPoints", "Mistake", "NearImage", "ReportContent"]


@dataclass(frozen=True, kw_only=True)
class EpochPoint:
    """One point of the loss curves.

    Args:
        epoch: counted from 1.
        train_loss: mean of the epoch's batch means, taken while training.
        validation_loss: the same in evaluation mode, or None where there are no validation images.

    Raises:
        DataError: a loss that is not finite, an epoch before the first.
    """

    epoch: int
    train_loss: float
    validation_loss: float | None

    def __post_init__(self) -> None:
        if self.epoch < 1:
            raise DataError(f"epoch {self.epoch} in the history, expected 1 or later")
        for loss in (self.train_loss, self.validation_loss):
            if loss is not None and not math.isfinite(loss):
                raise DataError(f"the loss of epoch {self.epoch} is {loss}, expected a finite number")


@dataclass(frozen=True, kw_only=True, eq=False)
class MapPoints:
    """The embedding, flat: what the scatter shows.

    Args:
        flat: float32 (n, 2), positions.
        labels: int64 (n,), the true classes.
        predicted: int64 (n,), the classes that the neighbours voted for.
        trust: floating (n,), from 0 to 1: 1 where a point's neighbours in the picture are its neighbours in
            the embedding, too.
        names: n names of the images.
        thumbnails: uint8 (n, c, h, w), the images themselves.
        total: how many images there are, of which these n are shown.
        direct: whether the embedding has two dimensions and is drawn as it is; otherwise it was projected.
        method: how it was projected, in a word or two.
        trustworthiness: the mean of `trust` over all points that were measured, from 0 to 1.

    Raises:
        DataError: shapes that do not fit together, numbers outside their range.
    """

    flat: NDArray[np.float32]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    trust: NDArray[np.floating]
    names: tuple[str, ...]
    thumbnails: NDArray[np.uint8]
    total: int
    direct: bool
    method: str
    trustworthiness: float

    def __post_init__(self) -> None:
        n = len(self.names)
        _expect("map positions", self.flat, (n, 2), np.float32)
        _expect("map labels", self.labels, (n,), np.int64)
        _expect("map predictions", self.predicted, (n,), np.int64)
        _expect("map trust", self.trust, (n,), np.floating)
        _expect("map thumbnails", self.thumbnails, (n, *self.thumbnails.shape[1:4]), np.uint8)
        if self.thumbnails.ndim != 4 or 0 in self.thumbnails.shape[1:]:
            raise DataError(f"map thumbnails have shape {self.thumbnails.shape}, expected (n, c, h, w)")
        if not np.isfinite(self.flat).all():
            raise DataError("a position on the map is not finite; the projection went wrong")
        if not ((self.trust >= 0) & (self.trust <= 1)).all():
            raise DataError("a trust on the map lies outside 0 to 1")
        if not 0 <= self.trustworthiness <= 1:
            raise DataError(f"the map's trustworthiness is {self.trustworthiness}, expected 0 to 1")
        if self.total < n:
            raise DataError(f"the map shows {n} of {self.total} images; it cannot show more than there are")
        freeze(self)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True, eq=False)
class NearImage:
    """A gallery image near a mistake: uint8 (c, h, w), its name, class and distance."""

    thumbnail: NDArray[np.uint8]
    name: str
    label: int
    distance: float

    def __post_init__(self) -> None:
        _expect_image(self.name, self.thumbnail)
        if not (math.isfinite(self.distance) and self.distance >= 0):
            raise DataError(f"the distance of {legible(self.name)} is {self.distance}, expected 0 or more")
        freeze(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class Mistake:
    """An image whose neighbours voted for a wrong class.

    Args:
        thumbnail: uint8 (c, h, w), the image.
        name: its name.
        label: its true class.
        predicted: the class that the neighbours voted for.
        agreement: the share of the neighbours that voted so, above 0 and at most 1.
        neighbors: the nearest gallery images, nearest first, usually five.

    Raises:
        DataError: it is no mistake, it has no neighbours, or a number is outside its range.
    """

    thumbnail: NDArray[np.uint8]
    name: str
    label: int
    predicted: int
    agreement: float
    neighbors: tuple[NearImage, ...]

    def __post_init__(self) -> None:
        _expect_image(self.name, self.thumbnail)
        if self.label == self.predicted:
            raise DataError(f"{legible(self.name)} was predicted rightly; only mistakes are listed as such")
        if not 0 < self.agreement <= 1:
            raise DataError(
                f"the agreement on {legible(self.name)} is {self.agreement}, expected above 0 to 1"
            )
        if not self.neighbors:
            raise DataError(f"{legible(self.name)} has no neighbours; a mistake is shown beside its nearest")
        freeze(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportContent:
    """Everything that a report shows.

    Args:
        source: the name of the source.
        recipe: the name of the recipe.
        dimension: d of the embedding.
        seed: the seed of all that was drawn.
        epochs: how many epochs were trained.
        seconds: of training alone.
        images: how many images there are in all.
        scores: what the model is worth on the test images.
        class_names: a name for each class.
        history: the loss curves, by epoch; empty where nothing was trained.
        validation_is_test: whether the validation curve is drawn on the test images.
        unseen: whether the test classes were not trained on, and each test image is asked among the others.
        gap: how much better training images fare than validation images.
        learning: what ever larger parts of the gallery are worth, the whole one last.
        map: the scatter.
        mistakes: the most confidently wrong test images, worst first.
        details: pairs of what and value, in order, for the fold at the bottom.

    Raises:
        DataError: parts that do not fit together.
    """

    source: str
    recipe: str
    dimension: int
    seed: int
    epochs: int
    seconds: float
    images: int
    scores: Scores
    class_names: tuple[str, ...]
    history: tuple[EpochPoint, ...]
    validation_is_test: bool
    unseen: bool = False
    gap: Gap | None = None
    learning: tuple[LearningPoint, ...] = ()
    map: MapPoints
    mistakes: tuple[Mistake, ...]
    details: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        classes = len(self.class_names)
        if self.scores.confusion.shape != (classes, classes):
            raise DataError(
                f"the confusion matrix is {self.scores.confusion.shape} for {classes} class names, "
                f"expected ({classes}, {classes})"
            )
        if self.dimension < 1 or self.epochs < 0 or self.images < 1:
            raise DataError(
                f"dimension {self.dimension}, epochs {self.epochs}, images {self.images} in a report: "
                f"expected at least 1, 0 and 1"
            )
        if not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise DataError(f"training took {self.seconds} seconds, expected 0 or more")
        epochs = [point.epoch for point in self.history]
        if epochs != sorted(set(epochs)):
            raise DataError(f"the epochs of the history are {epochs}, expected ascending ones")
        _expect_classes([*self.map.labels.tolist(), *self.map.predicted.tolist()], classes)
        for wrong in self.mistakes:
            _expect_classes(
                [wrong.label, wrong.predicted, *(near.label for near in wrong.neighbors)], classes
            )


def _expect(what: str, array: NDArray[np.generic], shape: tuple[int, ...], kind: type[np.generic]) -> None:
    if array.shape != shape or not np.issubdtype(array.dtype, kind):
        raise DataError(f"{what} are {array.dtype} {array.shape}, expected {kind.__name__} {shape}")


def _expect_image(name: str, image: NDArray[np.uint8]) -> None:
    if image.ndim != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise DataError(
            f"the image of {legible(name)} is {image.dtype} {image.shape}, expected uint8 (c, h, w)"
        )


def _expect_classes(labels: Sequence[int], classes: int) -> None:
    for label in labels:
        if not 0 <= label < classes:
            raise DataError(f"class {label} in the report, but there are {classes} class names")
