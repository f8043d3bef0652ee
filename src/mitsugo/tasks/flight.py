"""The flight check: before the first step, what will be trained, what looks wrong and how long it takes."""

import copy
import dataclasses
import itertools
import math
import resource
import statistics
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.sampling import ClassIndex, index_classes
from ..errors import shown
from ..recipes import Recipe
from ..training import Progress, Training, run
from .feeding import batches_of, planned_batches
from .settle import Ground
from .talk import Talk

__all__ = ["Flight", "checked", "fitted", "peak_memory", "step_seconds"]

FIRST = 3
"""Steps that plan, compile and allocate: they are not timed."""
OFTEN = 2.0
"""A class whose images are drawn more often than this an epoch is told of."""
NAMES = 5
ROOM = 0.97
"""The share of a budget that is planned for; a busy machine takes the rest."""


@dataclass(frozen=True, kw_only=True)
class Flight:
    """What is known before the first step.

    Args:
        images_per_class: how many training images each class has, by its name.
        never_drawn: classes that no training image shows.
        drawn_often: how often an epoch draws each image of a class, where that is more than twice.
        batches: an epoch.
        triplets: a batch holds, as expected; pairs for pairs.
    """

    images_per_class: dict[str, int]
    never_drawn: tuple[str, ...]
    drawn_often: dict[str, float]
    batches: int
    triplets: int

    def plain(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return dataclasses.asdict(self)


def checked(ground: Ground) -> Flight:
    """Count what a settled recipe will see of the images."""
    labels, recipe = ground.images.labels[ground.split.train], ground.recipe
    counts = np.bincount(labels, minlength=len(ground.images.class_names))
    index = index_classes(labels)
    present = np.flatnonzero(counts)
    often: dict[str, float] = {}
    if recipe.batches == "p-by-k":
        draws = planned_batches(recipe, index).draws / index.sizes
        often = {
            ground.images.class_names[label]: round(float(times), 2)
            for label, times in zip(present, draws, strict=True)
            if times > OFTEN
        }
    return Flight(
        images_per_class=dict(zip(ground.images.class_names, counts.tolist(), strict=True)),
        never_drawn=tuple(ground.images.class_names[label] for label in _missing(ground, counts)),
        drawn_often=often,
        batches=batches_of(recipe, index),
        triplets=_triplets(recipe, index),
    )


def told(flight: Flight, recipe: Recipe, seconds: float, talk: Talk) -> None:
    """Tell a person what the flight check found."""
    counts = [count for count in flight.images_per_class.values() if count]
    what = {"pairs": "pairs", "shuffled": "images"}.get(recipe.batches, "triplets")
    talk.say(
        f"flight check: {len(counts)} classes of {min(counts):,} to {max(counts):,} training images; "
        f"{flight.batches:,} batches an epoch, about {flight.triplets:,} {what} each"
    )
    steps = recipe.steps or recipe.epochs * flight.batches
    talk.say(
        f"flight check: {steps:,} steps of {1000 * seconds:.1f} ms, about {steps * seconds:.0f} s of "
        f"training in {recipe.precision}; {peak_memory() / 1e6:,.0f} MB of memory at most so far"
    )
    if flight.never_drawn:
        talk.warn(f"classes without a training image, never drawn: {_listed(flight.never_drawn)}")
    if flight.drawn_often:
        often = [f"{shown(name)} {times:g} times" for name, times in flight.drawn_often.items()]
        talk.say(f"flight check: small classes are drawn again to stand beside the others: {_listed(often)}")


def step_seconds(training: Training, steps: int, patience: float = math.inf) -> float:
    """Return how long a step takes, the median of a few, on copies: the training itself stays untouched.

    The first epoch is tried, again and again where it is short, at a rate of 0: no step is too large.

    Args:
        training: as it will be run.
        steps: how many are tried, after three that only warm up.
        patience: after so many seconds of trying, what was measured is enough; one step at least is.
    """
    network, optimizer = copy.deepcopy((training.network, training.optimizer))
    trial = dataclasses.replace(
        training,
        network=network,
        optimizer=optimizer,
        learning_rate=lambda _epoch, _batch: 0.0,
        train_batches=lambda _epoch, skip: training.train_batches(1, skip),
        validation_batches=tuple,
        metrics=(),
        watch=None,
        measures=dict,
    )
    events = (event for event in run(trial, sys.maxsize) if isinstance(event, Progress))
    seconds = [0.0]
    taken = []
    for event in itertools.islice(events, FIRST + steps):
        taken.append(event.position.seconds - (seconds[-1] if event.batch else 0.0))
        seconds.append(event.position.seconds)
        if len(taken) > FIRST and sum(taken) > patience:
            break
    return statistics.median(taken[FIRST:] or taken)


def fitted(recipe: Recipe, flight: Flight, seconds: float, budget: float) -> Recipe:
    """Return the recipe with as many steps as a budget of seconds allows, at least one."""
    steps = max(1, int(ROOM * budget / seconds))
    return dataclasses.replace(recipe, steps=steps, epochs=-(-steps // flight.batches))


def peak_memory() -> int:
    """Return the most bytes of memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _triplets(recipe: Recipe, index: ClassIndex) -> int:
    size = min(recipe.batch_size, len(index.labels))
    if recipe.batches != "p-by-k":
        return size
    plan = planned_batches(recipe, index)
    p, k = plan.classes_per_batch, plan.images_per_class
    return p * k * (k - 1) * (p - 1) * k


def _missing(ground: Ground, counts: NDArray[np.int64]) -> list[int]:
    """Return the classes without a training image, but for those that were held out whole."""
    held_out = (
        np.bincount(ground.images.labels, minlength=len(counts)) > 0 if ground.split.unseen else counts < 0
    )
    return np.flatnonzero((counts == 0) & ~held_out).tolist()


def _listed(names: Any) -> str:  # noqa: ANN401 - any sequence of texts
    some = ", ".join(shown(name) for name in names[:NAMES])
    return some if len(names) <= NAMES else f"{some} and {len(names) - NAMES} more"
