"""A training's state as named tensors, and back; chance hangs on seed and epoch alone."""

from collections.abc import Mapping

import torch
from torch import nn

from ..errors import ModelError
from ..shapes import Tensor

__all__ = ["captured", "restore"]

NETWORK, OPTIMIZER = "network.", "optimizer."


def captured(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return every tensor that the next step depends on."""
    tensors = {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{number}.{key}": value for key, value in state.items()}
    return tensors


def restore(tensors: Mapping[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put captured tensors back, to the bit.

    Raises:
        ModelError: they are of another network.
    """
    weights = {
        name.removeprefix(NETWORK): tensor for name, tensor in tensors.items() if name.startswith(NETWORK)
    }
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
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
