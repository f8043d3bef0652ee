"""Named tensors as safetensors bytes, believed only after their header was read and compared."""

import hashlib
import json
import struct
import sys
from collections.abc import Mapping

import safetensors
import safetensors.torch
import torch
from torch import nn

from ..errors import ModelError, shown
from ..shapes import Tensor
from .manifest import strict_json

__all__ = ["Declared", "declared", "described", "packed", "unpacked", "weights_sha256"]

LARGEST_HEADER = 1 << 20
LENGTH = struct.Struct("<Q")
TYPES = {
    "BF16": torch.bfloat16,
    "BOOL": torch.bool,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
    "I32": torch.int32,
    "I64": torch.int64,
    "U8": torch.uint8,
}
TYPE_NAMES = {kind: name for name, kind in TYPES.items()}

Declared = dict[str, tuple[str, tuple[int, ...]]]
"""Type and shape of each tensor, by its name."""


def described(tensors: Mapping[str, Tensor]) -> Declared:
    """Return type and shape of each tensor, as a header would say them.

    >>> described({"bias": torch.zeros(3)})
    {'bias': ('F32', (3,))}
    """
    return {name: (TYPE_NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()}


def packed(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors as safetensors bytes: the same tensors give the same bytes."""
    content: bytes = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    )
    return content


def declared(content: bytes) -> Declared:
    """Return what a safetensors header promises; nothing else of it is read.

    Raises:
        ModelError: the header is too long, no strict JSON, or says more or less than a type, a shape and a
            place for each tensor.
    """
    room = min(LARGEST_HEADER, len(content) - LENGTH.size)
    length = LENGTH.unpack_from(content)[0] if room >= 0 else 0
    if not 0 < length <= room:
        raise ModelError(f"has a header of {length} bytes, expected 1 to {max(room, 1)}")
    header = strict_json(content[LENGTH.size : LENGTH.size + length])
    if not isinstance(header, dict):
        raise ModelError("has a header that is no table of tensors")
    return {name: _entry(name, entry) for name, entry in header.items()}


def unpacked(content: bytes, expected: Declared) -> dict[str, Tensor]:
    """Return the tensors of safetensors bytes whose header promises exactly the expected ones.

    Raises:
        ModelError: another name, type or shape, places that overlap, or a value that is not finite.
    """
    found = declared(content)
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise ModelError(
                f"{shown(name)} is {_words(found.get(name))}, expected {_words(expected.get(name))}"
            )
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise ModelError(ascii(str(error))[1:-1]) from error
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ModelError(f"{shown(name)} holds a value that is not finite")
    return tensors


def weights_sha256(network: nn.Module) -> str:
    """Return the SHA-256 of a network's weights: equal weights, equal hash, on every machine.

    Tensors go in by name, in order; each as its name, type and shape, then its little-endian bytes.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(json.dumps([name, TYPE_NAMES[tensor.dtype], list(tensor.shape)]).encode())
        values = tensor.detach().cpu().reshape(-1, 1).contiguous().view(torch.uint8).numpy()
        digest.update(values if sys.byteorder == "little" else values[:, ::-1].copy())
    return digest.hexdigest()


def _entry(name: str, entry: object) -> tuple[str, tuple[int, ...]]:
    match entry:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": list(), **rest} if (
            not rest and kind in TYPES and all(type(size) is int for size in shape)
        ):
            return kind, tuple(shape)
    raise ModelError(f"declares {shown(name)} as no tensor that mitsugo writes")


def _words(one: tuple[str, tuple[int, ...]] | None) -> str:
    return "missing" if one is None else f"{one[0]} {one[1]}"
