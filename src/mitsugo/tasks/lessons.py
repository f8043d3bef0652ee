"""What teaching means to a model: images as rows, whether a class is NG, and what a change would break."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..data.images import encode_png, resized
from ..errors import DataError, StoreError, UsageError, shown
from ..gallery import Row, taught_of
from ..model.bundle import Model
from ..values import LabeledImages, digests_of

__all__ = ["Golden", "is_ng", "refusal", "rows_of", "thumbnail"]

THUMBNAIL_SIDE: Final = 96
LISTED: Final = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Golden:
    """Labelled images that must stay right whatever is taught."""

    images: LabeledImages

    def found(
        self,
        model: Model,
        held: Sequence[Row],
        rows: Sequence[Row],
        ng: Mapping[str, bool],
    ) -> dict[str, Any]:
        """Return what teaching some rows would make of them.

        Args:
            model: as it is, with what was taught.
            held: what was taught.
            rows: what is to be taught.
            ng: of the taught classes, the new one among them, whether they are NG.

        Returns:
            images; before and after, how many are right; broken and mended, their names.
        """
        bad = [name for name, is_bad in ng.items() if is_bad]
        after = dataclasses.replace(model, taught=taught_of([*held, *rows], bad, model.fingerprint))
        names, labels = self.images.class_names, self.images.labels.tolist()
        right = []
        for one in (model, after):
            found = one.classify(np.asarray(self.images.pixels[:]), self.images.names)
            said = zip(found, labels, strict=True)
            right.append(np.array([verdict.label == names[label] for verdict, label in said]))
        before, later = right
        return {
            "images": len(self.images),
            "before": int(before.sum()),
            "after": int(later.sum()),
            "broken": [self.images.names[i] for i in np.flatnonzero(before & ~later).tolist()],
            "mended": [self.images.names[i] for i in np.flatnonzero(~before & later).tolist()],
        }


def refusal(found: Mapping[str, Any]) -> str | None:
    """Return why a change is refused that would make golden images wrong; None where it would not."""
    broken = found["broken"]
    if not broken:
        return None
    some = ", ".join(map(shown, broken[:LISTED])) + (" …" if len(broken) > LISTED else "")
    return f"{len(broken)} of {found['images']} golden images would become wrong: {some}"


def rows_of(
    model: Model, names: Sequence[str], pixels: NDArray[np.uint8], label: str, source: str | None = None
) -> list[Row]:
    """Return images as rows of the gallery.

    Args:
        model: whose gallery it is.
        names: of the images; paths where they come from files.
        pixels: uint8 (n, c, h, w).
        label: their class.
        source: where they came from; None takes the folder that each name names.

    Raises:
        DataError: an image that shows one value all over.
        StoreError: an image of the base gallery.
    """
    flat = pixels.reshape(len(pixels), -1)
    for name, values in zip(names, flat, strict=True):
        if values.min() == values.max():
            raise DataError(f"{name}: shows one value all over, and teaches nothing; leave it out")
    digests = digests_of(pixels)
    for name, twins in zip(names, model.known.twins(digests), strict=True):
        if len(own := twins[twins < model.known.base]):
            known = model.class_names[int(model.gallery.labels[own[-1]])]
            raise StoreError(
                f"{name}: this very image is in the model's own gallery as {shown(known)}; leave it out, or "
                f"correct its label and train again"
            )
    vectors, statistics = model.embed(pixels), model.statistics(pixels)
    return [
        Row(
            class_name=label,
            name=Path(name).name,
            source=str(Path(name).resolve().parent) if source is None else source,
            digest=digests[i].astype("<u8").tobytes(),
            vector=vectors[i],
            statistics=statistics[i],
            thumbnail=thumbnail(pixels[i]),
        )
        for i, name in enumerate(names)
    ]


def thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """Return a small picture of an image, a PNG of 96 pixels at most."""
    _, height, width = pixels.shape
    shrink = min(1.0, THUMBNAIL_SIDE / max(height, width))
    if shrink < 1:
        pixels = resized(pixels, max(1, round(shrink * height)), max(1, round(shrink * width)))
    return encode_png(pixels)


def is_ng(model: Model, label: str, said: bool | None) -> bool:  # noqa: FBT001 - it is what was said
    """Return whether a class is NG: as the model has it, or for a new one as was said.

    Raises:
        UsageError: the model has the class, and otherwise.
    """
    names = model.known.embeddings.class_names
    if label in names:
        known = bool(model.known.ng[names.index(label)])
        if said is not None and said != known:
            have = "NG" if known else "OK"
            raise UsageError(f"--label {shown(label)}: is a class that the model has as {have}")
        return known
    return bool(model.ng) if said is None else said
