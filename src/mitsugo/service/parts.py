"""What the routes share, and how they come by it."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, Request
from numpy.typing import NDArray

from ..tasks.live import Live, Snapshot
from ..values import Verdict
from .answering import Answers, Image
from .counting import Counts, Metrics
from .decoding import Decoders
from .limits import Limits
from .sights import Sights
from .uploads import Form, read_form

__all__ = ["FormOf", "Of", "Parts", "decoded", "form_of", "named", "pixels_of"]


@dataclass(kw_only=True, eq=False)
class Parts:
    """All that the routes work with; one for each application.

    `ready` says whether requests are taken: not before the workers run, nor once it is to stop.
    """

    live: Live
    limits: Limits
    metrics: Metrics
    counts: Counts
    sights: Sights | None
    decoders: Decoders
    answers: Answers[Snapshot, Verdict]
    ready: bool = False


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


Of = Annotated[Parts, Depends(_parts)]


async def _form(request: Request, parts: Of) -> Form:
    return await read_form(request, parts.limits)


FormOf = Annotated[Form, Depends(_form)]


def form_of(required: tuple[str, ...] = (), **fields: str) -> dict[str, Any]:
    """Return what OpenAPI says of a form with images: `openapi_extra` of a route.

    Args:
        required: fields that must be there, beside the images.
        fields: what each other field means.
    """
    properties: dict[str, Any] = {
        "image": {
            "type": "array",
            "items": {"type": "string", "contentMediaType": "application/octet-stream"},
            "minItems": 1,
            "description": "JPEG, PNG, BMP, TIFF or WebP.",
        }
    }
    properties |= {name: {"type": "string", "description": said} for name, said in fields.items()}
    schema = {"type": "object", "properties": properties, "required": ["image", *required]}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


async def decoded(parts: Parts, form: Form) -> list[Image]:
    """Decode the images of a form, in order.

    Raises:
        DataError: one is no image that is taken.
    """
    images = []
    for upload in form.images:
        pixels, notes = await parts.decoders.decode(upload.content, upload.name)
        images.append(Image(name=upload.name, pixels=pixels, notes=notes))
    return images


def pixels_of(images: list[Image]) -> NDArray[np.uint8]:
    """Return the pixels of images as one array, (n, c, h, w)."""
    return np.stack([image.pixels for image in images])


def named(snapshot: Snapshot, document: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with what every answer names."""
    return {**snapshot.plain(), **document}
