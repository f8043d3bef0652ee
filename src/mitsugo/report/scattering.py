"""The embedding as a scatter plot, in PNG; all sizes are in inches."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from .content import MapPoints
from .drawing import axes_at, display_width, drawable, drawing, plain, png_of, say, shortened
from .palette import GROUND, class_colors, class_marks
from .tables import class_centres

__all__ = ["scatter"]

PLOT_SIDE, LEFT, BOTTOM, TOP = 6.4, 0.6, 0.95, 0.45
LEGEND_WIDTH, LEGEND_ROWS = 1.9, 30
MOST_NAMED = 60
FEW_CLASSES = 12
POINT = 1 / 72
AROUND = ((0.0, 0.0), (0.0, 1.1), (0.0, -1.1), (1.0, 0.0), (-1.0, 0.0), (0.0, 2.2), (0.0, -2.2))

Box = tuple[float, float, float, float]


def scatter(points: MapPoints, class_names: Sequence[str]) -> bytes:
    """Draw the embedding, flat: a colour and a mark for each class, its name at its centre.

    The plot is 960 pixels square; the legend stands beside it, in as many columns as it needs.
    """
    labels = sorted(set(points.labels.tolist()))
    named = {label: class_names[label] for label in labels[:MOST_NAMED]}
    columns = max(1, -(-len(named) // LEGEND_ROWS))
    with drawing():
        figure = Figure(figsize=(LEFT + PLOT_SIDE + 0.1 + LEGEND_WIDTH * columns, BOTTOM + PLOT_SIDE + TOP))
        axes = axes_at(figure, (LEFT, BOTTOM, PLOT_SIDE, PLOT_SIDE))
        axes.set_title("The embedding, a point an image", pad=8)
        handles = _draw_classes(axes, points, labels, len(class_names))
        axes.margins(0.05)
        axes.set_aspect("equal", adjustable="datalim")
        if not points.direct:
            axes.set_xticks([])
            axes.set_yticks([])
        _name_classes(figure, axes, points, named)
        _add_legend(axes, handles[: len(named)], list(named.values()), columns)
        below = (BOTTOM - (0.4 if points.direct else 0.15)) / figure.get_figheight()
        left = LEFT / figure.get_figwidth()
        plain(figure.text(left, below, _caption(points, len(labels)), fontsize=9, linespacing=1.5, va="top"))
        return png_of(figure)


def _draw_classes(axes: Axes, points: MapPoints, labels: Sequence[int], classes: int) -> list[Line2D]:
    colors, marks = class_colors(classes), class_marks(classes)
    size = float(np.clip(18_000 / max(len(points), 1), 7, 40))
    handles = []
    for label in labels:
        place = points.flat[points.labels == label]
        color, mark = colors[label], marks[label]
        axes.scatter(place[:, 0], place[:, 1], s=size, alpha=0.75, linewidths=0, color=color, marker=mark)
        handles.append(Line2D([], [], linestyle="none", markersize=7, color=color, marker=mark))
    if not labels:
        say(axes, "There is no image to draw.")
    return handles


def _name_classes(figure: Figure, axes: Axes, points: MapPoints, named: Mapping[int, str]) -> None:
    centres = class_centres(points.flat, points.labels)
    centres = {label: index for label, index in centres.items() if label in named}
    names = {label: shortened(name, 14) for label, name in named.items()}
    few = len(centres) <= FEW_CLASSES
    font_size = 12 if few else 8
    figure.draw_without_rendering()  # fixes the limits, which the places of the names hang on
    to_inches = axes.transData + figure.dpi_scale_trans.inverted()
    taken: list[Box] = []
    for label, index in centres.items():
        size = (0.62 * font_size * POINT * display_width(names[label]), 1.25 * font_size * POINT)
        x, y = to_inches.transform(points.flat[index])
        place = _free_place((float(x), float(y)), size, taken, around=AROUND if few else AROUND[1:])
        halo = [withStroke(linewidth=3, foreground=GROUND["light"])]
        written = axes.text(
            *place, names[label], transform=figure.dpi_scale_trans,
            ha="center", va="center", fontsize=font_size, path_effects=halo,
        )  # fmt: skip
        plain(written)


def _free_place(
    centre: tuple[float, float],
    size: tuple[float, float],
    taken: list[Box],
    around: Sequence[tuple[float, float]],
) -> tuple[float, float]:
    """Return the first place around `centre` inside the plot where no name stands yet, and take it."""
    (x, y), (width, height) = centre, size
    x = min(max(x, LEFT + width / 2), LEFT + PLOT_SIDE - width / 2)
    places = [(x + across * (width / 2 + 0.08), y + up * height) for across, up in around]
    inside = [
        (a, b)
        for a, b in places
        if width / 2 <= a - LEFT <= PLOT_SIDE - width / 2
        and height / 2 <= b - BOTTOM <= PLOT_SIDE - height / 2
    ]
    free = [place for place in inside if not any(_overlap(_box(place, size), box) for box in taken)]
    chosen = (free or inside or places)[0]
    taken.append(_box(chosen, size))
    return chosen


def _box(centre: tuple[float, float], size: tuple[float, float]) -> Box:
    (x, y), (width, height) = centre, size
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _add_legend(axes: Axes, handles: list[Line2D], names: Sequence[str], columns: int) -> None:
    if not handles:
        return
    legend = axes.legend(
        handles, ["class"] * len(handles), loc="upper left", bbox_to_anchor=(1.0, 1.0), ncols=columns,
        frameon=False, fontsize=9, borderaxespad=0.2, columnspacing=1.0,
    )  # fmt: skip
    for text, name in zip(legend.get_texts(), names, strict=True):
        plain(text)
        text.set_text(shortened(name, 20))  # afterwards: a legend leaves out what begins with "_"


def _caption(points: MapPoints, classes: int) -> str:
    shown = f"{len(points):,} of {points.total:,} images shown"
    if classes > MOST_NAMED:
        shown += f", {MOST_NAMED} of {classes:,} classes named"
    if points.direct:
        return f"The two dimensions of the embedding, as they are; {shown}."
    return (
        f"Projected by {drawable(points.method)}; {shown}.\n"
        f"Trustworthiness {points.trustworthiness:.3f} (1: near in the picture is near in the embedding)."
    )
