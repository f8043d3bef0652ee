"""What was inspected: a sheet with the pictures, and a table of all."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ..values import Caution, Likeness, Verdict
from .bilingual import cell_of, rendered, text
from .sprites import DRAWN_EXACTLY, image_uri
from .views import Picture
from .wording import legible

__all__ = ["InspectedImage", "SheetContent", "inspection_page", "inspection_table"]


@dataclass(frozen=True, kw_only=True, eq=False)
class InspectedImage:
    """An image with its verdict.

    Args:
        verdict: what it is.
        pixels: uint8 (c, h, w), as the model saw it.
    """

    verdict: Verdict
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class SheetContent:
    """Everything that the sheet shows.

    Args:
        model: the name of the model.
        images: in the order in which they are shown; they may be fewer than the lot.
        exemplars: the pixels of gallery images, by their names, uint8 (c, h, w); others are named alone.
        lot: what the verdicts say together, as plain values.
    """

    model: str
    images: tuple[InspectedImage, ...]
    exemplars: Mapping[str, NDArray[np.uint8]]
    lot: Mapping[str, Any]


class _Near(NamedTuple):
    """A gallery image as the template wants it; without a picture where that is not at hand."""

    name: str
    picture: Picture | None
    distance: float


class _Side(NamedTuple):
    """A class that an image is like, with the images that show it."""

    label: str
    scaled: float
    near: tuple[_Near, ...]


class _View(NamedTuple):
    """An inspected image as the template wants it."""

    picture: Picture
    verdict: Verdict
    label: str
    kind: str
    sides: tuple[_Side, ...]
    in_gallery: str | None
    warnings: tuple[Markup, ...]


def inspection_page(content: SheetContent) -> str:
    """Return the sheet as one HTML text that opens from disk, without a network; see `bilingual.rendered`."""
    lot = content.lot
    pictures = {name: _picture(name, pixels) for name, pixels in content.exemplars.items()}
    calibration = lot["calibration"]
    return rendered(
        "inspection",
        model=legible(content.model),
        lot=lot,
        counts=_counts(lot),
        labels=[(legible(name), count) for name, count in lot["labels"].items()],
        calibration=calibration,
        unpromised=[]
        if calibration is None
        else [legible(name) for name, told in calibration["classes"].items() if not told["promised"]],
        escapes=lot["escapes"],
        look_alikes=[legible(name) for name in lot["look_alikes"]],
        views=[_view(image, pictures) for image in content.images],
        named_alone=not pictures,
    )


def inspection_table(verdicts: Sequence[Verdict]) -> bytes:
    """Return every verdict as CSV: UTF-8 with a mark, as spreadsheets want it; no formulas."""
    written = io.StringIO()
    table = csv.writer(written)
    sides = [
        f"{side}{what}"
        for side in ("winner", "runner_up")
        for what in ("", "_scaled_distance", "_nearest", "_distance")
    ]
    table.writerow(
        [
            "image", "label", "judgement", "unknown", "p_value", "strangeness", "gate", "ng_score",
            "agreement", "promised", "in_gallery", "method", *sides, "warnings",
        ]
    )  # fmt: skip
    for verdict in verdicts:
        row = [
            cell_of(verdict.image),
            cell_of(verdict.label),
            verdict.judgement or "",
            "yes" if verdict.unknown else "no",
            _number(verdict.p_value),
            _number(verdict.strangeness),
            verdict.gate or "",
            _number(verdict.ng_score),
            _number(verdict.agreement),
            "" if verdict.promised is None else "yes" if verdict.promised else "no",
            cell_of(verdict.in_gallery or ""),
            verdict.method,
        ]
        for likeness in (verdict.winner, verdict.runner_up):
            row += _side_cells(likeness)
        table.writerow([*row, cell_of("; ".join(verdict.warnings))])
    return written.getvalue().encode("utf-8-sig")


def _side_cells(likeness: Likeness | None) -> list[str]:
    if likeness is None:
        return [""] * 4
    near = likeness.exemplars[0] if likeness.exemplars else None
    return [
        cell_of(likeness.label),
        _number(likeness.scaled),
        "" if near is None else cell_of(near.name),
        "" if near is None else _number(near.distance),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _counts(lot: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the judgements with their counts, what needs a look first."""
    judged = lot["judgements"]
    if not judged:
        return []
    others = lot["images"] - sum(judged.values())
    found = [(name, judged.get(name, 0)) for name in ("unknown", "NG", "OK")]
    if others:  # no class is NG: what is not unknown has its class alone
        found = [("unknown", judged.get("unknown", 0)), ("known", others)]
    return found


def _view(image: InspectedImage, pictures: Mapping[str, Picture]) -> _View:
    verdict = image.verdict
    sides = tuple(
        _Side(
            label=legible(likeness.label),
            scaled=likeness.scaled,
            near=tuple(
                _Near(name=legible(one.name), picture=pictures.get(one.name), distance=one.distance)
                for one in likeness.exemplars
            ),
        )
        for likeness in (verdict.winner, verdict.runner_up)
        if likeness is not None
    )
    return _View(
        picture=_picture(verdict.image, image.pixels),
        verdict=verdict,
        label=legible(verdict.label),
        kind="unknown" if verdict.unknown else (verdict.judgement or "class"),
        sides=sides,
        in_gallery=None if verdict.in_gallery is None else legible(verdict.in_gallery),
        warnings=tuple(map(_warning, verdict.warnings)),
    )


def _warning(warning: str) -> Markup:
    """Return a warning in every language, where there are texts of it."""
    if isinstance(warning, Caution):
        return text("inspection", f"caution.{warning.key}", **warning.values)
    return Markup('<span lang="en">{}</span>').format(legible(warning))


def _picture(name: str, pixels: NDArray[np.uint8]) -> Picture:
    return Picture(name=legible(name), uri=image_uri(pixels), sharp=max(pixels.shape[1:]) <= DRAWN_EXACTLY)
