"""The parts of the page as the template wants them: names legible, images as data URIs, numbers plain."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from .content import MapPoints, Mistake, ReportContent
from .palette import HeatKind, class_colors, heat_level
from .sprites import DRAWN_EXACTLY, Sprite, image_uri
from .tables import class_centres, most_confused, recalls
from .wording import legible

__all__ = ["legend_of", "lying", "map_data", "matrix_of", "mistake_view"]

TRUSTED_FROM = 0.9
FRAME_SHARE = 0.94  # of the map's square that the points fill


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A count of the confusion matrix and its tint."""

    count: int
    kind: HeatKind
    level: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """A true class: how its images were predicted, and the share that was right."""

    name: str
    cells: tuple[Cell, ...]
    recall: float | None


@dataclass(frozen=True, kw_only=True)
class LegendEntry:
    """A class of the map: its colour on either ground, and how many of its images are shown."""

    index: int
    name: str
    light: str
    dark: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image, and whether its pixels are so few that they are shown sharp."""

    name: str
    uri: str
    sharp: bool


@dataclass(frozen=True, kw_only=True)
class NearView:
    """A gallery image beside a mistake."""

    picture: Picture
    label: str
    right: bool
    distance: float


@dataclass(frozen=True, kw_only=True)
class MistakeView:
    """A wrong image and its nearest; `votes` are in per cent."""

    picture: Picture
    true: str
    predicted: str
    votes: int
    near: tuple[NearView, ...]


def matrix_of(counts: Int64[np.ndarray, "k k"], class_names: tuple[str, ...]) -> tuple[Row, ...]:
    """Return the rows that the confusion matrix shows, tinted by each cell's share of all of its row."""
    shown, recall_of = most_confused(counts).tolist(), recalls(counts)
    totals = counts.sum(axis=1).tolist()
    return tuple(
        Row(
            name=legible(class_names[true]),
            cells=tuple(
                _cell(int(counts[true, column]), totals[true], "right" if column == true else "wrong")
                for column in shown
            ),
            recall=recall_of[true],
        )
        for true in shown
    )


def legend_of(points: MapPoints, class_names: tuple[str, ...]) -> tuple[LegendEntry, ...]:
    """Return an entry for each class that the map shows."""
    light, dark = (class_colors(len(class_names), ground) for ground in ("light", "dark"))
    counts = np.bincount(points.labels, minlength=len(class_names)).tolist()
    return tuple(
        LegendEntry(
            index=index, name=legible(name), light=light[index], dark=dark[index], count=counts[index]
        )
        for index, name in enumerate(class_names)
        if counts[index]
    )


def lying(points: MapPoints) -> Bool[np.ndarray, " n"]:
    """Return for each point whether the flat picture lies about its neighbours: a trust below 0.9."""
    flat_is_true = np.full(len(points), points.direct)
    return ~flat_is_true & (points.trust < TRUSTED_FROM)


def mistake_view(mistake: Mistake, class_names: tuple[str, ...]) -> MistakeView:
    """Return a mistake and its nearest for the page."""
    near = tuple(
        NearView(
            picture=_picture(image.name, image.thumbnail),
            label=legible(class_names[image.label]),
            right=image.label == mistake.label,
            distance=image.distance,
        )
        for image in mistake.neighbors
    )
    return MistakeView(
        picture=_picture(mistake.name, mistake.thumbnail),
        true=legible(class_names[mistake.label]),
        predicted=legible(class_names[mistake.predicted]),
        votes=round(100 * mistake.agreement),
        near=near,
    )


def map_data(content: ReportContent, sprite: Sprite) -> dict[str, Any]:
    """Return what the map's script reads: positions within -1 to 1, classes, names, the sprite's grid."""
    points = content.map
    classes = len(content.class_names)
    low, high = points.flat.min(axis=0).astype(np.float64), points.flat.max(axis=0).astype(np.float64)
    half = float((high - low).max()) / 2 or 1.0
    place = ((points.flat - (low + high) / 2) / half * FRAME_SHARE).round(4)
    counts = np.bincount(points.labels, minlength=classes)
    centres = class_centres(points.flat, points.labels)
    return {
        "x": place[:, 0].tolist(),
        "y": place[:, 1].tolist(),
        "label": points.labels.tolist(),
        "predicted": points.predicted.tolist(),
        "trust": None if points.direct else points.trust.astype(np.float64).round(3).tolist(),
        "lies": lying(points).astype(int).tolist(),
        "name": [legible(name) for name in points.names],
        "classes": [legible(name) for name in content.class_names],
        "centres": [[centres[label], label] for label in sorted(centres, key=lambda label: -counts[label])],
        "colors": {"light": class_colors(classes, "light"), "dark": class_colors(classes, "dark")},
        "sprite": {"columns": sprite.columns, "width": sprite.width, "height": sprite.height},
    }


def _cell(count: int, total: int, kind: HeatKind) -> Cell:
    return Cell(count=count, kind=kind, level=heat_level(kind, count / max(total, 1)))


def _picture(name: str, pixels: UInt8[np.ndarray, "c h w"]) -> Picture:
    return Picture(name=legible(name), uri=image_uri(pixels), sharp=max(pixels.shape[1:]) <= DRAWN_EXACTLY)
