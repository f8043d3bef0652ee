"""Score a model from its bundle alone, on images that it was not trained on."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, shown
from ..space.metrics import evaluate as evaluated
from ..values import Embeddings, LabeledImages
from .models import embeddings_of, loaded_model
from .sourcing import AS_IT_IS, SourceOptions, for_model, loaded
from .talk import SILENT, Talk

__all__ = ["evaluate"]


def evaluate(
    model_path: Path,
    source: str,
    *,
    device: str | None = None,
    sourcing: SourceOptions = AS_IT_IS,
    talk: Talk = SILENT,
) -> dict[str, Any]:
    """Return the scores of a model's gallery on a source: its test part, or all of it where it has none.

    Where it has none, the images that stand in the gallery themselves, under the same name and with the same
    embedding, are left out: each would find itself, and tell nothing. So a run's own source gives the run's
    own accuracy.

    Raises:
        ModelError: a bundle that cannot be trusted.
        DataError: images of another shape, classes that the model does not know, or nothing but the gallery's
            own images.
    """
    model = loaded_model(model_path, device)
    images = loaded(source, for_model(sourcing, model), talk)
    test = images if images.split is None else images.take(images.split.test)
    known = of_known_classes(test, model.class_names, source)
    embedded = embeddings_of(model, known)
    if images.split is None:
        embedded = strangers(embedded, model.gallery, source)
    left_out = len(test) - len(embedded)
    talk.say(
        f"scoring {len(embedded):,} images against a gallery of {len(model.gallery):,}"
        + (f"; {left_out:,} are left out, as they stand in the gallery themselves" if left_out else "")
    )
    evaluation = evaluated(model.gallery, embedded, seed=0)
    return {
        "model": str(model_path),
        "source": source,
        "images": len(embedded),
        "left_out": left_out,
        "part": "all" if images.split is None else "test",
        "fingerprint": model.fingerprint,
        **evaluation.scores.plain(),
        "classes": list(model.class_names),
    }


def strangers(queries: Embeddings, gallery: Embeddings, source: str) -> Embeddings:
    """Return the embeddings of the images that do not stand in the gallery, by name and embedding.

    Raises:
        DataError: all of them do.
    """
    rows = {name: row for row, name in enumerate(gallery.names)}
    own = np.array([rows.get(name, -1) for name in queries.names], dtype=np.int64)
    named = np.flatnonzero(own >= 0)
    same = np.isclose(queries.vectors[named], gallery.vectors[own[named]], rtol=1e-4, atol=1e-4).all(axis=1)
    apart = np.delete(np.arange(len(queries)), named[same])
    if not apart.size:
        raise DataError(
            f"SOURCE {shown(source)}: all its images stand in the model's gallery; "
            f"name images that it was not trained on"
        )
    return dataclasses.replace(
        queries,
        vectors=queries.vectors[apart],
        labels=queries.labels[apart],
        names=tuple(queries.names[i] for i in apart.tolist()),
    )


def of_known_classes(images: LabeledImages, class_names: tuple[str, ...], source: str) -> LabeledImages:
    """Return the images with labels that count in the model's classes, matched by name.

    Raises:
        DataError: a class with images that the model does not know.
    """
    occurring = np.unique(images.labels)
    unknown = [images.class_names[c] for c in occurring if images.class_names[c] not in class_names]
    if unknown:
        raise DataError(
            f"SOURCE {shown(source)}: has classes that the model does not know ({_few(unknown)}); "
            f"it knows {_few(class_names)}: train on them, too"
        )
    number = np.array([class_names.index(n) if n in class_names else -1 for n in images.class_names])
    return dataclasses.replace(images, labels=number[images.labels], class_names=class_names, split=None)


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:5])) + (" …" if len(names) > 5 else "")
