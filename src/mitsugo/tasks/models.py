"""From images to a model, from a file to a model, and from images to embeddings."""

from pathlib import Path
from typing import Any

from ..data.sources import check_trainable, load
from ..data.splits import article_split
from ..model.bundle import Model
from ..recipes import DEFAULT, Recipe, changed, named
from ..training import run
from ..values import Embeddings, Epoch, LabeledImages
from .experiment import Experiment, assemble, chosen_device, normalisation_of
from .talk import SILENT, Talk

__all__ = ["embeddings_of", "finished_model", "loaded_model", "train_model", "train_through"]


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
    split = article_split(given, seed)
    check_trainable(given, split)
    experiment = assemble(
        given,
        split,
        chosen,
        seed=seed,
        preprocessing=normalisation_of(source, given, split),
        device=chosen_device(device),
    )
    train_through(experiment, chosen.epochs, talk)
    return finished_model(experiment, given.take(split.train), chosen)


def train_through(experiment: Experiment, epochs: int, talk: Talk) -> tuple[Epoch, ...]:
    """Train an experiment to its end, and return its epochs."""
    history: list[Epoch] = []
    if experiment.training is not None:
        for event in run(experiment.training, epochs):
            if isinstance(event, Epoch):
                history.append(event)
                talk.epoch(event, epochs)
            else:
                talk.progress(event, epochs)
    return tuple(history)


def finished_model(experiment: Experiment, gallery: LabeledImages, recipe: Recipe) -> Model:
    """Return the model of a trained network with its training images as gallery."""
    return Model.of(
        architecture=experiment.architecture,
        network=experiment.network,
        preprocessing=experiment.preprocessing,
        images=gallery,
        recipe=recipe.plain(),
    )


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
