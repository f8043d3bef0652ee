"""Say what images show, from the bundle alone."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..data.framing import read_framed
from ..data.images import read_image, resized
from ..errors import DataError, shown
from ..model.bundle import Model
from ..shapes import UInt8
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
            A model of photos brings every photo to its size, as it did in training, without a word.

    Raises:
        ModelError: a bundle that cannot be trusted.
        DataError: a file that is no image, is damaged, or is of another size.
    """
    model = loaded_model(model_path, "cpu")
    read = [_read(path, model, resize=resize) for path in images]
    pixels, notes = [image for image, _ in read], [note for _, note in read]
    verdicts = model.classify(np.stack(pixels), [shown(path) for path in images], k=k)
    return {
        "model": str(model_path),
        "fingerprint": model.fingerprint,
        "verdicts": [
            {**asdict(verdict), "warnings": [*note, *verdict.warnings]}
            for verdict, note in zip(verdicts, notes, strict=True)
        ],
    }


def _read(path: Path, model: Model, *, resize: bool) -> tuple[UInt8[np.ndarray, "c h w"], tuple[str, ...]]:
    """Return an image as the model takes it: framed as its training photos were, or of its size as it is."""
    if model.framing is not None:
        return read_framed(path, model.framing), ()
    channels, height, width = model.architecture.image_shape
    image = read_image(path, channels)
    if image.shape[1:] == (height, width):
        return image, ()
    found = f"{image.shape[2]}x{image.shape[1]}"
    if not resize:
        raise DataError(
            f"{shown(path)}: is {found} pixels, the model takes {width}x{height}; "
            f"cut or scale it, or give --resize"
        )
    return resized(image, height, width), (f"resized from {found} to {width}x{height}",)
