"""Score a model from its bundle alone, on images that it was not trained on."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, shown
from ..model.bundle import Model
from ..shapes import Int64
from ..space.metrics import evaluate as evaluated
from ..space.metrics import evaluate_alone
from ..values import CALIBRATION, Embeddings, LabeledImages, digests_of, picked
from .models import embeddings_of, loaded_model
from .scoring import check_ng
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
    embedding, are left out: each would find itself, and tell nothing; and so are those that the run kept
    apart to calibrate on. So a run's own source gives the run's own accuracy. Where no class of the images
    stands in the gallery, as where a run held whole classes out, each image is asked among the others
    instead.

    Raises:
        ModelError: a bundle that cannot be trusted.
        UsageError: an NG class that the source does not have.
        DataError: images of another shape, some classes that the model does not know, or nothing but the
            gallery's own images.
    """
    model = loaded_model(model_path, device)
    images = loaded(source, for_model(sourcing, model), talk)
    check_ng(sourcing.ng, images.class_names, source)
    test = images if images.split is None else images.take(images.split.test)
    known = of_known_classes(test, model.class_names, source)
    embedded = embeddings_of(model, known)
    rows = np.arange(len(known))
    if images.split is None:
        rows = strangers(embedded, model.gallery, source)
        rows = _not_kept_apart(known, rows, model)
        embedded = _some(embedded, rows)
    groups = None if known.groups is None else known.groups[rows]
    left_out = len(test) - len(embedded)
    left = (
        f"; {left_out:,} are left out, as the gallery or the calibration part holds them" if left_out else ""
    )
    if _strange(embedded, model.gallery):
        against = "each other"
        talk.say(
            f"scoring {len(embedded):,} images of classes that are not in the gallery, each against the "
            f"others{left}"
        )
        evaluation = evaluate_alone(embedded, seed=0, query_groups=groups, ng=sourcing.ng)
    else:
        against = "gallery"
        talk.say(f"scoring {len(embedded):,} images against a gallery of {len(model.gallery):,}{left}")
        evaluation = evaluated(model.gallery, embedded, seed=0, query_groups=groups, ng=sourcing.ng)
    return {
        "model": str(model_path),
        "source": source,
        "images": len(embedded),
        "left_out": left_out,
        "part": "all" if images.split is None else "test",
        "against": against,
        "fingerprint": model.fingerprint,
        **evaluation.scores.plain(),
        "classes": list(embedded.class_names),
    }


def strangers(queries: Embeddings, gallery: Embeddings, source: str) -> Int64[np.ndarray, " m"]:
    """Return which of the images do not stand in the gallery, by name and embedding.

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
    return apart


def _not_kept_apart(images: LabeledImages, rows: Int64[np.ndarray, " m"], model: Model) -> NDArray[np.int64]:
    """Return the rows without the images that were kept apart to calibrate on, unless there are no others."""
    if model.seen is None:
        return rows
    apart = set(map(bytes, model.seen.digests[model.seen.parts == CALIBRATION]))
    if not apart:
        return rows
    digests = digests_of(picked(images.pixels, rows))
    left = rows[np.array([bytes(digest) not in apart for digest in digests], np.bool_)]
    return left if left.size else rows


def of_known_classes(
    images: LabeledImages, class_names: tuple[str, ...], source: str, *, strict: bool = False
) -> LabeledImages:
    """Return the images with labels that count in the model's classes, matched by name.

    Images whose classes are all new to the model keep their own, unless that is refused by `strict`.

    Raises:
        DataError: the model knows some of the classes with images, and some not.
    """
    occurring = np.unique(images.labels)
    unknown = [images.class_names[c] for c in occurring if images.class_names[c] not in class_names]
    if len(unknown) == len(occurring) and not strict:
        return dataclasses.replace(images, split=None)
    if unknown:
        raise DataError(
            f"SOURCE {shown(source)}: has classes that the model does not know ({_few(unknown)}); "
            f"it knows {_few(class_names)}: train on them, too"
        )
    number = np.array([class_names.index(n) if n in class_names else -1 for n in images.class_names])
    return dataclasses.replace(images, labels=number[images.labels], class_names=class_names, split=None)


def _strange(queries: Embeddings, gallery: Embeddings) -> bool:
    """Return whether no query's class stands in the gallery."""
    there = {gallery.class_names[label] for label in np.unique(gallery.labels)}
    return not there & {queries.class_names[label] for label in np.unique(queries.labels)}


def _some(embedded: Embeddings, rows: Int64[np.ndarray, " m"]) -> Embeddings:
    return dataclasses.replace(
        embedded,
        vectors=embedded.vectors[rows],
        labels=embedded.labels[rows],
        names=tuple(embedded.names[i] for i in rows.tolist()),
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:5])) + (" …" if len(names) > 5 else "")
