"""Images, a split and a settled recipe in; a network with everything that trains it out."""

import dataclasses
import inspect
import os
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ..errors import UsageError
from ..model.architecture import Architecture
from ..model.backbones import BackboneNet
from ..model.networks import ClassifierNet, Normalised, PairNet, TripletNet, build, initialise
from ..model.precision import InBfloat16
from ..model.preprocessing import Preprocessing, measured
from ..recipes import Recipe
from ..space.losses import LOSSES, Loss
from ..training import Training
from ..values import LabeledImages, Pixels, Split, picked
from ..watch import CollapseWatch
from .features import AS_SHARES, backbone_of, frozen_features
from .feeding import Feed, augmentation_of
from .judging import TOGETHER, Judge

__all__ = [
    "Experiment",
    "assemble",
    "augmentation_of",
    "chosen_device",
    "normalisation_of",
]

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


def normalisation_of(
    source: str, images: LabeledImages, split: Split, recipe: Recipe | None = None
) -> Preprocessing:
    """Return the published constants for `mnist`, else the mean and deviation of the training pixels.

    A recipe with a backbone takes x / 255: the backbone brings its own constants.
    """
    if recipe is not None and recipe.network == "backbone":
        return AS_SHARES
    if source in PUBLISHED_NORMALISATION:
        return PUBLISHED_NORMALISATION[source]
    return measured(picked(images.pixels, split.train))


def assemble(
    images: LabeledImages,
    split: Split,
    recipe: Recipe,
    *,
    seed: int,
    preprocessing: Preprocessing,
    device: torch.device,
    features: Pixels | None = None,
) -> Experiment:
    """Build what a settled recipe describes; all its chance comes from `seed`.

    Args:
        images: all of them.
        split: which of them train, validate and test.
        recipe: a settled one.
        seed: of the run.
        preprocessing: what is done to pixels first; a backbone takes x / 255 whatever is given.
        device: where it trains.
        features: of a frozen backbone, from `frozen_features`; None computes them.

    Raises:
        UsageError: a backbone that cannot be had.
    """
    parts = _built(images, recipe, seed)
    parts.network.to(device)
    parts.whole.to(device)
    preprocessing = AS_SHARES if recipe.network == "backbone" else preprocessing
    experiment = Experiment(
        architecture=parts.architecture, network=parts.network, preprocessing=preprocessing
    )
    if recipe.batches == "none":
        return experiment
    held = images
    if recipe.frozen:
        if features is None:
            features = frozen_features(images, split, recipe, seed=seed, device=device)
        held = dataclasses.replace(images, pixels=features)
    feed = Feed(held, split, recipe, preprocessing, augmentation_of(recipe), seed, device)
    judge = None
    if recipe.validation_share:
        most = TOGETHER if recipe.frozen else parts.architecture.at_once
        judge = Judge(parts.trained, feed, len(images.class_names), most)
    training = Training(
        network=InBfloat16(parts.whole) if recipe.precision == "bfloat16" else parts.whole,
        loss=loss_of(recipe),
        optimizer=_optimizer(parts.whole, recipe),
        learning_rate=partial(recipe.rate, batches=feed.batches),
        train_batches=feed.train,
        validation_batches=feed.validation,
        measures=judge or dict,
        watch=CollapseWatch(),
    )
    return dataclasses.replace(experiment, training=training, judge=judge)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Parts:
    """A network; the part of it that embeds what the feed gives; and that part as it trains."""

    architecture: Architecture
    network: nn.Module
    trained: nn.Module
    whole: nn.Module


def _built(images: LabeledImages, recipe: Recipe, seed: int) -> _Parts:
    backbone = backbone_of(recipe) if recipe.network == "backbone" else None
    architecture = _architecture(images, recipe, 0 if backbone is None else backbone.side)
    with torch.device("meta"):  # no weight is drawn from the global generator
        network = build(architecture)
        trained = _head(network) if recipe.frozen else network
        whole = _whole(trained, recipe, architecture.dimension, len(images.class_names))
    whole.to_empty(device="cpu")
    initialise(whole, torch.Generator().manual_seed(seed))
    inner = _inner(network)
    if backbone is not None and isinstance(inner, BackboneNet):
        inner.trunk, inner.mean, inner.std = backbone.trunk, backbone.mean, backbone.std
        inner.trunk.requires_grad_(not recipe.frozen)
    return _Parts(architecture=architecture, network=network, trained=trained, whole=whole)


def _architecture(images: LabeledImages, recipe: Recipe, backbone_side: int) -> Architecture:
    return Architecture(
        name=recipe.network,
        image_shape=images.image_shape,
        dimension=recipe.dimension or images.pixels[0].size,
        hidden=recipe.hidden,
        channels=recipe.channels,
        normalised=recipe.normalised,
        blocks=recipe.blocks,
        backbone=recipe.backbone,
        backbone_side=backbone_side,
    )


def _inner(network: nn.Module) -> nn.Module:
    return network.embedding_net if isinstance(network, Normalised) else network


def _head(network: nn.Module) -> nn.Module:
    """Return what stands behind a network's features, sharing its weights."""
    layers: nn.Module = _inner(network).layers  # type: ignore[assignment]
    return Normalised(layers) if isinstance(network, Normalised) else layers


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
