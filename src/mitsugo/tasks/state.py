"""A training's state as named tensors, and back; chance hangs on seed and epoch alone."""

from collections.abc import Mapping

import torch
from torch import nn

from ..errors import ModelError
from ..shapes import Tensor
from .judging import Kept

__all__ = ["captured", "restore"]

NETWORK, OPTIMIZER, KEPT = "network.", "optimizer.", "kept."


def captured(network: nn.Module, optimizer: torch.optim.Optimizer, kept: Kept) -> dict[str, Tensor]:
    """Return every tensor that the next step depends on, and those that the run may end with."""
    tensors = {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{number}.{key}": value for key, value in state.items()}
    return tensors | {KEPT + name: tensor for name, tensor in (kept.weights or {}).items()}


def restore(
    tensors: Mapping[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer, kept: Kept
) -> None:
    """Put captured tensors back, to the bit.

    Raises:
        ModelError: they are of another network.
    """
    weights = _without(tensors, NETWORK)
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(OPTIMIZER):
            number, _, key = name.removeprefix(OPTIMIZER).partition(".")
            states.setdefault(int(number), {})[key] = tensor
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(
            "the checkpoint is of another network than run.json describes; train again with --overwrite"
        ) from error
    kept.weights = _without(tensors, KEPT) or None
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, state in optimizer.state.items():  # in the order of memory that the parameter has
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[key] = torch.empty_like(parameter).copy_(value)


def _without(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
