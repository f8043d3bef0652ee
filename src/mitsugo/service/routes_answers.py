"""Routes that say what images show."""

from typing import Any

import numpy as np
import torch
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from ..errors import UsageError
from ..space.neighbors import nearest
from ..tasks.live import Snapshot
from .answering import Busy, Image
from .parts import FormOf, Of, Parts, decoded, form_of, named, pixels_of
from .problems import Problem
from .sights import Sights

__all__ = ["router", "with_map"]

router = APIRouter(prefix="/v1", tags=["answers"])


@router.post("/classify", openapi_extra=form_of())
async def classify(parts: Of, form: FormOf) -> JSONResponse:
    """Say what each image shows, with the gallery images that speak for it."""
    images = await decoded(parts, form)
    try:
        snapshot, verdicts = await parts.answers.verdicts(images)
    except Busy as error:
        raise busy() from error
    parts.counts.judged(verdicts)
    parts.metrics.judged(verdicts)
    results = [{"image": verdict.image, "verdict": verdict.plain()} for verdict in verdicts]
    return JSONResponse(named(snapshot, {"stale": snapshot.model.stale, "results": results}))


@router.post("/embed", openapi_extra=form_of())
async def embed(parts: Of, form: FormOf) -> JSONResponse:
    """Return the embedding of each image."""
    images = await decoded(parts, form)
    snapshot, vectors = await parts.answers.apart(lambda: _embedded(parts, images))
    results = [
        {"image": image.name, "embedding": vector}
        for image, vector in zip(images, vectors.tolist(), strict=True)
    ]
    return JSONResponse(named(snapshot, {"dimension": vectors.shape[1], "results": results}))


@router.post("/neighbors", openapi_extra=form_of(k="How many, 1 to 1000; 5."))
async def neighbors(parts: Of, form: FormOf) -> JSONResponse:
    """Return the nearest gallery images of each image."""
    k = _number(form.fields.get("k", "5"))
    images = await decoded(parts, form)
    snapshot, found = await parts.answers.apart(lambda: _neighbors(parts, images, k))
    results = [{"image": image.name, "neighbors": near} for image, near in zip(images, found, strict=True)]
    return JSONResponse(named(snapshot, {"results": results}))


@router.post("/map", openapi_extra=form_of())
async def place(parts: Of, form: FormOf) -> JSONResponse:
    """Say where each image lies on the map."""
    sights, images = with_map(parts), await decoded(parts, form)
    snapshot, vectors = await parts.answers.apart(lambda: _embedded(parts, images))
    points = sights.place(vectors)
    results = [{"image": image.name, "point": point} for image, point in zip(images, points, strict=True)]
    return JSONResponse(named(snapshot, {"results": results}))


def busy() -> Problem:
    """Return the problem of too many who wait."""
    return Problem(503, "too many images wait; send this again in a second", headers={"Retry-After": "1"})


def with_map(parts: Parts) -> Sights:
    """Return what knows the map.

    Raises:
        Problem: it is still computed, or could not be.
    """
    sights = parts.sights
    if sights is None or not sights.ready:
        raise Problem(503, "the map is still being computed; ask again soon", headers={"Retry-After": "5"})
    if sights.failure is not None:
        raise Problem(503, f"{sights.failure}; start the service again")
    return sights


def _embedded(parts: Parts, images: list[Image]) -> tuple[Snapshot, np.ndarray]:
    snapshot = parts.live.refreshed()
    return snapshot, snapshot.model.embed(pixels_of(images))


def _neighbors(parts: Parts, images: list[Image], k: int) -> tuple[Snapshot, list[list[dict[str, Any]]]]:
    snapshot, vectors = _embedded(parts, images)
    known = snapshot.model.known
    gallery = known.embeddings
    found = nearest(
        torch.from_numpy(vectors), torch.from_numpy(np.array(gallery.vectors)), min(k, len(gallery))
    )
    return snapshot, [
        [
            {"name": gallery.names[row], "label": known.classes[row], "distance": far, "row": row}
            for row, far in zip(rows, distances, strict=True)
        ]
        for rows, distances in zip(found.indices.tolist(), found.distances.tolist(), strict=True)
    ]


def _number(said: str) -> int:
    if not (said.isascii() and said.isdigit() and len(said) <= 4 and 1 <= int(said) <= 1000):
        raise UsageError("k: expected a whole number from 1 to 1000")
    return int(said)
