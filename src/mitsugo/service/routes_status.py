"""Routes that say how the service is, and what it counts."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from .parts import Of, named
from .routes_answers import with_map

__all__ = ["router"]

router = APIRouter(tags=["status"])


@router.get("/health/live")
async def live() -> JSONResponse:
    """Say that the process answers."""
    return JSONResponse({"live": True})


@router.get("/health/ready")
async def ready(parts: Of) -> JSONResponse:
    """Say whether requests are taken."""
    if not parts.ready:
        return JSONResponse({"ready": False, "reason": "it is starting or stopping"}, 503)
    return JSONResponse(named(parts.live.snapshot, {"ready": True}))


@router.get("/metrics")
async def metrics(parts: Of) -> Response:
    """Return what is counted, as Prometheus reads it."""
    parts.metrics.waiting.set(parts.answers.waiting)
    parts.metrics.revision.set(parts.live.snapshot.revision)
    return Response(parts.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v1/counts")
async def counts(parts: Of) -> JSONResponse:
    """Return today's verdicts, and what people said of them."""
    return JSONResponse(named(parts.live.snapshot, parts.counts.plain()))


@router.get("/v1/model")
async def model(parts: Of) -> JSONResponse:
    """Return the classes, and the thresholds with what they promise."""
    return JSONResponse(named(parts.live.refreshed(), parts.live.about()))


@router.get("/v1/map")
async def map_(parts: Of) -> JSONResponse:
    """Return where gallery images lie on the map."""
    sights, snapshot = with_map(parts), parts.live.refreshed()
    return JSONResponse(named(snapshot, await parts.answers.apart(lambda: sights.map(snapshot))))


@router.get("/v1/pictures/{row}")
async def picture(parts: Of, row: int, revision: int | None = None) -> Response:
    """Return a small picture of a gallery image."""
    found = None
    if parts.sights is not None:
        sights = parts.sights
        found = await parts.answers.apart(lambda: sights.picture(row, revision))
    if found is None:
        return Response(status_code=404)
    return Response(found, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})
