"""Routes that teach, and say what was taught."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from ..errors import UsageError
from ..tasks.live import RefusedError, Told
from .parts import FormOf, Of, decoded, form_of, named, pixels_of
from .problems import Problem
from .uploads import Form

__all__ = ["router"]

FIELDS = {
    "label": "The class that the image shows; it may be new.",
    "ng": "true or false: whether a new class is NG; empty: it is, where the model has NG classes.",
    "note": "Why.",
    "who": "Who says so.",
    "accept": "true: teach also what would make golden images wrong.",
}

router = APIRouter(prefix="/v1", tags=["gallery"])
Request = Annotated[
    str | None,
    Header(alias="Idempotency-Key", max_length=200, description="The same key again does nothing twice."),
]


class Removal(BaseModel):
    """Which taught images go: those of some names, or all of a class."""

    model_config = ConfigDict(extra="forbid")
    names: list[str] = Field(default=[], max_length=1000)
    label: str | None = None


class Undo(BaseModel):
    """Which batch is taken back; null: the last that stands."""

    model_config = ConfigDict(extra="forbid")
    batch: int | None = Field(default=None, ge=1, le=2**53)


@router.get("/gallery")
async def taught(parts: Of) -> JSONResponse:
    """Say what was taught."""
    snapshot = parts.live.refreshed()
    known, base = snapshot.model.known, len(snapshot.model.gallery)
    rows = await asyncio.to_thread(parts.live.rows)
    images = [
        {"image": row.name, "label": row.class_name, "source": row.source, "row": base + number}
        for number, row in enumerate(rows)
    ]
    names = known.embeddings.class_names
    classes: dict[str, dict[str, Any]] = {}
    for row in rows:
        told = classes.setdefault(row.class_name, {"images": 0, "ng": False})
        told["images"] += 1
        told["ng"] = bool(known.ng[names.index(row.class_name)]) if row.class_name in names else False
    return JSONResponse(named(snapshot, {"images": images, "classes": classes}))


@router.post(
    "/gallery",
    status_code=201,
    openapi_extra=form_of(("label",), **FIELDS, dry_run="true: only say what the gate finds."),
)
async def teach(parts: Of, form: FormOf, request: Request = None) -> JSONResponse:
    """Teach images of one class, known or new: all of them or none."""
    told, dry = _told(form, request), _is(form, "dry_run")
    images = await decoded(parts, form)
    names = [image.name for image in images]
    try:
        document = await parts.answers.apart(
            lambda: parts.live.teach(pixels_of(images), names, told, dry=dry)
        )
    except RefusedError as error:
        raise _refused(error) from error
    return JSONResponse(document, 200 if dry else 201)


@router.delete("/gallery")
async def remove(parts: Of, wanted: Removal, request: Request = None) -> JSONResponse:
    """Take images out of what was taught."""
    return JSONResponse(
        await parts.answers.apart(lambda: parts.live.remove(wanted.names, wanted.label, request=request))
    )


@router.post("/gallery/undo")
async def undo(parts: Of, wanted: Undo, request: Request = None) -> JSONResponse:
    """Take a batch back."""
    return JSONResponse(await parts.answers.apart(lambda: parts.live.undo(wanted.batch, request=request)))


@router.post(
    "/feedback",
    status_code=201,
    openapi_extra=form_of(
        ("label", "right"),
        **FIELDS,
        right="true or false: whether the verdict was right.",
        teach="true: teach the image, too.",
    ),
)
async def feedback(parts: Of, form: FormOf, request: Request = None) -> JSONResponse:
    """Keep what a person says of the verdict on an image, and teach it with the image where that is asked."""
    told, right, teaches = _told(form, request), _is(form, "right"), _is(form, "teach")
    if len(form.images) != 1:
        raise UsageError(f"image: {len(form.images)} were sent, expected one")
    (image,) = await decoded(parts, form)
    try:
        document = await parts.answers.apart(
            lambda: parts.live.feedback(image.pixels[None], image.name, told, right=right, teach=teaches)
        )
    except RefusedError as error:
        raise _refused(error) from error
    parts.counts.said(right=right)
    return JSONResponse(document, 201)


@router.get("/log")
async def log(parts: Of, limit: int = 100) -> JSONResponse:
    """Say what was changed and said, the newest first."""
    if not 1 <= limit <= 1000:
        raise UsageError("limit: expected a whole number from 1 to 1000")
    batches, feedbacks = await asyncio.to_thread(parts.live.log, limit)
    entries = [
        {
            "number": one.number,
            "kind": one.kind,
            "at": one.at,
            "who": one.who,
            "note": one.note,
            "images": one.images,
            "classes": list(one.classes),
            "undone": one.undone,
            "undoes": one.undoes,
            "right": None,
            "label": None,
        }
        for one in batches
    ] + [
        {
            "number": one.number,
            "kind": "feedback",
            "at": one.at,
            "who": one.who,
            "note": one.note,
            "images": 1,
            "classes": [one.said],
            "undone": None,
            "undoes": None,
            "right": one.right,
            "label": one.label,
        }
        for one in feedbacks
    ]
    entries.sort(key=lambda entry: str(entry["at"]), reverse=True)
    return JSONResponse(named(parts.live.snapshot, {"entries": entries[:limit]}))


def _told(form: Form, request: str | None) -> Told:
    label = form.fields.get("label", "")
    if not label:
        raise UsageError("label: is missing; expected the class that the image shows")
    said = form.fields.get("ng", "")
    return Told(
        label=label,
        ng=None if not said else _is(form, "ng"),
        note=form.fields.get("note", ""),
        who=form.fields.get("who") or None,
        request=request,
        accept=_is(form, "accept"),
    )


def _is(form: Form, name: str) -> bool:
    said = form.fields.get(name, "false") or "false"
    if said not in {"true", "false"}:
        raise UsageError(f"{name}: expected true or false")
    return said == "true"


def _refused(error: RefusedError) -> Problem:
    return Problem(409, str(error), extra={"gate": error.found})
