"""Images whose label is in doubt, each beside its nearest: one self-contained page, and a table of all."""

import base64
import csv
import hashlib
import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
from jaxtyping import Int64
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from numpy.typing import NDArray

from ..errors import DataError
from ..values import LabeledImages, freeze
from .catalogue import LANGUAGES
from .palette import GROUND, TEXT, Ground
from .sprites import DRAWN_EXACTLY, image_uri
from .tables import confused_pairs
from .views import NearView, Picture
from .wording import legible, percent, significant

__all__ = ["SuspectsContent", "cell_of", "suspects_page", "suspects_table"]

HERE = Path(__file__).parent
MOST_PAIRS = 8
MOST_UNTRIED = 20
HALF: Final = 0.5
FORMULAS: Final = tuple("=+-@＝＋－＠")
"""A cell that begins so is a formula to a spreadsheet, in full width to a Japanese one."""


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

    Both languages and both grounds are in it; its policy lets no script run but the one that changes the
    language, and nothing be loaded from anywhere.
    """
    script = _asset("language.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment().get_template("suspects.html.j2").render(
        content=content,
        class_names=[legible(name) for name in content.images.class_names],
        examined=len(content.order),
        doubted=len(content.doubted),
        suspects=[_view(content, image) for image in content.doubted[:most].tolist()],
        pairs=confused_pairs(_pairs(content), MOST_PAIRS),
        untried=_named(content.untried),
        style=_colors() + _asset("report.css") + _asset("suspects.css"),
        script=script,
        policy=f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        f"base-uri 'none'; form-action 'none'",
    )  # fmt: skip


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


def cell_of(text: str) -> str:
    """Return a text as a cell that no spreadsheet takes for a formula: with an apostrophe before it.

    >>> cell_of("=1+1"), cell_of("傷"), cell_of("-3")
    ("'=1+1", '傷', "'-3")
    """
    plain = legible(text)
    return "'" + plain if plain.startswith(FORMULAS) else plain


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
    named = Markup(", ").join(_text("untried.one", name=legible(name), count=f"{n:,}") for name, n in some)
    return named + ("" if len(untried) <= MOST_UNTRIED else " …")


@cache
def _texts(language: str) -> dict[str, str]:
    texts: dict[str, str] = json.loads(
        (HERE / "texts" / f"suspects.{language}.json").read_text(encoding="utf-8")
    )
    return texts


def _text(key: str, **values: object) -> Markup:
    """Return a text of this page in all languages, as `catalogue.text` does for the report's."""
    span = Markup('<span class="{0}" lang="{0}">{1}</span>')
    return Markup("").join(
        span.format(name, escape(_texts(name)[key]).format(**values)) for name in LANGUAGES
    )


def _attribute(name: str, key: str, **values: object) -> Markup:
    """Return an attribute in English, and beside it what the page's script puts there for a language."""
    texts = {language: _texts(language)[key].format(**values) for language in LANGUAGES}
    pairs = [(name, texts[LANGUAGES[0]])]
    pairs += [(f"data-{name}-{language}", written) for language, written in texts.items()]
    return Markup(" ").join(Markup('{}="{}"').format(*pair) for pair in pairs)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"attribute": _attribute, "text": _text}
    environment.filters |= {"legible": legible, "percent": percent, "significant": significant}
    return environment


@cache
def _asset(name: str) -> str:
    return (HERE / "assets" / name).read_text(encoding="utf-8")


def _colors() -> str:
    """Return both grounds of palette.py as CSS."""

    def of(ground: Ground) -> str:
        return f":root {{--ground: {GROUND[ground]}; --text: {TEXT[ground]}}}"

    return f"{of('light')}\n@media (prefers-color-scheme: dark) {{{of('dark')}}}\n"
