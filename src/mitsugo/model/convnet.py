"""A small convolutional network for small images."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from ..errors import ModelError
from ..shapes import Embedded, Float, Tensor
from .architecture import LARGEST_WIDTH
from .head import head

__all__ = ["ConvNet"]

SMALLEST_HALVED = 16
"""Pixels: a smaller image is not halved by the first stage."""
LARGEST_UNHALVED = 7
"""Pixels: what is no larger is not halved by the further stages."""


class ConvNet(nn.Module):
    """A small convolutional network for images up to some 64 px: its stages halve an image down to some 7 px.

    The first stage is a 5 x 5 convolution, in steps of 2 on images of 16 px or more; each further one a 3 x 3
    convolution, and while more than 7 px are left the greatest of each 2 x 2 values. Batch normalisation
    (Ioffe and Szegedy, 2015) and a ReLU end every stage and every hidden layer; the embedding is linear.

    Args:
        image_shape: channels, height and width.
        dimension: d of the embedding.
        channels: of each stage.
        hidden: widths of the layers between the last stage and the embedding.

    Raises:
        ModelError: images, or a last stage, too large.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        dimension: int,
        channels: Sequence[int] = (32, 64),
        hidden: Sequence[int] = (256,),
    ) -> None:
        super().__init__()
        width, *sides = image_shape
        step = 2 if min(sides) >= SMALLEST_HALVED else 1
        stages: list[nn.Module] = []
        for number, next_width in enumerate(channels):
            if number == 0:
                stages.append(nn.Conv2d(width, next_width, 5, step, 2, bias=False))
                sides = [-(-side // step) for side in sides]
            else:
                stages.append(nn.Conv2d(width, next_width, 3, 1, 1, bias=False))
                if min(sides) > LARGEST_UNHALVED:
                    stages.append(nn.MaxPool2d(2, ceil_mode=True))
                    sides = [-(-side // 2) for side in sides]
            stages += [nn.BatchNorm2d(next_width), nn.ReLU()]
            width = next_width
        self.stages = nn.Sequential(*stages)
        width *= math.prod(sides)
        if width > LARGEST_WIDTH:
            raise ModelError(
                f"a ConvNet that ends its stages with {width} values, expected at most {LARGEST_WIDTH}"
            )
        self.layers = head(width, dimension, hidden)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Embedded:
        """Embed normalised images (b, c, h, w)."""
        seen = self.stages(images.contiguous(memory_format=torch.channels_last))
        # in the order that they lie in memory: no copy here, and none of the gradient on its way back
        embedded: Tensor = self.layers(seen.permute(0, 2, 3, 1).flatten(1))
        return embedded

    def get_embedding(self, images: Float[Tensor, "b c h w"]) -> Embedded:
        """Embed images; the walk-through's name for calling the network."""
        embedded: Tensor = self(images)
        return embedded
