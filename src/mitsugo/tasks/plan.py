"""What a training was asked for, together with what the run folder already holds: one plan."""

import dataclasses
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
from ..model.preprocessing import Preprocessing
from ..recipes import DEFAULT, Recipe, changed, named
from ..values import LabeledImages, Split

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
    seed: int | None = None
    device: str | None = None
    threads: int | None = None
    start_epoch: int | None = None
    resume: bool = False
    overwrite: bool = False

    def changes(self) -> dict[str, Any]:
        """Return the options that change the recipe."""
        names = ("epochs", "dimension", "margin", "batch_size", "learning_rate")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be run: every question answered before step 1."""

    recipe: Recipe
    seed: int
    device: str | None
    start_epoch: int
    threads: int


def planned(options: TrainOptions) -> Plan:
    """Plan a new run."""
    recipe = changed(named(options.recipe or DEFAULT), **options.changes())
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
    return Plan(
        recipe=recipe,
        seed=seed,
        device=options.device,
        start_epoch=start_epoch,
        threads=threads,
    )


def resumed(options: TrainOptions, description: dict[str, Any], out: Path) -> Plan:
    """Plan to go on with a run: what was said must be what it began with, but for a larger --epochs.

    Raises:
        UsageError: an option differs, or fewer epochs than it was planned for.
        ModelError: run.json was written by another version of mitsugo.
    """
    try:
        began = description["recipe"]
        recipe = Recipe(**{**began, "hidden": tuple(began["hidden"])})
        plan = Plan(
            recipe=recipe,
            seed=description["seed"],
            device=description["device"],
            start_epoch=description["start_epoch"],
            threads=description["threads"],
        )
        if not 1 <= plan.threads <= MOST_THREADS or not {"source", "versions"} <= description.keys():
            raise ValueError(plan)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{shown(out / 'run.json')}: was doctored, or written by another version of mitsugo; "
            f"train again with --overwrite"
        ) from error
    differing = {
        "recipe": recipe.name,
        "seed": plan.seed,
        "device": plan.device,
        "start_epoch": plan.start_epoch,
        "threads": plan.threads,
        **{name: getattr(recipe, name) for name in options.changes() if name != "epochs"},
    }
    for name, value in differing.items():
        said = getattr(options, name)
        if said is not None and said != value:
            option = "--" + name.replace("_", "-")
            raise UsageError(
                f"{option} {said}: the run in {shown(out)} began with {value}; "
                f"leave it out or choose another --out"
            )
    epochs = recipe.epochs if options.epochs is None else options.epochs
    if epochs < recipe.epochs:
        raise UsageError(
            f"--epochs {epochs}: the run in {shown(out)} is planned for {recipe.epochs}; "
            f"a total can only grow"
        )
    return dataclasses.replace(plan, recipe=dataclasses.replace(recipe, epochs=epochs))


def described(
    plan: Plan, options: TrainOptions, images: LabeledImages, split: Split, preprocessing: Preprocessing
) -> dict[str, Any]:
    """Return run.json: what made this run, in full."""
    return {
        "source": {
            "name": options.source,
            "fingerprint": fingerprint(images),
            "images": len(images),
            "image_shape": list(images.image_shape),
            "classes": list(images.class_names),
        },
        "split": {
            "how": split.how,
            "train": len(split.train),
            "validation": len(split.validation),
            "test": len(split.test),
            "validation_is_test": split.validation_is_test,
            "fingerprint": sha256_of(*(np.ascontiguousarray(p).data for p in (split.train, split.test))),
        },
        "recipe": plan.recipe.plain(),
        "normalisation": dataclasses.asdict(preprocessing),
        "seed": plan.seed,
        "start_epoch": plan.start_epoch,
        "device": plan.device,
        "threads": plan.threads,
        "precision": "float32",
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
