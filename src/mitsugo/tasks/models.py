"""From an experiment to a model, from a file to a model, and from images to embeddings."""

from pathlib import Path

from ..model.bundle import Model
from ..recipes import Recipe
from ..values import Embeddings, LabeledImages
from .experiment import Experiment, chosen_device

__all__ = ["embeddings_of", "finished_model", "loaded_model"]


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
