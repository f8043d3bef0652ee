"""Set the thresholds of a model from images that it never saw; nothing is trained."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..data.guard import units
from ..errors import DataError, ModelError, shown
from ..model.bundle import Model
from ..model.thresholds import calibrated
from ..shapes import Bool
from ..space.promises import ROOM, images_needed
from ..values import CALIBRATION, Asked, Calibration, Kept, LabeledImages, Seen, digests_of, digests_of_names
from .evaluate import of_known_classes
from .models import bundle_path
from .parting import equal_alone
from .scoring import check_ng
from .sourcing import AS_IT_IS, SourceOptions, for_model, loaded
from .talk import SILENT, Talk
from .taught import kept_apart, taught_model

__all__ = ["calibrate", "calibrated_plain"]

DECIDING: Final = ("cost_escape", "cost_overkill", "ng_share", "escapes")
STRICTER: Final = (0.1, 0.05, 0.02, 0.01, 0.005, 0.001)


def calibrate(
    model_path: Path,
    source: str | None,
    said: Mapping[str, Any],
    *,
    device: str | None = None,
    sourcing: SourceOptions = AS_IT_IS,
    talk: Talk = SILENT,
) -> dict[str, Any]:
    """Set thresholds from the images of a source that the model never saw, and write them into the bundle.

    Left out are images of the gallery and the test part, by their pixels, and all that are of a group with
    one of them. The images go into the bundle, as embeddings: without a source they are scored again, as is
    due after the gallery was changed.

    Args:
        model_path: a run folder or a bundle.
        source: what can be named as a source; None takes the images of the last calibration.
        said: what the thresholds keep to, fields of `values.Asked`; None where nothing was said: without a
            source that is what was asked for the last time, else the usual.
        device: cpu, cuda or cuda:N.
        sourcing: how the source is read, and which classes are NG, where the model does not know that yet.
        talk: who listens.

    Raises:
        UsageError: costs without an NG class, or no source and no calibration before.
        ModelError: a bundle that cannot be trusted, or that does not say which images it was made with.
        DataError: no image is left, or the model does not know a class.
        ResourceError: the bundle cannot be written.
    """
    model = taught_model(model_path, device)
    if sourcing.ng:
        check_ng(sourcing.ng, model.class_names, str(model_path))
        model = dataclasses.replace(model, ng=sourcing.ng)
    if source is None:
        kept = kept_apart(model)
        left_out = 0 if model.calibration is None else len(model.calibration.kept) - len(kept)
    else:
        kept, left_out = _new(model, source, sourcing, talk)
    before = None if source is not None or model.calibration is None else model.calibration.asked
    calibration = calibrated(model.known, kept, _asked(said, before), model.state)
    for line in _cautions(calibration):
        talk.warn(line)
    model = dataclasses.replace(model, calibration=calibration)
    dataclasses.replace(model, taught=None).save(bundle_path(model_path))
    return {
        "model": str(model_path),
        "fingerprint": model.fingerprint,
        "left_out": left_out,
        **calibrated_plain(model, calibration),
    }


def calibrated_plain(model: Model, calibration: Calibration) -> dict[str, Any]:
    """Return what a calibration says, as JSON values."""
    asked, kept = calibration.asked, calibration.kept
    needed = math.ceil(1 / asked.false_alarm - 1e-9) - 1
    classes = {}
    names = np.array(kept.class_names, np.object_)[kept.labels]
    for name in dict.fromkeys([*kept.class_names, *model.known.embeddings.class_names]):
        of_class = names == name
        count = len(np.unique(kept.groups[of_class]))
        classes[name] = {
            "images": int(of_class.sum()),
            "independent": count,
            "promised": count >= needed,
            "threshold": calibration.class_thresholds.get(name),
        }
    return {
        "source": kept.source,
        "images": len(kept),
        "independent": calibration.units,
        "asked": dataclasses.asdict(asked),
        "false_alarm": {
            "threshold": calibration.threshold,
            "promised": calibration.promised,
            "confidence": asked.confidence,
            "images_needed": images_needed(asked.false_alarm, asked.confidence),
            "images_for_limits": images_needed(asked.false_alarm, asked.confidence, ROOM),
            "limits": _limits_plain(calibration),
        },
        "classes": classes,
        "ng": list(model.ng),
        "inspecting": _inspecting_plain(calibration),
        "stale": model.stale,
    }


def _limits_plain(calibration: Calibration) -> dict[str, float] | None:
    """Return the limit of each gate in its unit, the statistics' before squaring; None for a common one."""
    if not calibration.balanced:
        return None
    threshold = calibration.threshold
    return {"embedding": threshold, "statistics": math.sqrt(threshold / calibration.balance)}


def _inspecting_plain(calibration: Calibration) -> dict[str, Any] | None:
    found = calibration.inspecting
    if found is None:
        return None
    promised = found.promised or 1.0
    return {
        "threshold": found.threshold,
        "escapes": found.escapes.plain(),
        "overkill": found.overkill.plain(),
        "promised": found.promised,
        "cost": found.cost,
        "escaping": found.escaping.plain(),
        "stricter": {
            str(share): images_needed(share, calibration.asked.confidence)
            for share in STRICTER
            if share < promised and images_needed(share, calibration.asked.confidence) > found.escaping.n
        },
    }


def _asked(said: Mapping[str, Any], before: Asked | None) -> Asked:
    """Return what to keep to: what was said, else what was asked for before, else the usual."""
    given = {name: value for name, value in said.items() if value is not None}
    kept = {} if before is None else dataclasses.asdict(before)
    if given.keys() & set(DECIDING):  # costs and escapes exclude each other: what is said decides alone
        kept = {name: value for name, value in kept.items() if name not in DECIDING}
    return Asked(**kept | given)


def _new(model: Model, source: str, sourcing: SourceOptions, talk: Talk) -> tuple[Kept, int]:
    """Return the images of a source that the model never saw, and how many were left out."""
    if model.seen is None or model.gates is None:
        raise ModelError(
            "the model does not say which images it was made with, so none can be called unseen; "
            "train it again"
        )
    images = loaded(source, for_model(sourcing, model), talk)
    digests = digests_of(images.pixels)
    used = _used(images, digests, model, model.seen)
    rows = np.flatnonzero(~used)
    if not rows.size:
        raise DataError(
            f"SOURCE {shown(source)}: all its {len(images):,} images stand in the gallery or the test part, "
            f"or belong to a group that does; none is left to calibrate on: train with --calibration 0.15 "
            f"to keep some apart, or name other images"
        )
    known = of_known_classes(images.take(rows), model.known.embeddings.class_names, source, strict=True)
    together = units(known, equal_alone(known))
    left_out = len(images) - len(rows)
    what = "images" if known.groups is None else f"images of {len(np.unique(together)):,} groups"
    left = f"; {left_out:,} are left out, as the model was made or measured with them" if left_out else ""
    talk.say(f"calibrating on {len(rows):,} {what}{left}")
    kept = Kept(
        vectors=model.embed(known.pixels),
        statistics=model.statistics(known.pixels),
        labels=known.labels,
        class_names=known.class_names,
        groups=together,
        digests=digests[rows],
        source=source,
    )
    return kept, left_out


def _used(
    images: LabeledImages, digests: NDArray[np.uint64], model: Model, seen: Seen
) -> Bool[np.ndarray, " n"]:
    """Return which images the model was made or measured with, or share a group with one of those."""
    there = set(map(bytes, seen.digests[seen.parts < CALIBRATION])) | set(map(bytes, model.known.digests))
    used = np.array([bytes(digest) in there for digest in digests], np.bool_)
    if images.groups is None:
        return used
    by_group = np.isin(images.groups, images.groups[used])
    if images.group_names:
        groups = set(map(bytes, seen.groups))
        named = [bytes(name) in groups for name in digests_of_names(images.group_names)]
        by_group |= np.array(named, np.bool_)[images.groups]
    return used | by_group


def _cautions(calibration: Calibration) -> list[str]:
    """Return what was asked for and cannot be promised."""
    asked, lines = calibration.asked, []
    sure = f"{100 * asked.confidence:g} % confidence"
    if calibration.promised > asked.false_alarm:
        lines.append(
            f"{calibration.units:,} independent images can promise at most {100 * calibration.promised:.3g} "
            f"% false alarms with {sure}, not {100 * asked.false_alarm:g} %: that takes "
            f"{images_needed(asked.false_alarm, asked.confidence):,}"
        )
    found = calibration.inspecting
    if found is not None and asked.escapes is not None and (found.promised or 0) > asked.escapes:
        lines.append(
            f"{found.escaping.n:,} independent NG images can promise at most "
            f"{100 * (found.promised or 0):.3g} % escapes with {sure}, not {100 * asked.escapes:g} %: "
            f"that takes {images_needed(asked.escapes, asked.confidence):,}"
        )
    return lines
