"""Where the pixels lie while they train: on the device, or brought there batch by batch."""

from dataclasses import dataclass

import numpy as np
import torch

from ..shapes import Int64, Tensor, UInt8
from ..values import LazyPixels, Pixels

__all__ = ["Brought", "resident"]


@dataclass(frozen=True, eq=False)
class Brought:
    """Pixels of a memory map or of files, of which a batch at a time is brought to the device."""

    pixels: np.memmap | LazyPixels
    device: torch.device

    def index_select(self, dimension: int, rows: Int64[Tensor, " m"]) -> UInt8[Tensor, "m c h w"]:
        """Return some rows, uint8 (m, c, h, w), as a tensor's own method of this name does."""
        assert dimension == 0, "only images are picked"
        found = np.ascontiguousarray(self.pixels[rows.cpu().numpy()])
        return torch.from_numpy(found).to(self.device)


def resident(pixels: Pixels, device: torch.device) -> Tensor | Brought:
    """Return an array as a tensor on the device; a memory map and lazy pixels stay where they are."""
    if isinstance(pixels, np.memmap | LazyPixels):
        return Brought(pixels, device)
    return torch.tensor(pixels, device=device)
