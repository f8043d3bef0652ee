"""From images to a model, from a file to a model, and from images to embeddings."""

from pathlib import Path
from typing import Any

import torch

from ..data.sources import load
from ..model.bundle import FILE_NAME, Model
from ..recipes import DEFAULT, Recipe
from ..settings import changed, named
from ..training import run
from ..values import Embeddings, Epoch, LabeledImages
from .experiment import Experiment, assemble, chosen_device
from .judging import Kept, chosen_k
from .settle import Ground, settle
from .talk import SILENT, Talk

__all__ = ["bundle_path", "embeddings_of", "finished_model", "loaded_model", "train_model", "trained_model"]


def train_model(
    images: str | Path | LabeledImages,
    recipe: str | Recipe = DEFAULT,
    *,
    seed: int = 0,
    device: str | None = None,
    talk: Talk = SILENT,
    **changes: Any,  # noqa: ANN401 - the recipe checks them
) -> Model:
    """Train a model on the training part of a source or of images in hand, without a run folder.

    Args:
        images: what can be named as a source, or labelled images; without a split of their own 80 % of each
            class train.
        recipe: a recipe or its name.
        seed: the same seed gives the same weights.
        device: cpu, cuda or cuda:N; CUDA where it is present.
        talk: who listens.
        changes: of the recipe: epochs, dimension, margin, batch_size, learning_rate, …

    Raises:
        UsageError: a name or a value that cannot be meant.
        DataError: images that cannot be trained on.
        ModelError: a loss that is not finite.
    """
    source = "" if isinstance(images, LabeledImages) else str(images)
    given = images if isinstance(images, LabeledImages) else load(images)
    chosen = changed(named(recipe) if isinstance(recipe, str) else recipe, **changes)
    where = chosen_device(device)
    return trained_model(settle(source, given, chosen, seed=seed, device=where), seed, where, talk)[0]


def trained_model(
    ground: Ground, seed: int, device: torch.device, talk: Talk
) -> tuple[Model, tuple[Epoch, ...]]:
    """Train what was settled to its end; return the model, with its gallery, and the epochs."""
    experiment = assemble(
        ground.images,
        ground.split,
        ground.recipe,
        seed=seed,
        preprocessing=ground.preprocessing,
        device=device,
    )
    history: list[Epoch] = []
    kept = Kept(best=ground.recipe.keep == "best")
    if experiment.training is not None:
        for event in run(experiment.training, ground.recipe.epochs):
            if isinstance(event, Epoch):
                history.append(event)
                kept.see(event, experiment.network)
                talk.epoch(event, ground.recipe.epochs)
            else:
                talk.progress(event, ground.recipe.epochs)
    kept.put_back(experiment.network)
    k = chosen_k(experiment.judge)
    return finished_model(experiment, ground, ground.recipe, k), tuple(history)


def finished_model(
    experiment: Experiment, ground: Ground, recipe: Recipe, k: int, ng: tuple[str, ...] = ()
) -> Model:
    """Return the model of a trained network with its gallery, and the k that it votes with."""
    return Model.of(
        architecture=experiment.architecture,
        network=experiment.network,
        preprocessing=experiment.preprocessing,
        images=ground.gallery,
        recipe=recipe.plain(),
        k=k,
        ng=ng,
        seen=ground.seen(),
    )


def bundle_path(path: Path) -> Path:
    """Return the bundle of a run folder, or the bundle itself."""
    return path / FILE_NAME if path.is_dir() else path


def loaded_model(path: Path, device: str | None) -> Model:
    """Return the model of a run folder or a bundle, on the chosen device."""
    model = Model.load(path)
    model.network.to(chosen_device(device))
    return model


def embeddings_of(model: Model, images: LabeledImages) -> Embeddings:
    """Embed images whose labels count in the model's classes."""
    return Embeddings(
        vectors=model.embed(images.pixels),
        labels=images.labels,
        class_names=images.class_names,
        names=images.names,
        fingerprint=model.fingerprint,
    )
