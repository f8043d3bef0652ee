"""A model together with the gallery that was taught to it."""

import dataclasses
from pathlib import Path

import numpy as np

from ..errors import DataError, ModelError, UsageError
from ..gallery import Store, opened
from ..model.bundle import Model
from ..model.thresholds import calibrated
from ..values import VALIDATION, Gates, Kept, Seen
from .models import bundle_path, loaded_model

__all__ = ["folded", "gallery_path", "kept_apart", "opened_gallery", "taught_model"]


def gallery_path(path: Path) -> Path:
    """Return where the gallery of a run folder or a bundle lies: beside the bundle, by its name.

    >>> gallery_path(Path("line-3.mitsugo")).name
    'line-3.gallery.sqlite'
    """
    return bundle_path(path).with_suffix(".gallery.sqlite")


def opened_gallery(path: Path, model: Model, *, create: bool = False) -> Store:
    """Open the gallery beside a bundle.

    Raises:
        StoreError: it cannot be used, or there is none and none is begun.
        ModelError: a model that was made before anything could be taught.
    """
    if model.gates is None:
        raise ModelError("the model was made before anything could be taught to it; train it again")
    return opened(
        gallery_path(path),
        fingerprint=model.fingerprint,
        dimension=model.architecture.dimension,
        statistics=len(model.gates.mean),
        create=create,
    )


def taught_model(path: str | Path, device: str | None = None) -> Model:
    """Return the model of a run folder or a bundle with what was taught to it since.

    Its own gallery is `Model.gallery`; with what was taught, `Model.known.embeddings`.

    Raises:
        ModelError: a bundle that cannot be trusted.
        StoreError: a gallery that cannot be used.
    """
    path = Path(path)
    model = loaded_model(path, device)
    if not gallery_path(path).exists():
        return model
    with opened_gallery(path, model) as store:
        taught = store.taught(model.fingerprint)
    return dataclasses.replace(model, taught=taught)


def folded(model: Model) -> Model:
    """Return a model whose own gallery holds what was taught; its thresholds are scored again.

    Raises:
        DataError: all its calibration images were taught.
    """
    taught, known, gates = model.taught, model.known, model.gates
    if taught is None or gates is None or model.seen is None:
        return model
    base, seen = len(model.gallery), model.seen
    new = Seen(
        digests=np.concatenate([seen.digests[:base], taught.digests, seen.digests[base:]]),
        parts=np.concatenate(
            [seen.parts[:base], np.full(len(taught), VALIDATION, np.uint8), seen.parts[base:]]
        ),
        groups=seen.groups,
    )
    names = known.embeddings.class_names
    whole = dataclasses.replace(
        model,
        class_names=names,
        gallery=known.embeddings,
        ng=tuple(name for name, bad in zip(names, known.ng, strict=True) if bad),
        seen=new,
        gates=Gates(
            sizes=gates.sizes,
            usual=gates.usual,
            scales=known.scales,
            mean=gates.mean,
            whitener=gates.whitener,
            units=gates.units,
            others=known.whitened,
            reach=known.reach,
            folded=known.new.astype(np.uint8),
        ),
        calibration=None,
        taught=None,
    )
    if model.calibration is None:
        return whole
    again = calibrated(whole.known, kept_apart(model), model.calibration.asked, whole.state)
    return dataclasses.replace(whole, calibration=again)


def kept_apart(model: Model) -> Kept:
    """Return a model's calibration images, but for such as were taught since, and all of a group with one.

    Raises:
        UsageError: it holds none.
        DataError: none is left.
    """
    if model.calibration is None:
        raise UsageError(
            "the model holds no calibration images yet; name a SOURCE of images that it never saw"
        )
    kept = model.calibration.kept.apart_from(model.known.digests)
    if kept is None:
        raise DataError(
            "all calibration images of the model were taught since: mitsugo calibrate MODEL SOURCE sets the "
            "thresholds from others"
        )
    return kept
