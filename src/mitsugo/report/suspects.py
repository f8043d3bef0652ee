"""Images whose label is in doubt, each beside its nearest: one self-contained page, and a table of all."""

import csv
import io
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from jaxtyping import Int64
from markupsafe import Markup
from numpy.typing import NDArray

from ..errors import DataError
from ..values import LabeledImages, freeze
from .bilingual import cell_of, rendered, text
from .sprites import DRAWN_EXACTLY, image_uri
from .tables import confused_pairs
from .views import NearView, Picture
from .wording import legible

__all__ = ["SuspectsContent", "suspects_page", "suspects_table"]

MOST_PAIRS = 8
MOST_UNTRIED = 20
HALF: Final = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class SuspectsContent:
    """Everything that the page and the table show.

    Args:
        source: the name of the source.
        recipe: the name of the recipe.
        folds: how many models judged.
        part: which images were examined: the training images, those and the ones to choose by, or all.
        images: n images and their labels.
        order: int64 (m,), those that were judged, the most doubtful first.
        score: floating (n,), from 0 to 1; above ½ other classes are nearer than its own.
        says: int64 (n,), the other class that an image looks like.
        nearest: int64 (n, k), the images nearest to it among those that its model was trained on.
        distances: floating (n, k), how far they are.
        details: pairs of what and value, in order, for the fold at the bottom.

    Raises:
        DataError: parts that do not fit together.
    """

    source: str
    recipe: str
    folds: int
    part: Literal["train", "choose", "all"]
    images: LabeledImages
    order: NDArray[np.int64]
    score: NDArray[np.floating]
    says: NDArray[np.int64]
    nearest: NDArray[np.int64]
    distances: NDArray[np.floating]
    details: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        n = len(self.images)
        if not len(self.score) == len(self.says) == len(self.nearest) == len(self.distances) == n:
            raise DataError(f"the findings are not of {n} images; expected one score, class and row of each")
        if not self.order.size or np.unique(self.order).size != self.order.size:
            raise DataError("the ranking names no image, or one twice; expected each that was judged, once")
        judged = self.score[self.order]
        if not ((judged >= 0) & (judged <= 1)).all() or (np.diff(judged) > 0).any():
            raise DataError("the ranking is not by falling scores from 0 to 1")
        if (self.says[self.doubted] == self.images.labels[self.doubted]).any():
            raise DataError("an image is doubted, but looks like the class of its own label")
        freeze(self)

    @property
    def doubted(self) -> NDArray[np.int64]:
        """The images that lie nearer to other classes than to their own, the most doubtful first."""
        return self.order[self.score[self.order] > HALF]

    @property
    def untried(self) -> dict[str, int]:
        """The classes of the images that were not judged, and how many those are."""
        labels = np.delete(self.images.labels, self.order)
        counts = np.bincount(labels, minlength=len(self.images.class_names)).tolist()
        return {name: n for name, n in zip(self.images.class_names, counts, strict=True) if n}

    def class_of(self, image: int) -> str:
        """Return the name of an image's label."""
        return self.images.class_names[int(self.images.labels[image])]


class _View(NamedTuple):
    """A suspect as the template wants it."""

    picture: Picture
    label: str
    says: str
    score: float
    near: tuple[NearView, ...]


def suspects_page(content: SuspectsContent, most: int) -> str:
    """Return the page of the first `most` suspects as one HTML text that opens from disk, without a network.

    See `bilingual.rendered`.
    """
    return rendered(
        "suspects",
        content=content,
        class_names=[legible(name) for name in content.images.class_names],
        examined=len(content.order),
        doubted=len(content.doubted),
        suspects=[_view(content, image) for image in content.doubted[:most].tolist()],
        pairs=confused_pairs(_pairs(content), MOST_PAIRS),
        untried=_named(content.untried),
    )


def suspects_table(content: SuspectsContent) -> bytes:
    """Return every judged image, ranked, as CSV: UTF-8 with a mark, as spreadsheets want it; no formulas."""
    images, text = content.images, io.StringIO()
    table = csv.writer(text)
    places = range(1, content.nearest.shape[1] + 1)
    neighbors = [f"nearest_{place}{what}" for place in places for what in ("", "_label")]
    table.writerow(["rank", "image", "label", "looks_like", "score", "suspect", *neighbors])
    for rank, image in enumerate(content.order.tolist(), start=1):
        score = float(content.score[image])
        words = [images.names[image], content.class_of(image), images.class_names[content.says[image]]]
        near = content.nearest[image].tolist()
        evidence = [cell_of(words) for one in near for words in (images.names[one], content.class_of(one))]
        numbers = [f"{score:.6f}", "yes" if score > HALF else "no"]
        table.writerow([rank, *map(cell_of, words), *numbers, *evidence])
    return text.getvalue().encode("utf-8-sig")


def _view(content: SuspectsContent, image: int) -> _View:
    near = tuple(
        NearView(
            picture=_picture(content.images, other),
            label=legible(content.class_of(other)),
            right=content.class_of(other) == content.class_of(image),
            distance=distance,
        )
        for other, distance in zip(
            content.nearest[image].tolist(), content.distances[image].tolist(), strict=True
        )
    )
    return _View(
        picture=_picture(content.images, image),
        label=legible(content.class_of(image)),
        says=legible(content.images.class_names[content.says[image]]),
        score=float(content.score[image]),
        near=near,
    )


def _picture(images: LabeledImages, image: int) -> Picture:
    pixels = images.pixels[image]
    sharp = max(images.image_shape[1:]) <= DRAWN_EXACTLY
    return Picture(name=legible(images.names[image]), uri=image_uri(pixels), sharp=sharp)


def _pairs(content: SuspectsContent) -> Int64[np.ndarray, "k k"]:
    """Count the labels of the judged images against what they look like: their own, or another class."""
    looks = content.images.labels.copy()
    looks[content.doubted] = content.says[content.doubted]
    pairs = np.zeros((len(content.images.class_names),) * 2, np.int64)
    np.add.at(pairs, (content.images.labels[content.order], looks[content.order]), 1)
    return pairs


def _named(untried: dict[str, int]) -> Markup:
    some = list(untried.items())[:MOST_UNTRIED]
    named = Markup(", ").join(
        text("suspects", "untried.one", name=legible(name), count=f"{n:,}") for name, n in some
    )
    return named + ("" if len(untried) <= MOST_UNTRIED else " …")
