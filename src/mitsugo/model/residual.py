"""A residual network for photos, to be trained from scratch."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from ..shapes import Embedded, Float, Tensor
from .head import head

__all__ = ["ResidualBlock", "ResidualNet"]

SMALLEST_HALVED = 16
"""Pixels: a smaller image is not halved at the entrance."""
SMALLEST_QUARTERED = 64
"""Pixels: an image of this size or more is halved twice there."""
LARGEST_UNHALVED = 7
"""Pixels: what is no larger is not halved by a stage."""


class ResidualBlock(nn.Module):
    """y = s(x) + f(x): two 3 x 3 convolutions beside a shortcut (He et al., 2016, "Identity mappings").

    Batch normalisation and a ReLU come before each convolution (their figure 4e). The shortcut is x itself;
    where the width or the size changes, it is a 1 x 1 convolution of the normalised x. Of the places that a
    step leaves out it is told nothing: oneDNN's own steps write past their memory where channels are few
    (uxlfoundation/oneDNN issue 6035), so that training crashed, hung or went astray.

    Args:
        width: channels that come in.
        next_width: channels that go out.
        step: 2 halves height and width.
    """

    def __init__(self, width: int, next_width: int, step: int) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        self.branch = nn.Sequential(
            nn.Conv2d(width, next_width, 3, step, 1, bias=False),
            nn.BatchNorm2d(next_width),
            nn.ReLU(),
            nn.Conv2d(next_width, next_width, 3, 1, 1, bias=False),
        )
        self.step = step
        changes = width != next_width or step != 1
        self.shortcut = nn.Conv2d(width, next_width, 1, bias=False) if changes else None

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """Return what the branch adds to the shortcut."""
        seen = self.before(images)
        past: Tensor = (
            images if self.shortcut is None else self.shortcut(seen[:, :, :: self.step, :: self.step])
        )
        together: Tensor = past + self.branch(seen)
        return together


class ResidualNet(nn.Module):
    """A residual network for photos of some 64 to 256 px (He et al., 2016), narrow enough for two cores.

    The entrance is a 5 x 5 convolution in steps of 2 and, on images of 64 px or more, the greatest of each
    2 x 2 values: an image of 128 px goes on as 32 px. Each stage after the first halves that while more than
    7 px are left. The mean over the places that are left goes to the hidden layers and the linear embedding,
    so that what is seen counts, not where.

    Args:
        image_shape: channels, height and width.
        dimension: d of the embedding.
        channels: of each stage.
        blocks: how many each stage has.
        hidden: widths of the layers between the mean and the embedding.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        dimension: int,
        *,
        channels: Sequence[int] = (32, 64, 128, 256),
        blocks: Sequence[int] = (1, 1, 1, 1),
        hidden: Sequence[int] = (),
    ) -> None:
        super().__init__()
        side = min(image_shape[1:])
        step = 2 if side >= SMALLEST_HALVED else 1
        entrance: list[nn.Module] = [nn.Conv2d(image_shape[0], channels[0], 5, step, 2, bias=False)]
        if side >= SMALLEST_QUARTERED:
            entrance.append(nn.MaxPool2d(2, ceil_mode=True))
            side = math.ceil(side / 2)
        side = math.ceil(side / step)
        stages: list[nn.Module] = []
        width = channels[0]
        for number, (next_width, count) in enumerate(zip(channels, blocks, strict=True)):
            step = 2 if number and side > LARGEST_UNHALVED else 1
            side = math.ceil(side / step)
            for place in range(count):
                stages.append(ResidualBlock(width, next_width, 1 if place else step))
                width = next_width
        self.stages = nn.Sequential(*entrance, *stages, nn.BatchNorm2d(width), nn.ReLU())
        self.layers = head(width, dimension, hidden)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Embedded:
        """Embed normalised images (b, c, h, w)."""
        seen = self.stages(images.contiguous(memory_format=torch.channels_last))
        embedded: Tensor = self.layers(seen.mean(dim=(2, 3)))
        return embedded

    def get_embedding(self, images: Float[Tensor, "b c h w"]) -> Embedded:
        """Embed images; the walk-through's name for calling the network."""
        embedded: Tensor = self(images)
        return embedded
