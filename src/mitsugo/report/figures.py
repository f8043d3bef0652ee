"""Values in, PNG figures out, all measured in inches: the same values give the same bytes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from .content import EpochPoint, Mistake
from .drawing import axes_at, display_width, drawing, plain, png_of, say, shortened
from .palette import CURVES, HEAT_KINDS, HeatKind, heat_colors, heat_level
from .scattering import scatter
from .sprites import image_of
from .tables import most_confused, recalls
from .wording import percent, significant

__all__ = ["confusion", "loss_curves", "mistakes", "scatter"]

TRAIN_COLOR, VALIDATION_COLOR = CURVES["light"]
RIGHT_COLOR, WRONG_COLOR, QUIET_COLOR = "#00694c", "#b03a00", "#59636b"

LETTER_WIDTH = 0.085
CELLS = {3: 0.9, 12: 0.55, 24: 0.36, 1 << 30: 0.26}  # side of a cell, by the most classes it is for

PICTURE = 0.9
MISTAKE_WIDTH, MISTAKE_HEIGHT, MISTAKES_TOP = 9.0, 1.5, 0.85
MOST_MISTAKES = 10
SHARP_UP_TO = 64  # pixels a side; below it the pixels themselves are shown


def loss_curves(history: Sequence[EpochPoint], *, validation_is_test: bool) -> bytes:
    """Draw the training and validation loss of each epoch; 960 x 600 pixels."""
    with drawing():
        figure = Figure(figsize=(6.4, 4.0))
        axes = axes_at(figure, (0.75, 0.6, 5.4, 2.6))
        figure.text(0.02, 0.92, "Loss, the mean over an epoch's batches", fontsize=11)
        if history:
            _draw_curves(axes, history, validation_is_test=validation_is_test)
        else:
            say(axes, "Nothing was trained: there is no curve to draw.")
        return png_of(figure)


def confusion(counts: Int64[np.ndarray, "k k"], class_names: Sequence[str]) -> bytes:
    """Draw the confusion matrix: a row a true class, a column a predicted one, recall at the right."""
    shown = most_confused(counts)
    names = [shortened(class_names[label]) for label in shown]
    cell = next(side for most, side in CELLS.items() if len(names) <= most)
    widest = max((display_width(name) for name in names), default=0)
    left = 0.6 + max(0.3, LETTER_WIDTH * widest)
    turned = LETTER_WIDTH * widest > cell
    bottom = left if turned else 0.75
    side = cell * max(len(names), 1)
    with drawing():
        figure = Figure(figsize=(max(left + side + 1.0, 5.2), bottom + side + 0.8))
        axes = axes_at(figure, (left, bottom, side, side))
        font_size = 9.0 if cell > 0.3 else 7.0
        _draw_cells(axes, counts, shown, cell)
        _name_cells(axes, names, font_size, turned=turned)
        _write_recalls(axes, [recalls(counts)[label] for label in shown], font_size)
        title = f"What it confuses ({counts.sum():,} images{_of_classes(shown, class_names)})"
        figure.text(
            0.02, 1 - 0.32 / figure.get_figheight(), title, fontsize=max(11.0, 0.8 * figure.get_figwidth())
        )
        return png_of(figure)


def mistakes(wrong: Sequence[Mistake], class_names: Sequence[str]) -> bytes:
    """Draw wrong images, at most ten, each beside its nearest gallery images with classes and distances."""
    rows = wrong[:MOST_MISTAKES]
    height = MISTAKES_TOP + MISTAKE_HEIGHT * max(len(rows), 1)
    names = [shortened(name, 14) for name in class_names]
    with drawing():
        figure = Figure(figsize=(MISTAKE_WIDTH, height))
        axes = figure.add_axes((0, 0, 1, 1), frameon=False, xticks=[], yticks=[])
        axes.set(xlim=(0, MISTAKE_WIDTH), ylim=(height, 0), autoscale_on=False)
        title = f"The {len(rows)} most confident mistakes" if rows else "No mistakes"
        axes.text(0.25, 0.35, title, fontsize=11)
        legend = (
            "each beside its nearest gallery images: ○ of its true class, × of another; d is the distance"
        )
        empty = "There is no mistake to show: harder test images would tell more."
        axes.text(0.25, 0.6, legend if rows else empty, fontsize=8.5, color=QUIET_COLOR)
        for row, mistake in enumerate(rows):
            _draw_mistake(axes, mistake, MISTAKES_TOP + MISTAKE_HEIGHT * row, names)
        return png_of(figure)


def _draw_curves(axes: Axes, history: Sequence[EpochPoint], *, validation_is_test: bool) -> None:
    train = [(point.epoch, point.train_loss) for point in history]
    axes.plot(*zip(*train, strict=True), "o-", color=TRAIN_COLOR, markersize=5, label="training")
    validation = [
        (point.epoch, point.validation_loss) for point in history if point.validation_loss is not None
    ]
    if validation:
        label = (
            "validation (on the test images; nothing is chosen by it)" if validation_is_test else "validation"
        )
        axes.plot(*zip(*validation, strict=True), "s--", color=VALIDATION_COLOR, markersize=4.5, label=label)
    lowest, highest = axes.dataLim.y0, axes.dataLim.y1
    axes.set_ylim(min(0.0, 1.05 * lowest), (1.05 * highest if highest > 0 else 0.0) or 1.0)
    axes.set_xlim(train[0][0] - 0.5, train[-1][0] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.grid(axis="y", color="#d9dde0")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.13, 1.0), ncols=2, frameon=False, fontsize=9)


def _draw_cells(
    axes: Axes, all_counts: Int64[np.ndarray, "k k"], shown: Int64[np.ndarray, " m"], cell: float
) -> None:
    counts, totals = all_counts[np.ix_(shown, shown)], all_counts[shown].sum(axis=1)
    tints = {kind: [to_rgb(color) for color in heat_colors(kind, "light")] for kind in HEAT_KINDS}
    colors = np.ones((*counts.shape, 3))
    digits = len(str(counts.max(initial=0)))
    font_size = min(10.0, 72 * 0.85 * cell / (0.64 * digits))
    for (row, column), count in np.ndenumerate(counts):
        share = float(count / max(totals[row], 1))
        kind: HeatKind = "right" if row == column else "wrong"
        colors[row, column] = tints[kind][heat_level(kind, share)]
        if count:
            axes.text(column, row, str(count), ha="center", va="center_baseline", fontsize=font_size)
    axes.imshow(colors, interpolation="nearest", aspect="auto")
    edges = np.arange(len(counts) + 1) - 0.5
    axes.hlines(edges, -0.5, len(counts) - 0.5, color="#e3e6e8", linewidth=0.6)
    axes.vlines(edges, -0.5, len(counts) - 0.5, color="#e3e6e8", linewidth=0.6)
    axes.set(xlim=(-0.5, len(counts) - 0.5), ylim=(len(counts) - 0.5, -0.5))


def _write_recalls(axes: Axes, shares: Sequence[float | None], font_size: float) -> None:
    across = len(shares) - 0.4
    axes.text(across, -0.6, "recall", va="bottom", fontsize=font_size, color=QUIET_COLOR)
    for row, share in enumerate(shares):
        text = "no image" if share is None else f"{percent(share)} %"
        axes.text(across, row, text, va="center_baseline", fontsize=font_size)


def _of_classes(shown: Int64[np.ndarray, " m"], class_names: Sequence[str]) -> str:
    if len(shown) == len(class_names):
        return ""
    return f"; the {len(shown)} most confused of {len(class_names):,} classes"


def _name_cells(axes: Axes, names: Sequence[str], font_size: float, *, turned: bool) -> None:
    axes.set_xticks(range(len(names)), labels=names, rotation=90 if turned else 0, fontsize=font_size)
    axes.set_yticks(range(len(names)), labels=names, fontsize=font_size)
    plain(*axes.get_xticklabels(), *axes.get_yticklabels())
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted class", color=QUIET_COLOR)
    axes.set_ylabel("true class", color=QUIET_COLOR)


def _draw_mistake(axes: Axes, mistake: Mistake, top: float, names: Sequence[str]) -> None:
    _draw_picture(axes, mistake.thumbnail, (0.25, top), "#9aa3a9")
    words = (f"true: {names[mistake.label]}", f"taken for: {names[mistake.predicted]}")
    for line, (text, color) in enumerate(zip(words, (RIGHT_COLOR, WRONG_COLOR), strict=True)):
        plain(axes.text(1.3, top + 0.2 + 0.22 * line, text, fontsize=10, color=color))
    plain(axes.text(1.3, top + 0.62, f"by {100 * mistake.agreement:.0f} % of the votes", fontsize=8.5))
    plain(axes.text(1.3, top + 0.82, shortened(mistake.name, 24), fontsize=8, color=QUIET_COLOR))
    for place, near in enumerate(mistake.neighbors[:5]):
        left = 3.35 + 1.12 * place
        sign, color = ("○", RIGHT_COLOR) if near.label == mistake.label else ("×", WRONG_COLOR)
        _draw_picture(axes, near.thumbnail, (left, top), color)
        plain(axes.text(left, top + PICTURE + 0.18, f"{sign} {names[near.label]}", fontsize=8.5, color=color))
        axes.text(
            left, top + PICTURE + 0.35, f"d {significant(near.distance)}", fontsize=8, color=QUIET_COLOR
        )


def _draw_picture(
    axes: Axes, pixels: UInt8[np.ndarray, "c h w"], corner: tuple[float, float], edge: str
) -> None:
    image = image_of(pixels).convert("RGB")
    left, top = corner
    scale = PICTURE / max(image.size)
    width, height = image.width * scale, image.height * scale
    left, top = left + (PICTURE - width) / 2, top + (PICTURE - height) / 2
    smoothing = "nearest" if max(image.size) <= SHARP_UP_TO else "antialiased"
    axes.imshow(
        np.asarray(image), extent=(left, left + width, top + height, top), interpolation=smoothing,
        aspect="auto",
    )  # fmt: skip
    axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=edge, linewidth=1.2))
