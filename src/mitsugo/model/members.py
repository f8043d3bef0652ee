"""The members of a bundle: bytes to parts and back; each is compared before it is believed."""

import json
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from ..errors import ModelError
from ..values import Embeddings
from .architecture import Architecture
from .backbones import complete
from .manifest import strict_json
from .networks import build
from .tensors import declared, described, packed, unpacked

__all__ = ["GALLERY", "NAMES", "WEIGHTS", "gallery_members", "gallery_of", "network_of"]

WEIGHTS, GALLERY, NAMES = "weights.safetensors", "gallery.safetensors", "gallery.json"


def network_of(architecture: Architecture, weights: bytes) -> nn.Module:
    """Build a network around weights, for inference.

    Memory is taken for the bytes that are there, never for what the architecture claims: the network is built
    without storage, and only where its shapes are those of the weights does it take them.

    Raises:
        ModelError: the weights are not those of the architecture, or not finite.
    """
    with torch.device("meta"):
        network = build(architecture)
    try:
        tensors = unpacked(weights, described(network.state_dict()))
    except ModelError as error:
        raise ModelError(f"{WEIGHTS} {error}") from error
    network.load_state_dict(tensors, assign=True)
    complete(network)
    return network.requires_grad_(False).eval()


def gallery_members(gallery: Embeddings) -> dict[str, bytes]:
    """Return the two members that carry a gallery."""
    tensors = {
        "vectors": torch.from_numpy(np.array(gallery.vectors)),
        "labels": torch.from_numpy(np.array(gallery.labels)),
    }
    # no comma inside a name, so that a reader can count the names before it parses them
    names = ",".join(json.dumps(name).replace(",", "\\u002c") for name in gallery.names)
    return {GALLERY: packed(tensors), NAMES: f"[{names}]".encode()}


def gallery_of(
    members: Mapping[str, bytes], *, class_names: tuple[str, ...], dimension: int, fingerprint: str
) -> Embeddings:
    """Return the gallery that two members carry.

    Raises:
        ModelError: vectors, labels and names do not fit together or the model.
        DataError: a label outside the classes, a vector that is not finite.
    """
    try:
        _, shape = declared(members[GALLERY]).get("vectors", ("", ()))
        rows = shape[0] if shape else 0
        expected = {"vectors": ("F32", (rows, dimension)), "labels": ("I64", (rows,))}
        tensors = unpacked(members[GALLERY], expected)
    except ModelError as error:
        raise ModelError(f"{GALLERY} {error}") from error
    return Embeddings(
        vectors=tensors["vectors"].numpy(),
        labels=tensors["labels"].numpy(),
        class_names=class_names,
        names=_names(members[NAMES], rows),
        fingerprint=fingerprint,
    )


def _names(content: bytes, rows: int) -> tuple[str, ...]:
    names = strict_json(content) if content.count(b",") == max(rows - 1, 0) else None
    if not isinstance(names, list) or len(names) != rows or not all(isinstance(name, str) for name in names):
        raise ModelError(f"{NAMES} is no list of {rows} names, one for each row of {GALLERY}")
    return tuple(names)
