"""Images, a split and a settled recipe in; a network with everything that trains it out."""

import dataclasses
import inspect
import os
from dataclasses import dataclass, fields
from functools import partial

import torch
from torch import nn

from ..data.augment import Augmentation
from ..errors import UsageError
from ..model.networks import Architecture, ClassifierNet, PairNet, TripletNet, build, initialise
from ..model.precision import InBfloat16
from ..model.preprocessing import Preprocessing, measured
from ..recipes import Recipe
from ..space.losses import LOSSES, Loss
from ..training import Training
from ..values import LabeledImages, Split, picked
from ..watch import CollapseWatch
from .feeding import Feed
from .judging import Judge

__all__ = ["Experiment", "assemble", "augmentation_of", "chosen_device", "normalisation_of"]

PUBLISHED_NORMALISATION = {"mnist": Preprocessing(mean=0.1307, std=0.3081)}
"""The walk-through's constants; other sources are measured."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """A network and what trains it; `training` is None where a recipe trains nothing.

    `judge` tells epochs and ks apart on validation images; None where there are none to choose by.
    """

    architecture: Architecture
    network: nn.Module
    preprocessing: Preprocessing
    training: Training | None = None
    judge: Judge | None = None


def chosen_device(name: str | None) -> torch.device:
    """Return the device of that name; without a name CUDA where it is present, else the CPU.

    Raises:
        UsageError: no such device on this machine.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type not in {"cpu", "cuda"}:
            raise NotImplementedError(device.type)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"--device {name}: there is none on this machine, expected cpu, cuda or cuda:N"
        ) from error
    if device.type == "cuda":  # the same seed gives the same bits there, too
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True)
    return device


def normalisation_of(source: str, images: LabeledImages, split: Split) -> Preprocessing:
    """Return the published constants for `mnist`, else the mean and deviation of the training pixels."""
    if source in PUBLISHED_NORMALISATION:
        return PUBLISHED_NORMALISATION[source]
    return measured(picked(images.pixels, split.train))


def augmentation_of(recipe: Recipe) -> Augmentation:
    """Return how a recipe changes training images."""
    return Augmentation(**{field.name: getattr(recipe, field.name) for field in fields(Augmentation)})


def assemble(
    images: LabeledImages,
    split: Split,
    recipe: Recipe,
    *,
    seed: int,
    preprocessing: Preprocessing,
    device: torch.device,
) -> Experiment:
    """Build what a settled recipe describes; all its chance comes from `seed`."""
    architecture = Architecture(
        name=recipe.network,
        image_shape=images.image_shape,
        dimension=recipe.dimension or images.pixels[0].size,
        hidden=recipe.hidden,
        channels=recipe.channels,
        normalised=recipe.normalised,
    )
    with torch.device("meta"):  # no weight is drawn from the global generator
        network = build(architecture)
        whole = _whole(network, recipe, architecture.dimension, len(images.class_names))
    whole.to_empty(device="cpu")
    initialise(whole, torch.Generator().manual_seed(seed))
    whole.to(device)
    experiment = Experiment(architecture=architecture, network=network, preprocessing=preprocessing)
    if recipe.batches == "none":
        return experiment
    feed = Feed(images, split, recipe, preprocessing, augmentation_of(recipe), seed, device)
    judge = Judge(network, feed, len(images.class_names)) if recipe.validation_share else None
    training = Training(
        network=InBfloat16(whole) if recipe.precision == "bfloat16" else whole,
        loss=loss_of(recipe),
        optimizer=_optimizer(whole, recipe),
        learning_rate=partial(recipe.rate, batches=feed.batches),
        train_batches=feed.train,
        validation_batches=feed.validation,
        measures=judge or dict,
        watch=CollapseWatch(),
    )
    return dataclasses.replace(experiment, training=training, judge=judge)


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.weight_decay:
        return torch.optim.AdamW(
            network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
    return torch.optim.Adam(network.parameters(), lr=recipe.learning_rate, fused=True)


def loss_of(recipe: Recipe) -> partial[Loss]:
    """Return a recipe's loss with the settings of the recipe that it takes."""
    loss = LOSSES[recipe.loss]
    known = inspect.signature(loss).parameters
    fixed = loss.keywords if isinstance(loss, partial) else {}
    names = ("margin", "size_average", "distance", "average", "temperature")
    return partial(loss, **{n: getattr(recipe, n) for n in names if n in known and n not in fixed})


def _whole(network: nn.Module, recipe: Recipe, dimension: int, classes: int) -> nn.Module:
    """Return the network as it trains: behind it what only training sees."""
    if recipe.loss == "softmax":
        return ClassifierNet(network, dimension, classes)
    return {"triplets": TripletNet, "pairs": PairNet}.get(recipe.batches, lambda alone: alone)(network)
