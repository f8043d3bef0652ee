"""Score a model from its bundle alone, on the test part of a source."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ..data.sources import load
from ..errors import DataError
from ..space.metrics import evaluate as evaluated
from ..values import LabeledImages
from .models import embeddings_of, loaded_model
from .talk import SILENT, Talk

__all__ = ["evaluate"]


def evaluate(
    model_path: Path, source: str, *, device: str | None = None, talk: Talk = SILENT
) -> dict[str, Any]:
    """Return the scores of a model's gallery on a source: its test part, or all of it where it has none.

    Raises:
        ModelError: a bundle that cannot be trusted.
        DataError: images of another shape, or classes that the model does not know.
    """
    model = loaded_model(model_path, device)
    images = load(source)
    test = images if images.split is None else images.take(images.split.test)
    talk.say(f"scoring {len(test):,} images against a gallery of {len(model.gallery):,}")
    known = of_known_classes(test, model.class_names, source)
    evaluation = evaluated(model.gallery, embeddings_of(model, known), seed=0)
    return {
        "model": str(model_path),
        "source": source,
        "images": len(test),
        "part": "all" if images.split is None else "test",
        "fingerprint": model.fingerprint,
        "scores": {n: dataclasses.asdict(s) for n, s in evaluation.scores.numbers().items()},
        "confusion": evaluation.scores.confusion.tolist(),
        "classes": list(model.class_names),
    }


def of_known_classes(images: LabeledImages, class_names: tuple[str, ...], source: str) -> LabeledImages:
    """Return the images with labels that count in the model's classes, matched by name.

    Raises:
        DataError: a class with images that the model does not know.
    """
    occurring = np.unique(images.labels)
    unknown = [images.class_names[c] for c in occurring if images.class_names[c] not in class_names]
    if unknown:
        raise DataError(
            f"SOURCE {source}: has classes that the model does not know ({', '.join(unknown[:5])}); "
            f"it knows {', '.join(class_names[:5])}{' …' if len(class_names) > 5 else ''}: train on them, too"
        )
    number = np.array([class_names.index(n) if n in class_names else -1 for n in images.class_names])
    return dataclasses.replace(images, labels=number[images.labels], class_names=class_names, split=None)
