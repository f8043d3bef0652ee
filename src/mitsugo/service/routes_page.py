"""The page and its files; the API's documentation with its assets."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

__all__ = ["mount", "router"]

HERE: Final = Path(__file__).parent
VENDORED: Final = HERE.parent / "report" / "assets"
LIBRARIES: Final = ("pub-sub-es.js", "regl.min.js", "regl-scatterplot.min.js")
"""The map's libraries, which the report has, too."""
router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> FileResponse:
    """Return the page."""
    return FileResponse(HERE / "static" / "index.html", media_type="text/html; charset=utf-8")


@router.get("/map-frame")
async def frame() -> FileResponse:
    """Return the frame that draws the map, under a policy of its own."""
    return FileResponse(HERE / "static" / "map-frame.html", media_type="text/html; charset=utf-8")


@router.get("/docs")
async def docs() -> FileResponse:
    """Return the documentation of the routes."""
    return FileResponse(HERE / "static" / "docs.html", media_type="text/html; charset=utf-8")


@router.get("/static/vendor/{name}")
async def vendored(name: str) -> FileResponse:
    """Return one of the map's libraries."""
    if name not in LIBRARIES:
        raise HTTPException(404)
    return FileResponse(VENDORED / name, media_type="text/javascript")


def mount(app: FastAPI) -> None:
    """Serve the page's files; nothing outside their folder is ever opened."""
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
