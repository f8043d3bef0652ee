"""What a network is made from: enough to build it again, and nothing else."""

import math
import re
from dataclasses import dataclass
from typing import Final, Literal

from ..errors import ModelError

__all__ = ["LARGEST_WIDTH", "Architecture"]

LARGEST_WIDTH = 1 << 24
MOST_LAYERS = 64
LARGEST_SIDE = 4096
VALUES_AT_ONCE: Final = 1 << 20
"""Of images that go through a network together: memory does not grow with their size."""
MODEL_NAME = r"[A-Za-z0-9_]{1,100}(\.[A-Za-z0-9_]{1,100})?"


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a network is made from.

    Args:
        name: "mlp" is the walk-through's network, "convnet" a small convolutional one, "residual" one with
            shortcuts for photos, "backbone" one that timm names; "raw-pixels" embeds an image as its own
            values.
        image_shape: channels, height and width that it takes.
        dimension: d of the embedding.
        hidden: widths of the hidden layers.
        channels: of the stages of a ConvNet or a residual network; none elsewhere.
        normalised: whether embeddings are brought to length 1.
        blocks: of each stage of a residual network; none elsewhere.
        backbone: timm's name of the model; none elsewhere.
        backbone_side: height and width in pixels that the backbone sees; 0 elsewhere.

    Raises:
        ModelError: a size that no network has.
    """

    name: Literal["mlp", "convnet", "residual", "backbone", "raw-pixels"]
    image_shape: tuple[int, int, int]
    dimension: int
    hidden: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    normalised: bool = False
    blocks: tuple[int, ...] = ()
    backbone: str = ""
    backbone_side: int = 0

    def __post_init__(self) -> None:
        sizes = (*self.image_shape, self.dimension, *self.hidden, *self.channels, *self.blocks)
        for size in (*sizes, self.image_values):
            if not 0 < size <= LARGEST_WIDTH:
                raise ModelError(f"a network with a size of {size}: expected 1 to {LARGEST_WIDTH}")
        layers = len(self.hidden) + len(self.channels) + sum(self.blocks)
        if layers > MOST_LAYERS:
            raise ModelError(f"a network with {layers} hidden layers, expected at most {MOST_LAYERS}")
        if (self.name in {"convnet", "residual"}) != bool(self.channels):
            raise ModelError(
                f"{self.name} with the channels {self.channels}: a ConvNet and a residual network have some, "
                f"no other does"
            )
        if len(self.blocks) != (len(self.channels) if self.name == "residual" else 0):
            raise ModelError(
                f"{self.name} with the channels {self.channels} and the blocks {self.blocks}: a residual "
                f"network has as many of both, no other has blocks"
            )
        self._check_backbone()
        if self.name == "raw-pixels" and self.hidden:
            raise ModelError(f"raw pixels have no hidden layers, not {self.hidden}")
        if self.name == "raw-pixels" and self.dimension != self.image_values:
            raise ModelError(
                f"raw pixels of {self.image_values} values embed in as many dimensions, not {self.dimension}"
            )

    def _check_backbone(self) -> None:
        side, named = self.backbone_side, re.fullmatch(MODEL_NAME, self.backbone)
        if self.name == "backbone":
            if not named or not 1 <= side <= LARGEST_SIDE or self.image_shape[0] not in {1, 3}:
                raise ModelError(
                    f"a backbone {self.backbone!a} of {side} pixels for {self.image_shape[0]} channels: "
                    f"expected a model of timm, 1 to {LARGEST_SIDE} pixels, and grey (1) or RGB (3) images"
                )
        elif self.backbone or side:
            raise ModelError(
                f"{self.name} with the backbone {self.backbone!a} of {side} pixels: only a backbone has one"
            )

    @property
    def image_values(self) -> int:
        """How many values an image has."""
        return math.prod(self.image_shape)

    @property
    def at_once(self) -> int:
        """How many images may go through the network together without much memory; at least 1.

        >>> Architecture(name="mlp", image_shape=(1, 28, 28), dimension=2).at_once
        1337
        """
        return max(1, VALUES_AT_ONCE // max(self.image_values, 3 * self.backbone_side**2))
