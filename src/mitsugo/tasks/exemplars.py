"""The pictures of gallery images, for people: from the run's own source, where it is still there."""

import json
from collections.abc import Set as AbstractSet
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.images import decode
from ..data.sources import fingerprint
from ..errors import MitsugoError
from ..model.bundle import Model
from ..runs import RunFolder
from ..values import LabeledImages
from .sourcing import for_model, loaded, remade_source
from .talk import Talk
from .taught import opened_gallery

__all__ = ["exemplar_pictures", "source_images"]


def exemplar_pictures(
    model_path: Path, model: Model, names: AbstractSet[str], talk: Talk
) -> dict[str, NDArray[np.uint8]]:
    """Return the pixels of gallery images by their names, uint8 (c, h, w), as far as they can be found.

    A bundle holds no pictures. The run folder that it lies in names the source that it was trained on; where
    that still holds the same images they are shown, and otherwise named alone, which is told. Of images that
    were taught the gallery keeps a small picture.
    """
    taught = _taught(model_path, model, names)
    return {**_of_source(model_path, model, names - taught.keys(), talk), **taught}


def _taught(model_path: Path, model: Model, names: AbstractSet[str]) -> dict[str, NDArray[np.uint8]]:
    """Return the small pictures that the gallery keeps of what was taught."""
    if model.taught is None or not names & set(model.taught.embeddings.names):
        return {}
    channels = model.architecture.image_shape[0]
    with opened_gallery(model_path, model) as store:
        return {
            row.name: decode(row.thumbnail, row.name, channels) for row in store.rows() if row.name in names
        }


def _of_source(
    model_path: Path, model: Model, names: AbstractSet[str], talk: Talk
) -> dict[str, NDArray[np.uint8]]:
    images = source_images(model_path, model, talk) if names else None
    if images is None:
        return {}
    rows = {name: row for row, name in enumerate(images.names)}
    return {name: np.asarray(images.pixels[rows[name]]) for name in sorted(names) if name in rows}


def source_images(model_path: Path, model: Model, talk: Talk) -> LabeledImages | None:
    """Return the images that a model was trained on, where its run folder still leads to them; else None."""
    folder = model_path if model_path.is_dir() else model_path.parent
    try:
        before = RunFolder(folder).description()
        if before is None:
            talk.say("the bundle lies in no run folder: gallery images are named, not shown")
            return None
        source = before["source"]
        images = loaded(source["name"], for_model(remade_source(source), model))
        if fingerprint(images) != source["fingerprint"]:
            talk.warn("the run's source holds other images now: gallery images are named, not shown")
            return None
    except (MitsugoError, KeyError, TypeError, json.JSONDecodeError) as error:
        talk.warn(f"gallery images are named, not shown: {error}")
        return None
    return images
