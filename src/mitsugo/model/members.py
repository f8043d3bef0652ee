"""The members of a bundle: bytes to parts and back; each is compared before it is believed."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..errors import ModelError
from ..shapes import Tensor
from ..values import Asked, Calibration, Embeddings, Gates, Inspecting, Kept, Rate, Seen
from .architecture import Architecture
from .backbones import complete
from .manifest import CalibrationEntry, strict_json
from .networks import build
from .tensors import Declared, declared, described, packed, unpacked

__all__ = [
    "CALIBRATION",
    "GALLERY",
    "GATES",
    "NAMES",
    "SEEN",
    "WEIGHTS",
    "calibration_entry",
    "calibration_member",
    "calibration_of",
    "gallery_members",
    "gallery_of",
    "gates_member",
    "gates_of",
    "network_of",
    "seen_member",
    "seen_of",
]

WEIGHTS, GALLERY, NAMES = "weights.safetensors", "gallery.safetensors", "gallery.json"
GATES, SEEN, CALIBRATION = "gates.safetensors", "seen.safetensors", "calibration.safetensors"
OLDER_RULE: Final = "scored before the gates were balanced"
"""In place of a gallery's state, where the scores are of another rule than images are scored by now: so the
thresholds are stale."""


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
    rows = _rows(members[GALLERY], GALLERY, "vectors")
    expected: Declared = {"vectors": ("F32", (rows, dimension)), "labels": ("I64", (rows,))}
    arrays = _arrays(members[GALLERY], GALLERY, expected)
    return Embeddings(
        vectors=arrays["vectors"],
        labels=arrays["labels"],
        class_names=class_names,
        names=_names(members[NAMES], rows),
        fingerprint=fingerprint,
    )


def gates_member(gates: Gates) -> bytes:
    """Return the member that carries what is usual."""
    return packed({field.name: _tensor(getattr(gates, field.name)) for field in fields(gates)})


def gates_of(content: bytes) -> Gates:
    """Return what is usual, as a member carries it.

    Raises:
        ModelError: it is no such member.
        DataError: numbers that do not fit together.
    """
    s, c, p = (_rows(content, GATES, name) for name in ("sizes", "scales", "mean"))
    t = _rows(content, GATES, "others")
    expected: Declared = {
        "sizes": ("I64", (s,)),
        "usual": ("F64", (s,)),
        "scales": ("F64", (c,)),
        "mean": ("F64", (p,)),
        "whitener": ("F64", (p, p)),
        "units": ("F64", (2,)),
        "others": ("F64", (t, p)),
        "reach": ("F64", (t,)),
        "folded": ("U8", (c,)),
    }
    return Gates(**_arrays(content, GATES, expected))


def seen_member(seen: Seen) -> bytes:
    """Return the member that says which images were used."""
    return packed(
        {
            "digests": _tensor(seen.digests.view(np.int64)),
            "parts": _tensor(seen.parts),
            "groups": _tensor(seen.groups.view(np.int64)),
        }
    )


def seen_of(content: bytes) -> Seen:
    """Return which images were used, as a member says it.

    Raises:
        ModelError: it is no such member.
        DataError: parts that do not fit together.
    """
    n, m = _rows(content, SEEN, "parts"), _rows(content, SEEN, "groups")
    expected: Declared = {"digests": ("I64", (n, 2)), "parts": ("U8", (n,)), "groups": ("I64", (m, 2))}
    arrays = _arrays(content, SEEN, expected)
    return Seen(
        digests=arrays["digests"].view(np.uint64),
        parts=arrays["parts"],
        groups=arrays["groups"].view(np.uint64),
    )


def calibration_member(calibration: Calibration) -> bytes:
    """Return the member that carries the images that thresholds came from."""
    kept = calibration.kept
    return packed(
        {
            "vectors": _tensor(kept.vectors),
            "statistics": _tensor(kept.statistics),
            "labels": _tensor(kept.labels),
            "groups": _tensor(kept.groups),
            "digests": _tensor(kept.digests.view(np.int64)),
            "strangeness": _tensor(calibration.strangeness),
            "own": _tensor(calibration.own),
            "right": _tensor(calibration.right.astype(np.uint8)),
            "away": _tensor(calibration.away),
        }
    )


def calibration_entry(calibration: Calibration) -> CalibrationEntry:
    """Return what the manifest says of a calibration."""
    inspecting = calibration.inspecting
    return CalibrationEntry.model_validate(
        {
            "asked": asdict(calibration.asked),
            "source": calibration.kept.source,
            "images": len(calibration.kept),
            "class_names": list(calibration.kept.class_names),
            "units": calibration.units,
            "threshold": calibration.threshold,
            "balance": calibration.balance,
            "promised": calibration.promised,
            "class_thresholds": calibration.class_thresholds,
            "inspecting": None if inspecting is None else asdict(inspecting),
            "state": calibration.state,
            "fingerprint": calibration.fingerprint,
        }
    )


def calibration_of(content: bytes, entry: CalibrationEntry, dimension: int, statistics: int) -> Calibration:
    """Return the calibration that the manifest and a member tell of.

    Raises:
        ModelError: they do not fit together or the model.
        DataError: values that do not fit together.
    """
    n = entry.images
    expected: Declared = {
        "vectors": ("F32", (n, dimension)),
        "statistics": ("F32", (n, statistics)),
        "labels": ("I64", (n,)),
        "groups": ("I64", (n,)),
        "digests": ("I64", (n, 2)),
        "strangeness": ("F64", (n,)),
        "own": ("F64", (n,)),
    }
    standing = _rows(content, CALIBRATION, "away")  # 0 in a bundle that was made before they were kept
    if standing:
        expected |= {"right": ("U8", (n,)), "away": ("F64", (n,))}
    arrays = _arrays(content, CALIBRATION, expected)
    strangeness, own = arrays.pop("strangeness"), arrays.pop("own")
    right, away = (arrays.pop("right"), arrays.pop("away")) if standing else (np.empty(0), np.empty(0))
    if (right > 1).any():
        raise ModelError(f"{CALIBRATION} right holds {right.max()}; expected 0 or 1")
    arrays["digests"] = arrays["digests"].view(np.uint64)
    inspecting = None
    if entry.inspecting is not None:
        told: dict[str, Any] = entry.inspecting.model_dump()
        told |= {name: Rate(**told[name]) for name in ("escapes", "overkill", "escaping")}
        inspecting = Inspecting(**told)
    return Calibration(
        asked=Asked(**entry.asked.model_dump()),
        kept=Kept(class_names=tuple(entry.class_names), source=entry.source, **arrays),
        strangeness=strangeness,
        own=own,
        right=right.astype(np.bool_),
        away=away,
        units=entry.units,
        threshold=entry.threshold,
        balance=1.0 if entry.balance is None else entry.balance,
        promised=entry.promised,
        class_thresholds=entry.class_thresholds,
        inspecting=inspecting,
        state=OLDER_RULE if entry.balance is None else entry.state,
        fingerprint=entry.fingerprint,
    )


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(array))


def _rows(content: bytes, member: str, name: str) -> int:
    try:
        _, shape = declared(content).get(name, ("", ()))
    except ModelError as error:
        raise ModelError(f"{member} {error}") from error
    return shape[0] if shape else 0


def _arrays(content: bytes, member: str, expected: Declared) -> dict[str, Any]:
    try:
        tensors = unpacked(content, expected)
    except ModelError as error:
        raise ModelError(f"{member} {error}") from error
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _names(content: bytes, rows: int) -> tuple[str, ...]:
    names = strict_json(content) if content.count(b",") == max(rows - 1, 0) else None
    if not isinstance(names, list) or len(names) != rows or not all(isinstance(name, str) for name in names):
        raise ModelError(f"{NAMES} is no list of {rows} names, one for each row of {GALLERY}")
    return tuple(names)
