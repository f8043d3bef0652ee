"""Loss curves as places on a plot, in per cent of its width and height from its top left corner."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import SupportsFloat

from matplotlib.ticker import MaxNLocator

from .content import EpochPoint
from .wording import significant

__all__ = ["Curve", "Place", "Plot", "Tick", "plot_of"]

STEPS = [1, 2, 5, 10]
HEADROOM = 1.05
MOST_DECIMALS = 5


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A mark on an axis: what stands there, and where."""

    text: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Place:
    """A point of a curve: where it is, and what it says."""

    x: float
    y: float
    epoch: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A named curve: its points, and the pairs of points that lines join."""

    name: str
    places: tuple[Place, ...]

    @property
    def lines(self) -> tuple[tuple[Place, Place], ...]:
        """Return each point with the next one."""
        return tuple(pairwise(self.places))


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Curves and their axes."""

    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    curves: tuple[Curve, ...]


def plot_of(history: Sequence[EpochPoint]) -> Plot:
    """Return where the losses of at least one epoch lie; the loss axis includes zero.

    >>> plot_of([EpochPoint(epoch=1, train_loss=2.0, validation_loss=None)]).curves[0].places[0].x
    50.0
    """
    losses = {
        "train": [(point.epoch, point.train_loss) for point in history],
        "validation": [(p.epoch, p.validation_loss) for p in history if p.validation_loss is not None],
    }
    values = [0.0, *(loss for curve in losses.values() for _, loss in curve)]
    low, high = HEADROOM * min(values), HEADROOM * max(values)
    high = high if high > low else 1.0
    first, last = history[0].epoch, history[-1].epoch
    return Plot(
        across=tuple(
            Tick(text=f"{epoch:.0f}", at=_across(epoch, first, last))
            for epoch in MaxNLocator(10, steps=STEPS, integer=True).tick_values(first, last)
            if first <= epoch <= last
        ),
        up=_loss_ticks(low, high),
        curves=tuple(
            Curve(
                name=name,
                places=tuple(
                    Place(
                        x=_across(e, first, last), y=_down(loss, low, high), epoch=e, text=significant(loss)
                    )
                    for e, loss in curve
                ),
            )
            for name, curve in losses.items()
            if curve
        ),
    )


def _loss_ticks(low: float, high: float) -> tuple[Tick, ...]:
    ticks = [tick for tick in MaxNLocator(6, steps=STEPS).tick_values(low, high) if low <= tick <= high]
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    written = [f"{tick:.{decimals}f}" if decimals <= MOST_DECIMALS else f"{tick:.1e}" for tick in ticks]
    return tuple(
        Tick(text=text, at=_down(tick, low, high)) for text, tick in zip(written, ticks, strict=True)
    )


def _across(epoch: SupportsFloat, first: int, last: int) -> float:
    return 100 * (float(epoch) - first) / (last - first) if last > first else 50.0


def _down(loss: SupportsFloat, low: float, high: float) -> float:
    return 100 * (high - float(loss)) / (high - low)
