"""What a training was asked for, together with what the run folder already holds: one plan."""

import dataclasses
import json
import math
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__
from ..data.sources import fingerprint
from ..errors import ModelError, UsageError, shown
from ..files import sha256_of
from ..recipes import DEFAULT, Recipe, option_of
from ..settings import changed, named, remade, setting
from .experiment import augmentation_of
from .flight import Flight
from .settle import Ground
from .sourcing import AS_IT_IS, SourceOptions, remade_source

__all__ = ["Plan", "TrainOptions", "described", "planned", "resumed"]

MOST_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What was asked for; None where nothing was said."""

    source: str
    out: Path | None = None
    recipe: str | None = None
    epochs: int | None = None
    dimension: int | None = None
    margin: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    loss: str | None = None
    precision: str | None = None
    settings: tuple[str, ...] = ()
    """Any other key of the recipe, as key=value."""
    budget: str | None = None
    seed: int | None = None
    device: str | None = None
    threads: int | None = None
    start_epoch: int | None = None
    resume: bool = False
    overwrite: bool = False
    sourcing: SourceOptions = AS_IT_IS
    tensorboard: bool = False
    """Whether the curves are written for TensorBoard, too."""

    def changes(self) -> dict[str, Any]:
        """Return the options that change the recipe."""
        names = ("epochs", "dimension", "margin", "batch_size", "learning_rate", "loss", "precision")
        options = {name: value for name in names if (value := getattr(self, name)) is not None}
        return dict(setting(text, f"--set {text}") for text in self.settings) | options

    def asked(self) -> dict[str, Any]:
        """Return what the options and a recipe's file ask of a recipe, some of which images may settle."""
        file = named(self.recipe).plain() if self.recipe and self.recipe.endswith(".toml") else {}
        return file | self.changes()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be run: every question answered before step 1."""

    recipe: Recipe
    seed: int
    device: str | None
    start_epoch: int
    threads: int
    budget: float | None = None
    """Seconds of training that the steps were fitted to."""
    asked: dict[str, Any]
    """What was asked of the recipe: the same may be asked again, whatever was settled since."""
    sourcing: SourceOptions


def planned(options: TrainOptions) -> Plan:
    """Plan a new run."""
    recipe = changed(named(options.recipe or DEFAULT), **options.changes())
    augmentation_of(dataclasses.replace(recipe, flip_horizontal=recipe.flip_horizontal or 0.0))  # in range
    start_epoch = options.start_epoch or 0
    if not 0 <= start_epoch <= recipe.epochs:
        raise UsageError(
            f"--start-epoch {start_epoch}: expected 0 to {recipe.epochs}, the total that --epochs gives"
        )
    seed = options.seed or 0
    if not 0 <= seed < 1 << 63:
        raise UsageError(f"--seed {seed}: expected 0 to 2^63 - 1")
    threads = torch.get_num_threads() if options.threads is None else options.threads
    if not 1 <= threads <= MOST_THREADS:
        raise UsageError(f"--threads {threads}: expected 1 to {MOST_THREADS}")
    budget = None if options.budget is None else seconds_of(options.budget)
    steps_given = {"epochs", "steps"} & options.changes().keys() or start_epoch
    if budget is not None and (steps_given or recipe.batches == "none"):
        raise UsageError(
            f"--budget {options.budget}: gives the number of steps, so it goes with a recipe that trains and "
            f"without --epochs, --set steps=N and --start-epoch"
        )
    return Plan(
        recipe=recipe,
        seed=seed,
        device=options.device,
        start_epoch=start_epoch,
        threads=threads,
        budget=budget,
        asked=options.asked(),
        sourcing=options.sourcing,
    )


def seconds_of(text: str) -> float:
    """Return the seconds of a text like 90, 90s, 2m or 1.5h.

    >>> seconds_of("2m"), seconds_of("1.5h"), seconds_of("10")
    (120.0, 5400.0, 10.0)

    Raises:
        UsageError: it is no time, or none at all.
    """
    units = {"s": 1, "m": 60, "h": 3600}
    number = text.rstrip("smh")
    try:
        seconds = float(number) * units.get(text[len(number) :] or "s", math.nan)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UsageError(f"--budget {text}: is no time; expected seconds, minutes or hours as 90s, 2m or 1h")
    return seconds


def resumed(options: TrainOptions, description: dict[str, Any], out: Path) -> Plan:
    """Plan to go on with a run: what was said must be what it began with, but for a larger --epochs.

    Raises:
        UsageError: an option differs, or fewer epochs than it was planned for.
        ModelError: run.json was written by another version of mitsugo.
    """
    plan = _began(description, out)
    _check_said(options, plan, out)
    epochs = options.changes().get("epochs", plan.recipe.epochs)
    if epochs == plan.asked.get("epochs"):  # which settling may have made more or fewer
        epochs = plan.recipe.epochs
    if epochs < plan.recipe.epochs:
        raise UsageError(
            f"--epochs {epochs}: the run in {shown(out)} is planned for {plan.recipe.epochs}; "
            f"a total can only grow"
        )
    if epochs > plan.recipe.epochs and plan.recipe.schedule == "one-cycle":
        raise UsageError(
            f"--epochs {epochs}: the one cycle of rates of the run in {shown(out)} was laid over "
            f"{plan.recipe.epochs}; a longer run is another run: choose another --out"
        )
    if epochs > plan.recipe.epochs and plan.recipe.steps is not None:
        raise UsageError(
            f"--epochs {epochs}: the run in {shown(out)} ends after {plan.recipe.steps} steps; "
            f"a longer run is another run: choose another --out"
        )
    asked = plan.asked | ({"epochs": epochs} if epochs > plan.recipe.epochs else {})
    return dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, epochs=epochs), asked=asked)


def _began(description: dict[str, Any], out: Path) -> Plan:
    """Return the plan that run.json tells of."""
    try:
        plan = Plan(
            recipe=remade(description["recipe"], "run.json"),
            seed=description["seed"],
            device=description["device"],
            start_epoch=description["start_epoch"],
            threads=description["threads"],
            budget=description["budget"],
            asked=dict(description["asked"]),
            sourcing=remade_source(description["source"]),
        )
        if not 1 <= plan.threads <= MOST_THREADS or not {"source", "versions"} <= description.keys():
            raise ValueError(plan)
    except (KeyError, TypeError, ValueError, AttributeError, ModelError) as error:
        raise ModelError(
            f"{shown(out / 'run.json')}: was doctored, or written by another version of mitsugo; "
            f"train again with --overwrite"
        ) from error
    return plan


def _check_said(options: TrainOptions, plan: Plan, out: Path) -> None:
    """Look that what was said is what the run began with; what was left open then may be left open again."""
    given = changed(plan.recipe, **options.changes()).plain()
    asked = {name: given[name] if name in options.changes() else v for name, v in options.asked().items()}
    said = {
        "recipe": (options.recipe and named(options.recipe).name, plan.recipe.name),
        "seed": (options.seed, plan.seed),
        "device": (options.device, plan.device),
        "start_epoch": (options.start_epoch, plan.start_epoch),
        "threads": (options.threads, plan.threads),
        "budget": (None if options.budget is None else seconds_of(options.budget), plan.budget),
    } | {
        name: (value, plan.recipe.plain()[name])
        for name, value in asked.items()
        if name != "epochs" and value != plan.asked.get(name)
    }
    if options.sourcing.plain() not in (AS_IT_IS.plain(), plan.sourcing.plain()):
        raise UsageError(
            f"the images of the run in {shown(out)} were read by other options: give those that it "
            f"began with ({json.dumps(plan.sourcing.plain())}), or none, or choose another --out"
        )
    for name, (value, before) in said.items():
        if value is not None and value != before:
            raise UsageError(
                f"{option_of(name)} {value}: the run in {shown(out)} began with {before}; "
                f"leave it out or choose another --out"
            )


def described(plan: Plan, source: str, ground: Ground, flight: Flight | None) -> dict[str, Any]:
    """Return run.json: what made this run, in full."""
    images, split = ground.images, ground.split
    return {
        "source": {
            "name": source,
            "fingerprint": fingerprint(images),
            "images": len(images),
            "image_shape": list(images.image_shape),
            "classes": list(images.class_names),
            **plan.sourcing.plain(),
            "intake": None if images.intake is None else dataclasses.asdict(images.intake),
        },
        "split": {
            "how": split.how,
            "train": len(split.train),
            "validation": len(split.validation),
            "test": len(split.test),
            "calibration": len(split.calibration),
            "validation_is_test": split.validation_is_test,
            "unseen": split.unseen,
            "validation_unseen": split.validation_unseen,
            "fingerprint": sha256_of(
                # an empty part adds nothing: a run without calibration images keeps its fingerprint
                *(np.ascontiguousarray(part).data for part in split.parts)
            ),
        },
        "guard": ground.found.plain(),
        "recipe": plan.recipe.plain(),
        "normalisation": dataclasses.asdict(ground.preprocessing),
        "flight": None if flight is None else flight.plain(),
        "seed": plan.seed,
        "start_epoch": plan.start_epoch,
        "device": plan.device,
        "threads": plan.threads,
        "precision": plan.recipe.precision,
        "budget": plan.budget,
        "asked": plan.asked,
        "versions": versions(),
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "cores": os.cpu_count(),
        },
    }


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    return {
        "mitsugo": __version__,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
