"""In which numbers a network trains: float32, or bfloat16 where the processor multiplies it.

Only the network's own forward and backward pass are meant. Weights stay in float32 and take their steps
there; distances, losses, validation, evaluation and inference never see bfloat16.
"""

from typing import Any, Final, Literal

import torch
from torch import nn

from ..errors import UsageError

__all__ = ["InBfloat16", "Precision", "resolved", "supported"]

Precision = Literal["float32", "bfloat16"]
EMULATED: Final = "this processor has no bfloat16 instructions (AVX512-BF16 or AMX), expected float32 or auto"


class InBfloat16(nn.Module):
    """A network that multiplies in bfloat16 while it trains; outputs are float32, evaluation is exact.

    Args:
        network: any module that returns one tensor or a tuple of them.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: torch.Tensor) -> Any:  # noqa: ANN401 - whatever the network returns
        """Return the network's outputs in float32."""
        if not self.training:
            return self.network(*inputs)
        with torch.autocast(inputs[0].device.type, torch.bfloat16):
            outputs = self.network(*inputs)
        if isinstance(outputs, tuple):
            return tuple(output.float() for output in outputs)
        return outputs.float()


def supported(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 itself, by its flags; nothing is timed."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in every torch that we take
    return any(flags.get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))


def resolved(precision: Literal["float32", "bfloat16", "auto"], device: torch.device) -> Precision:
    """Return the numbers that a network trains in on a device.

    Raises:
        UsageError: bfloat16 where the processor would only emulate it.
    """
    if precision == "auto":
        return "bfloat16" if supported(device) else "float32"
    if precision == "bfloat16" and not supported(device):
        raise UsageError(f"--precision bfloat16: {EMULATED}")
    return precision
