"""A model that answers while its gallery is taught: one snapshot an answer, changes on the disk first."""

import dataclasses
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..gallery import Batch, Feedback, Row, Store
from ..model.bundle import Model
from ..values import Verdict, digests_of
from .calibrate import calibrated_plain
from .lessons import Golden, is_ng, refusal, rows_of
from .models import loaded_model
from .sourcing import AS_IT_IS, for_model, loaded
from .talk import SILENT, Talk
from .taught import opened_gallery

__all__ = ["Live", "RefusedError", "Snapshot", "Told"]

UPLOADED: Final = "uploaded"
"""What stands in the gallery as the source of an image that came in without a file."""


class RefusedError(StoreError):
    """A change that would make golden images wrong; `found` says which."""

    def __init__(self, why: str, found: dict[str, Any]) -> None:
        super().__init__(why)
        self.found = found


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """A model and its gallery at one revision; an answer comes from one snapshot alone.

    Args:
        model: with what was taught.
        fingerprint: the model's.
        revision: the number of the gallery's last batch.
    """

    model: Model
    fingerprint: str
    revision: int

    def plain(self) -> dict[str, Any]:
        """Return what every answer names."""
        return {"model": self.fingerprint, "revision": self.revision}


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is taught, or said of a verdict.

    Args:
        label: the class.
        ng: whether a new class is NG; None: it is, where the model has NG classes.
        note: why.
        who: who says so; None takes the user's name.
        request: what names the request; the same one again does nothing.
        accept: teach also what would make golden images wrong.
    """

    label: str
    ng: bool | None = None
    note: str = ""
    who: str | None = None
    request: str | None = None
    accept: bool = False


class Live:
    """An open model with its gallery; any thread may ask. Closed by `close`.

    Args:
        path: a run folder or a bundle.
        device: cpu, cuda or cuda:N.
        gate: a source of labelled images that teaching must not make wrong; None: nothing is looked at.
        talk: who listens.

    Raises:
        ModelError: a bundle that cannot be trusted.
        StoreError: a gallery that cannot be used.
        DataError: golden images that cannot be used.
    """

    def __init__(
        self, path: Path, *, device: str | None = None, gate: str | None = None, talk: Talk = SILENT
    ) -> None:
        self.path = path
        self._changing = threading.Lock()
        bare = loaded_model(path, device)
        self.golden = None if gate is None else Golden(images=loaded(gate, for_model(AS_IT_IS, bare), talk))
        self._fingerprint = bare.fingerprint
        self._store: Store = opened_gallery(path, bare, create=True)
        # what is read must not see, or end, a change that is under way
        self._reader: Store = opened_gallery(path, bare)
        self._reading = threading.Lock()
        self._seen = self._version()
        self.snapshot = self._taken(bare)

    def close(self) -> None:
        """Close the gallery."""
        with self._changing, self._reading:
            self._store.__exit__()
            self._reader.__exit__()

    def refreshed(self) -> Snapshot:
        """Return the snapshot of now: another process may have taught since."""
        if self._version() != self._seen:
            with self._changing:
                self._refresh()
        return self.snapshot

    def classify(
        self,
        pixels: NDArray[np.uint8],
        names: Sequence[str],
        notes: Sequence[tuple[str, ...]],
    ) -> tuple[Snapshot, tuple[Verdict, ...]]:
        """Return verdicts, and the snapshot that they come from."""
        snapshot = self.refreshed()
        return snapshot, snapshot.model.classify(pixels, names, notes=notes)

    def teach(
        self, pixels: NDArray[np.uint8], names: Sequence[str], told: Told, *, dry: bool = False
    ) -> dict[str, Any]:
        """Teach images as one batch: all of them or none; return what became of it.

        Args:
            pixels: uint8 (n, c, h, w).
            names: of the images.
            told: what they show.
            dry: look what the gate finds, and teach nothing.

        Raises:
            RefusedError: golden images would become wrong.
            StoreError, DataError, UsageError: images that cannot be taught.
        """
        with self._changing:
            model = self._refresh().model
            rows = rows_of(model, names, pixels, told.label, UPLOADED)
            ng = is_ng(model, told.label, told.ng)
            found = self._gated(model, rows, told, ng=ng, dry=dry)
            new = told.label not in model.known.embeddings.class_names
            batch = None
            if not dry:
                batch = self._store.add(
                    rows, ng={told.label: ng}, who=told.who, note=told.note, request=told.request
                )
            return {
                "batch": batch,
                "images": len(rows),
                "label": told.label,
                "new": new,
                "ng": ng,
                "gate": found,
                **self._state(),
            }

    def feedback(
        self, pixels: NDArray[np.uint8], name: str, told: Told, *, right: bool, teach: bool
    ) -> dict[str, Any]:
        """Keep what a person says of the verdict on an image, and teach the image where that is asked.

        Raises:
            RefusedError: golden images would become wrong.
            StoreError, DataError, UsageError: an image that cannot be taught.
        """
        with self._changing:
            model = self._refresh().model
            (verdict,) = model.classify(pixels, [name])
            rows = rows_of(model, [name], pixels, told.label, UPLOADED) if teach else []
            ng = is_ng(model, told.label, told.ng)
            found = self._gated(model, rows, told, ng=ng, dry=False) if teach else None
            said = Feedback(
                name=name,
                digest=digests_of(pixels)[0].astype("<u8").tobytes(),
                said=verdict.label,
                label=told.label,
                right=right,
                note=told.note,
                who=told.who or "",
            )
            kept = self._store.tell(said, rows, ng={told.label: ng}, request=told.request)
            return {"feedback": kept.number, "batch": kept.batch, "gate": found, **self._state()}

    def remove(
        self, names: Sequence[str], label: str | None, *, note: str = "", request: str | None = None
    ) -> dict[str, Any]:
        """Take images of these names, or all of a class, out of what was taught, as one batch."""
        with self._changing:
            batch = self._store.remove(class_name=label, names=names, note=note, request=request)
            return {"batch": batch, **self._state()}

    def undo(self, batch: int | None, *, request: str | None = None) -> dict[str, Any]:
        """Take the last batch back that stands, or this one."""
        with self._changing:
            number = self._store.undo(batch=batch, request=request)
            (done,) = [one for one in self._store.log() if one.number == number]
            return {"batch": number, "undoes": done.undoes, "changed": done.images, **self._state()}

    def rows(self) -> tuple[Row, ...]:
        """Return what is taught, in the order in which it was."""
        with self._reading:
            return self._reader.rows()

    def log(self, most: int) -> tuple[tuple[Batch, ...], tuple[Feedback, ...]]:
        """Return the batches and what was said of verdicts, the newest first, so many of each at most."""
        with self._reading:
            return tuple(reversed(self._reader.log()))[:most], self._reader.feedback(most)

    def about(self) -> dict[str, Any]:
        """Return the classes and the thresholds, as JSON values."""
        model = self.snapshot.model
        known, calibration = model.known, model.calibration
        classes = zip(known.embeddings.class_names, known.ng.tolist(), strict=True)
        return {
            "class_names": [{"name": name, "ng": ng} for name, ng in classes],
            "image": list(model.architecture.image_shape),
            "calibration": None if calibration is None else calibrated_plain(model, calibration),
            "stale": model.stale,
            "gate": self.golden is not None,
        }

    def _gated(
        self, model: Model, rows: Sequence[Row], told: Told, *, ng: bool, dry: bool
    ) -> dict[str, Any] | None:
        if self.golden is None:
            return None
        found = self.golden.found(model, self._store.rows(), rows, {told.label: ng} | self._store.ng())
        if not dry and not told.accept and (why := refusal(found)) is not None:
            raise RefusedError(why, found)
        return found

    def _state(self) -> dict[str, Any]:
        """Take the new snapshot, and return what stands."""
        model = self._refresh().model
        taught = 0 if model.taught is None else len(model.taught)
        return {"taught": taught, "stale": model.stale, **self.snapshot.plain()}

    def _refresh(self) -> Snapshot:
        seen = self._version()
        if seen != self._seen:
            self.snapshot = self._taken(self.snapshot.model)
            self._seen = seen
        return self.snapshot

    def _version(self) -> int:
        with self._reading:
            return self._reader.version()

    def _taken(self, model: Model) -> Snapshot:
        revision = self._store.revision()
        model = dataclasses.replace(model, taught=self._store.taught(self._fingerprint))
        model.prepare()
        return Snapshot(model=model, fingerprint=self._fingerprint, revision=revision)
