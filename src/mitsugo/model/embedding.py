"""Pixels in, vectors out, in batches; and the fingerprint that says which model's vectors they are."""

import json
from dataclasses import asdict

import numpy as np
import torch
from torch import nn

from ..errors import DataError, ModelError, UsageError
from ..files import sha256_of
from ..shapes import Vectors
from ..values import Pixels
from .architecture import Architecture
from .preprocessing import Preprocessing, prepare
from .tensors import weights_sha256

__all__ = ["embed", "fingerprint_of"]

OPTIONAL = ("channels", "normalised", "blocks", "backbone", "backbone_side")


def embed(
    network: nn.Module,
    pixels: Pixels,
    *,
    architecture: Architecture,
    preprocessing: Preprocessing,
    batch_size: int = 1024,
) -> Vectors:
    """Return the embedding of each image, float32 (n, d), computed where the network's weights lie.

    A vector depends on its own image alone; another batch size moves it by rounding, ≤ 1e-6 of its norm.

    Args:
        network: in evaluation mode.
        pixels: uint8 (n, c, h, w), an array or a memory map.
        architecture: what the network was built from; names the shape of an image.
        preprocessing: what is done to the pixels first.
        batch_size: images that go through the network at once, at most; of large ones they are fewer, which
            bounds the memory.

    Raises:
        DataError: images of another shape.
        UsageError: a batch size below 1.
        ModelError: an embedding that is not finite.
    """
    if batch_size < 1:
        raise UsageError(f"batch size {batch_size}: expected 1 or more")
    if pixels.shape[1:] != architecture.image_shape:
        raise DataError(
            f"images are {_words(pixels.shape[1:])}, the model takes {_words(architecture.image_shape)} "
            f"(channels x height x width); bring them to that shape, or train on them"
        )
    weight = next(network.parameters(), None)
    device = torch.device("cpu") if weight is None else weight.device
    vectors = np.empty((len(pixels), architecture.dimension), np.float32)
    step = min(batch_size, architecture.at_once)
    with torch.inference_mode():
        for start in range(0, len(pixels), step):
            batch = torch.from_numpy(np.array(pixels[start : start + step])).to(device)
            vectors[start : start + step] = network(prepare(batch, preprocessing)).cpu().numpy()
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise ModelError(f"the embedding of image {row} is not finite; the model is unusable, train it again")
    return vectors


def fingerprint_of(architecture: Architecture, preprocessing: Preprocessing, network: nn.Module) -> str:
    """Return the SHA-256 over all that an embedding depends on: architecture, preprocessing and weights.

    What an architecture may have and does not is left out: a model is the same model when more can be said.
    """
    parts = {
        "architecture": {
            name: value for name, value in asdict(architecture).items() if value or name not in OPTIONAL
        },
        "preprocessing": asdict(preprocessing),
        "weights": weights_sha256(network),
    }
    return sha256_of(json.dumps(parts, sort_keys=True).encode())


def _words(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
