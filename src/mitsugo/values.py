"""The nouns on the flow: images -> batches -> embeddings -> distances -> neighbours -> verdicts.

Each is a frozen value that is validated once, at birth; its arrays are made read-only.
"""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, UsageError

__all__ = [
    "Embeddings",
    "Epoch",
    "LabeledImages",
    "Neighbor",
    "Neighbors",
    "Position",
    "Score",
    "Scores",
    "Split",
    "Verdict",
    "freeze",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Which images train, which ones choices are made on, and which ones are looked at once, at the end.

    Args:
        train: int64 (m,), indices of the training images.
        validation: int64 (m,), indices of the validation images. Either apart from `test`, or the very
            same array: then nothing may be chosen by it.
        test: int64 (m,), indices of the test images.
        how: one sentence for run.json that says how the split was made.

    Raises:
        DataError: an index stands on both sides, twice on one, or is negative.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    how: str

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            part = getattr(self, name)
            if part.ndim != 1 or part.dtype != np.int64:
                raise DataError(f"split part {name} is {part.dtype} {part.shape}, expected int64 (m,)")
            if part.size and (part.min() < 0 or np.unique(part).size != part.size):
                raise DataError(f"split part {name} has a negative or a repeated index")
        sides = [("train", "test"), ("train", "validation")]
        if not self.validation_is_test:
            sides.append(("validation", "test"))
        for one, other in sides:
            shared = np.intersect1d(getattr(self, one), getattr(self, other))
            if shared.size:
                raise DataError(f"image {shared[0]} stands in {one} and in {other}; a split keeps them apart")
        freeze(self)

    @property
    def validation_is_test(self) -> bool:
        """Whether the curves are drawn on the test images, as the walk-through does."""
        return self.validation.size > 0 and np.array_equal(self.validation, self.test)


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledImages:
    """Pixels and what they show.

    Args:
        pixels: uint8 (n, c, h, w), an array or a memory map.
        labels: int64 (n,), indices into `class_names`.
        class_names: a name for each class, all different.
        names: n names of the images, as a person would look them up.
        groups: int64 (n,) or None: images of one group (a part, a lot) never stand on both sides of a split.
        split: the split that the source came with, if any.

    Raises:
        DataError: shapes that do not fit together, labels outside the class names.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    groups: NDArray[np.int64] | None = None
    split: Split | None = None

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
        parts = () if self.split is None else (self.split.train, self.split.validation, self.split.test)
        if any(part.max(initial=-1) >= n for part in parts):
            raise DataError(f"the split names images beyond the {n} that there are")
        freeze(self)

    def __len__(self) -> int:
        return len(self.names)

    def take(self, indices: NDArray[np.int64]) -> "LabeledImages":
        """Return the images of these indices, in their order, without a split."""
        return LabeledImages(
            pixels=self.pixels[indices],
            labels=self.labels[indices],
            class_names=self.class_names,
            names=tuple(self.names[i] for i in indices.tolist()),
            groups=None if self.groups is None else self.groups[indices],
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width


@dataclass(frozen=True, kw_only=True, eq=False)
class Embeddings:
    """Vectors of images, and the model that made them.

    Args:
        vectors: float32 (n, d), all finite.
        labels: int64 (n,), indices into `class_names`; -1 where the class is not known.
        class_names: a name for each class.
        names: n names of the images.
        fingerprint: the model's fingerprint: only embeddings of one model can be compared.

    Raises:
        DataError: shapes that do not fit together, or a value that is not finite.
    """

    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    fingerprint: str

    def __post_init__(self) -> None:
        n = len(self.names)
        if self.vectors.ndim != 2 or self.vectors.dtype != np.float32 or len(self.vectors) != n:
            raise DataError(
                f"vectors are {self.vectors.dtype} {self.vectors.shape}, expected float32 ({n}, d): "
                f"one row for each of the {n} names"
            )
        if self.labels.shape != (n,) or self.labels.dtype != np.int64:
            raise DataError(f"labels are {self.labels.dtype} {self.labels.shape}, expected int64 ({n},)")
        if n and not -1 <= self.labels.min() <= self.labels.max() < len(self.class_names):
            raise DataError(f"a label lies outside the {len(self.class_names)} class names")
        if not np.isfinite(self.vectors).all():
            row = int(np.flatnonzero(~np.isfinite(self.vectors).all(axis=1))[0])
            raise DataError(f"the embedding of {self.names[row]} is not finite; its model is unusable")
        freeze(self)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbors:
    """For each query the k nearest gallery rows, ordered by (distance, index).

    Args:
        indices: int64 (q, k), rows of the gallery.
        distances: float32 (q, k), ascending along each row.
    """

    indices: NDArray[np.int64]
    distances: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.indices.ndim != 2 or self.indices.shape != self.distances.shape:
            raise UsageError(
                f"neighbours have indices {self.indices.shape} and distances {self.distances.shape}, "
                f"expected one (q, k) for both"
            )
        freeze(self)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one finished epoch was: a line of history.jsonl and a point on the curves.

    Losses are the mean of the batch means; `seconds` and `core_seconds` are of training alone. `active` of
    `valid` triplets or pairs pushed or pulled; `empty_batches` held none at all. `learning_rate` is that of
    the last step.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    learning_rate: float
    seconds: float
    core_seconds: float
    images: int
    active: int = 0
    valid: int = 0
    empty_batches: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far training has come: enough, with the weights and the optimiser, to go on to the bit.

    Args:
        epochs: finished epochs.
        batches: finished batches of the epoch that is under way.
        loss_sum: the sum of their mean losses.
        images: how many images went through the network in them.
        active: how many of their triplets or pairs pushed or pulled.
        valid: out of how many.
        empty_batches: how many of them held no triplet or pair at all.
        seconds: what they took.
        core_seconds: likewise, of all cores.
    """

    epochs: int = 0
    batches: int = 0
    loss_sum: float = 0.0
    images: int = 0
    active: int = 0
    valid: int = 0
    empty_batches: int = 0
    seconds: float = 0.0
    core_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Score:
    """A number that never stands without its 95 % interval and its n."""

    value: float
    low: float
    high: float
    n: int
    interval: str
    """How the interval was made, in words."""

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise UsageError(f"score {self.value} lies outside its own interval {self.low} to {self.high}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What a model is worth on queries that it was not trained on.

    `silhouette` and `between_within` are None where there are too few images, or too few places in space, for
    them. `confusion` is int64 (classes, classes): row the true class, column the predicted one, by k = 5.
    """

    knn_accuracy: Score
    precision_at_1: Score
    silhouette: Score | None
    between_within: Score | None
    confusion: NDArray[np.int64]

    def plain(self) -> dict[str, Any]:
        """Return scores and confusion as JSON values."""
        return {
            "scores": {name: asdict(score) for name, score in self.numbers().items()},
            "confusion": self.confusion.tolist(),
        }

    def numbers(self) -> dict[str, Score]:
        """Return the scores that there are, by name, in order."""
        return {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Score)}


@dataclass(frozen=True, kw_only=True)
class Neighbor:
    """One gallery image that a person can look at."""

    name: str
    label: str
    distance: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What an image is, with its evidence.

    Args:
        image: the image's name.
        label: the class that the neighbours voted for; a tie goes to the class of the nearest.
        agreement: the share of the neighbours that voted for `label`.
        neighbors: the nearest gallery images, nearest first.
        warnings: what a person should know before trusting this.
    """

    image: str
    label: str
    agreement: float
    neighbors: tuple[Neighbor, ...]
    warnings: tuple[str, ...] = ()
    method: Literal["k-NN vote"] = "k-NN vote"


def freeze(value: object) -> None:
    """Make the arrays of a frozen value read-only, at its birth."""
    for slot in fields(value):  # type: ignore[arg-type]
        array = getattr(value, slot.name)
        if isinstance(array, np.ndarray) and array.flags.writeable:
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(value, slot.name, view)
