"""Say what images show, from the bundle alone."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..data.images import read_image, resized
from ..errors import DataError, shown
from .models import loaded_model

__all__ = ["inspect"]


def inspect(
    model_path: Path, images: Sequence[Path], *, k: int | None = None, resize: bool = False
) -> dict[str, Any]:
    """Return a verdict for each image file, in order, as plain values, and which model gave them.

    Args:
        model_path: a run folder or a bundle.
        images: image files.
        k: how many neighbours vote.
        resize: bring images of another size to the model's; each verdict says so. Otherwise they are refused.

    Raises:
        ModelError: a bundle that cannot be trusted.
        DataError: a file that is no image, is damaged, or is of another size.
    """
    model = loaded_model(model_path, "cpu")
    channels, height, width = model.architecture.image_shape
    notes: list[tuple[str, ...]] = []
    pixels = []
    for path in images:
        image = read_image(path, channels)
        found = f"{image.shape[2]}x{image.shape[1]}"
        note: tuple[str, ...] = ()
        if image.shape[1:] != (height, width):
            if not resize:
                raise DataError(
                    f"{shown(path)}: is {found} pixels, the model takes {width}x{height}; "
                    f"cut or scale it, or give --resize"
                )
            image = resized(image, height, width)
            note = (f"resized from {found} to {width}x{height}",)
        pixels.append(image)
        notes.append(note)
    verdicts = model.classify(np.stack(pixels), [shown(path) for path in images], k=k)
    return {
        "model": str(model_path),
        "fingerprint": model.fingerprint,
        "verdicts": [
            {**asdict(verdict), "warnings": [*note, *verdict.warnings]}
            for verdict, note in zip(verdicts, notes, strict=True)
        ],
    }
