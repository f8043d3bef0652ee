"""Teach images without training, look at what was taught, and take it back."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError, StoreError, UsageError, shown
from ..gallery import Row, Store, check_rows
from ..model.bundle import Model
from .incoming import chunks_of, files_of
from .lessons import Golden, is_ng, refusal, rows_of
from .models import loaded_model
from .sourcing import AS_IT_IS, for_model, loaded
from .talk import SILENT, Talk
from .taught import folded, gallery_path, opened_gallery, taught_model

__all__ = ["Lesson", "add", "export", "import_", "list_", "log", "remove", "undo", "verify"]


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What is taught, and how.

    Args:
        label: the class of all the images; one that the model does not know is new.
        ng: whether a new class is NG; None: it is, where the model has NG classes.
        gate: a source of labelled images that must not become wrong.
        report: tell what would become wrong, and teach all the same.
        note: why.
        who: who teaches; None takes the user's name.
        request: what names the request; the same one again does nothing.
        resize: bring images of another size to the model's.
        bad_images: "stop" or "skip".
    """

    label: str
    ng: bool | None = None
    gate: str | None = None
    report: bool = False
    note: str = ""
    who: str | None = None
    request: str | None = None
    resize: bool = False
    bad_images: str = "stop"

    def __post_init__(self) -> None:
        if self.bad_images not in {"stop", "skip"}:
            raise UsageError(f"--bad-images {shown(self.bad_images)}: expected stop or skip")
        if self.report and self.gate is None:
            raise UsageError("--report tells what --gate finds; give --gate GOLDEN, too")


def add(
    model_path: Path,
    images: Sequence[Path],
    lesson: Lesson,
    *,
    device: str | None = None,
    talk: Talk = SILENT,
) -> dict[str, Any]:
    """Teach images as one batch: all of them or none.

    Args:
        model_path: a run folder or a bundle.
        images: files, folders, and patterns.
        lesson: what they show.
        device: cpu, cuda or cuda:N.
        talk: who listens.

    Returns:
        batch, images, label, ng, state of the gallery, and of the gate: images, before, after (how many were
        right), broken, mended.

    Raises:
        DataError: a file that is no image, or shows one value all over.
        StoreError: an image that the class holds already, or a change that the gate refuses.
    """
    model = taught_model(model_path, device)
    skip = lesson.bad_images == "skip"
    paths, left_out = files_of(images, skip=skip)
    rows: list[Row] = []
    for names, pixels, _ in chunks_of(model, paths, left_out, resize=lesson.resize, skip=skip):
        rows += rows_of(model, names, pixels, lesson.label)
    for name, why in left_out:
        talk.warn(f"left out: {shown(name)}: {why}")
    if not rows:
        raise DataError("no image is left to teach; name files, folders or patterns that hold some")
    check_rows(rows, *(len(numbers) for numbers in (rows[0].vector, rows[0].statistics)))
    new = lesson.label not in model.known.embeddings.class_names
    ng = is_ng(model, lesson.label, lesson.ng)
    found = None if lesson.gate is None else _gated(model_path, model, rows, lesson, ng=ng, talk=talk)
    with opened_gallery(model_path, model, create=True) as store:
        number = store.add(
            rows, ng={lesson.label: ng}, who=lesson.who, note=lesson.note, request=lesson.request
        )
        state = _told_state(store, model)
    if model.calibration is not None:
        talk.warn("the thresholds were set before this change: mitsugo calibrate MODEL scores them again")
    return {
        "batch": number,
        "images": len(rows),
        "label": lesson.label,
        "new": new,
        "ng": ng,
        "gate": found,
        **state,
    }


def remove(
    model_path: Path,
    names: Sequence[str],
    *,
    label: str | None = None,
    note: str = "",
    who: str | None = None,
    request: str | None = None,
) -> dict[str, Any]:
    """Take images of these names, or all of a class, out of what was taught, as one batch."""
    model = loaded_model(model_path, "cpu")
    with opened_gallery(model_path, model) as store:
        number = store.remove(class_name=label, names=names, note=note, who=who, request=request)
        return {"batch": number, **_told_state(store, model)}


def undo(
    model_path: Path, batch: int | None = None, *, who: str | None = None, request: str | None = None
) -> dict[str, Any]:
    """Take back the last batch that stands, or this one."""
    model = loaded_model(model_path, "cpu")
    with opened_gallery(model_path, model) as store:
        number = store.undo(batch=batch, who=who, request=request)
        (done,) = [one for one in store.log() if one.number == number]
        return {"batch": number, "undoes": done.undoes, "changed": done.images, **_told_state(store, model)}


def list_(model_path: Path) -> dict[str, Any]:
    """Return what is taught: the classes, and each image with its class and source."""
    model = loaded_model(model_path, "cpu")
    if not gallery_path(model_path).exists():
        return {"gallery": str(gallery_path(model_path)), "images": [], "classes": {}}
    with opened_gallery(model_path, model) as store:
        rows, ng = store.rows(), store.ng()
    counts: dict[str, dict[str, Any]] = {}
    for row in rows:
        told = counts.setdefault(row.class_name, {"images": 0, "ng": _ng_of(model, row.class_name, ng)})
        told["images"] += 1
    return {
        "gallery": str(gallery_path(model_path)),
        "images": [{"image": row.name, "label": row.class_name, "source": row.source} for row in rows],
        "classes": counts,
    }


def log(model_path: Path) -> dict[str, Any]:
    """Return every batch, the first first."""
    model = loaded_model(model_path, "cpu")
    with opened_gallery(model_path, model) as store:
        return {
            "gallery": str(gallery_path(model_path)),
            "batches": [
                {**dataclasses.asdict(batch), "classes": list(batch.classes)} for batch in store.log()
            ],
        }


def verify(model_path: Path) -> dict[str, Any]:
    """Look through the whole gallery: pages, references, and each image's sum.

    Raises:
        StoreError: something is damaged.
    """
    model = loaded_model(model_path, "cpu")
    with opened_gallery(model_path, model) as store:
        return {"gallery": str(gallery_path(model_path)), "images": store.verify()}


def export(model_path: Path, out: Path, *, salvage: bool = False) -> dict[str, Any]:
    """Write what was taught: into a new bundle, where OUT ends in .mitsugo, or as a copy (.sqlite).

    A bundle holds the base gallery and what was taught as one; the model's fingerprint stays. With `salvage`
    what can still be read of a damaged gallery goes into the copy.

    Raises:
        UsageError: another ending.
        StoreError: OUT is there already.
    """
    if out.suffix not in {".mitsugo", ".sqlite"} or (salvage and out.suffix != ".sqlite"):
        wanted = ".sqlite" if salvage else ".mitsugo (a bundle) or .sqlite (a copy)"
        raise UsageError(f"--out {shown(out)}: expected a name that ends in {wanted}")
    if out.exists():
        raise StoreError(f"{shown(out)}: is there already; choose another name")
    lost = 0
    if out.suffix == ".mitsugo":
        model = taught_model(model_path, "cpu")
        images = 0 if model.taught is None else len(model.taught)
        folded(model).save(out)
        return {"out": str(out), "images": images, "lost": lost}
    model = loaded_model(model_path, "cpu")
    with opened_gallery(model_path, model) as store:
        if not salvage:
            store.copied(out)
            return {"out": str(out), "images": len(store.rows()), "lost": lost}
        rows, lost = store.salvaged()
        ng = store.ng()
    if rows:
        with _opened_at(out, model, create=True) as copy:
            copy.add(rows, ng=ng, note=f"saved from {gallery_path(model_path).name}")
    return {"out": str(out), "images": len(rows), "lost": lost}


def import_(model_path: Path, file: Path, *, note: str = "", who: str | None = None) -> dict[str, Any]:
    """Add what another gallery of the same model holds, as one batch; images that are there are left out.

    Raises:
        StoreError: no gallery of this model, or nothing in it that is new.
    """
    model = loaded_model(model_path, "cpu")
    with _opened_at(file, model) as other:
        rows, ng = other.rows(), other.ng()
    with opened_gallery(model_path, model, create=True) as store:
        there = {(row.digest, row.class_name) for row in store.rows()}
        new = [row for row in rows if (row.digest, row.class_name) not in there]
        if not new:
            raise StoreError(f"{shown(file)}: holds nothing that the gallery does not hold")
        number = store.add(new, ng=ng, note=note or f"imported from {file.name}", who=who)
        return {
            "batch": number, "images": len(new), "left_out": len(rows) - len(new), **_told_state(store, model)
        }  # fmt: skip


def _opened_at(path: Path, model: Model, *, create: bool = False) -> Store:
    return opened_gallery(path.with_suffix("").with_suffix(".mitsugo"), model, create=create)


def _gated(
    model_path: Path, model: Model, rows: Sequence[Row], lesson: Lesson, *, ng: bool, talk: Talk
) -> dict[str, Any]:
    """Score the golden images before and after; what becomes wrong is refused, or reported.

    Raises:
        StoreError: a golden image would become wrong.
    """
    assert lesson.gate is not None
    golden = Golden(images=loaded(lesson.gate, for_model(AS_IT_IS, model), talk))
    held: tuple[Row, ...] = ()
    bad = {lesson.label: ng}
    if gallery_path(model_path).exists():
        with opened_gallery(model_path, model) as store:
            held, bad = store.rows(), bad | store.ng()
    found = golden.found(model, held, rows, bad)
    talk.say(f"golden set: {found['before']} of {found['images']} right before, {found['after']} after")
    if (why := refusal(found)) is not None:
        if not lesson.report:
            raise StoreError(f"--gate {shown(lesson.gate)}: {why}; nothing was taught: --report teaches it")
        talk.warn(why)
    return found


def _told_state(store: Store, model: Model) -> dict[str, Any]:
    taught = store.taught(model.fingerprint)
    state = "" if taught is None else taught.state
    stale = model.calibration is not None and model.calibration.state != state
    return {"gallery": str(store.path), "taught": 0 if taught is None else len(taught), "stale": stale}


def _ng_of(model: Model, name: str, ng: dict[str, bool]) -> bool:
    return name in model.ng if name in model.class_names else ng.get(name, False)
