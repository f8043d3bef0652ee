"""Images, a split and a recipe in; a network with everything that trains it out."""

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..data.sampling import (
    Batch,
    ClassIndex,
    Draw,
    fixed_pairs,
    fixed_triplets,
    gathered,
    generator_of,
    index_classes,
    random_pairs,
    random_triplets,
)
from ..errors import UsageError
from ..model.networks import Architecture, PairNet, TripletNet, build, initialise
from ..model.preprocessing import Preprocessing, measured, prepare
from ..recipes import Recipe
from ..shapes import Tensor
from ..space.losses import LOSSES, Loss
from ..training import Training
from ..values import LabeledImages, Split

__all__ = ["Experiment", "assemble", "chosen_device", "normalisation_of"]

PUBLISHED_NORMALISATION = {"mnist": Preprocessing(mean=0.1307, std=0.3081)}
"""The walk-through's constants; other sources are measured."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """A network and what trains it; `training` is None where a recipe trains nothing."""

    architecture: Architecture
    network: nn.Module
    preprocessing: Preprocessing
    training: Training | None


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
    return measured(images.pixels[split.train])


def assemble(
    images: LabeledImages,
    split: Split,
    recipe: Recipe,
    *,
    seed: int,
    preprocessing: Preprocessing,
    device: torch.device,
) -> Experiment:
    """Build what a recipe describes; all its chance comes from `seed`."""
    values = int(np.prod(images.image_shape))
    architecture = Architecture(
        name=recipe.network,
        image_shape=images.image_shape,
        dimension=recipe.dimension or values,
        hidden=recipe.hidden,
    )
    with torch.device("meta"):  # no weight is drawn from the global generator
        network = build(architecture)
    network.to_empty(device="cpu")
    initialise(network, torch.Generator().manual_seed(seed))
    network.to(device)
    training = None
    if recipe.batches != "none":
        pixels = torch.tensor(images.pixels, device=device)
        batches = _Batches(images.labels, split, recipe, pixels, preprocessing, seed)
        training = Training(
            network=TripletNet(network) if recipe.batches == "triplets" else PairNet(network),
            loss=_loss(recipe),
            optimizer=torch.optim.Adam(network.parameters(), lr=recipe.learning_rate, fused=True),
            learning_rate=recipe.rate,
            train_batches=batches.train,
            validation_batches=batches.validation,
        )
    return Experiment(
        architecture=architecture, network=network, preprocessing=preprocessing, training=training
    )


class _Batches:
    """The batches of each epoch, by the recipe's rule."""

    def __init__(
        self,
        labels: NDArray[np.int64],
        split: Split,
        recipe: Recipe,
        pixels: Tensor,
        preprocessing: Preprocessing,
        seed: int,
    ) -> None:
        draw, fixed = {
            "triplets": (random_triplets, fixed_triplets),
            "pairs": (random_pairs, fixed_pairs),
        }[recipe.batches]
        self._draw = draw
        self._seed = seed
        self._train = split.train
        self._index: ClassIndex = index_classes(labels[split.train])
        self._fixed = _of(split.validation, fixed(index_classes(labels[split.validation])))
        self._gather = partial(
            gathered,
            pixels=pixels,
            prepare=partial(prepare, preprocessing=preprocessing),
            batch_size=recipe.batch_size,
        )

    def train(self, epoch: int, skip: int) -> Iterator[Batch]:
        draw = self._draw(self._index, generator_of(self._seed, epoch))
        return self._gather(_of(self._train, draw), skip=skip)

    def validation(self) -> Iterator[Batch]:
        return self._gather(self._fixed)


def _of(part: NDArray[np.int64], draw: Draw) -> Draw:
    return dataclasses.replace(draw, indices=part[draw.indices])


def _loss(recipe: Recipe) -> partial[Loss]:
    return partial(LOSSES[recipe.loss], margin=recipe.margin, size_average=recipe.size_average)
