"""Embed a source into a file that anything can read."""

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError, shown
from ..files import replacing
from .models import loaded_model
from .sourcing import AS_IT_IS, for_model, loaded
from .talk import SILENT, Talk

__all__ = ["embed"]


def embed(
    model_path: Path, source: str, out: Path, *, device: str | None = None, talk: Talk = SILENT
) -> dict[str, Any]:
    """Embed every image of a source; write vectors, labels, class_names, names and fingerprint as .npz.

    Raises:
        UsageError: a file name that does not end in .npz.
        ModelError: a bundle that cannot be trusted.
        DataError: images of another shape.
        ResourceError: the file cannot be written.
    """
    if out.suffix != ".npz":
        raise UsageError(f"--out {shown(out)}: expected a name that ends in .npz")
    model = loaded_model(model_path, device)
    images = loaded(source, for_model(AS_IT_IS, model), talk)
    talk.say(f"embedding {len(images):,} images")
    vectors = model.embed(images.pixels)
    with replacing(out) as file:
        np.savez(
            file,
            vectors=vectors,
            labels=images.labels,
            class_names=np.array(images.class_names, dtype=np.str_),
            names=np.array(images.names, dtype=np.str_),
            fingerprint=np.array(model.fingerprint),
        )
    return {
        "model": str(model_path),
        "source": source,
        "out": str(out),
        "images": len(images),
        "dimension": vectors.shape[1],
        "fingerprint": model.fingerprint,
    }
