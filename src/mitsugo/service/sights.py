"""What people look at: pictures of gallery images, and the map, computed aside."""

import logging
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import MitsugoError
from ..tasks.exemplars import source_images
from ..tasks.lessons import thumbnail
from ..tasks.live import Live, Snapshot
from ..tasks.maps import GalleryMap, mapped, placed
from ..tasks.talk import SILENT
from .flattening import laid_flat

__all__ = ["Sights"]

LOG = logging.getLogger("mitsugo.service")
DIGITS: Final = 4
KEPT: Final = 4096


class Sights:
    """Pictures and the map of a live model; `prepare` takes seconds, and runs in a thread of its own."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._ready = threading.Event()
        self._pixels: Any = None
        self._rows: Mapping[str, int] = {}
        self._map: GalleryMap | None = None
        self.failure: str | None = None
        self._closing = False
        self._taught: tuple[int, tuple[bytes, ...]] = (-1, ())
        self._thumbnail = lru_cache(maxsize=KEPT)(self._drawn)

    def begin(self) -> None:
        """Prepare in a thread."""
        threading.Thread(target=self.prepare, name="sights", daemon=True).start()

    def prepare(self) -> None:
        """Find the pictures of the model's own gallery, and lay it out flat."""
        model = self._live.snapshot.model
        images = source_images(self._live.path, model, SILENT)
        if images is not None:
            self._rows = {name: row for row, name in enumerate(images.names)}
            self._pixels = images.pixels
        try:
            if len(model.gallery):
                self._map = mapped(model.gallery.vectors, flatten=laid_flat)
        except MitsugoError as error:
            if self._closing:
                return
            LOG.warning("%s", error)
            self.failure = str(error)
        self._ready.set()

    def close(self) -> None:
        """Let go of a map that is still computed."""
        self._closing = True

    @property
    def ready(self) -> bool:
        """Whether the map is there."""
        return self._ready.is_set()

    def picture(self, row: int, revision: int | None) -> bytes | None:
        """Return a small PNG of a gallery image; None where it cannot be found.

        Args:
            row: of the gallery.
            revision: of the gallery that the row was told of; a taught row of another one is not looked for.
        """
        snapshot = self._live.snapshot
        gallery = snapshot.model.gallery
        if 0 <= row < len(gallery):
            return self._thumbnail(gallery.names[row])
        if revision is not None and revision != snapshot.revision:
            return None
        taught = self._thumbnails_of(snapshot.revision)
        return taught[row - len(gallery)] if len(gallery) <= row < len(gallery) + len(taught) else None

    def _thumbnails_of(self, revision: int) -> tuple[bytes, ...]:
        if self._taught[0] != revision:
            self._taught = revision, tuple(row.thumbnail for row in self._live.rows())
        return self._taught[1]

    def map(self, snapshot: Snapshot) -> dict[str, Any]:
        """Return the map as JSON values: the model's own gallery, and what was taught."""
        model, known = snapshot.model, snapshot.model.known
        base = len(model.gallery)
        rows = np.empty(0, np.int64) if self._map is None else self._map.rows
        points = np.empty((0, 2), np.float32) if self._map is None else self._map.points
        if model.taught is not None and self._map is not None:
            rows = np.concatenate([rows, np.arange(base, len(known.embeddings))])
            points = np.concatenate([points, placed(self._map, model.taught.embeddings.vectors)])
        names = known.embeddings.names
        return {
            "points": _rounded(points),
            "classes": known.embeddings.labels[rows].tolist(),
            "class_names": list(known.embeddings.class_names),
            "ng": known.ng.tolist(),
            "rows": rows.tolist(),
            "names": [names[row] for row in rows.tolist()],
            "shown": len(rows),
            "of": len(known.embeddings),
        }

    def place(self, vectors: NDArray[np.float32]) -> list[list[float]]:
        """Return where images lie on the map."""
        assert self._map is not None
        return _rounded(placed(self._map, vectors))

    def _drawn(self, name: str) -> bytes | None:
        row = self._rows.get(name)
        return None if row is None else thumbnail(np.asarray(self._pixels[row]))


def _rounded(points: NDArray[np.float32]) -> list[list[float]]:
    found: list[list[float]] = np.round(points.astype(np.float64), DIGITS).tolist()
    return found
