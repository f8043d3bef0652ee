"""Networks: images in, embeddings out; a Module only where there are parameters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ..errors import ModelError
from ..shapes import Embedded, Float, Tensor

__all__ = ["Architecture", "EmbeddingNet", "PairNet", "RawPixels", "TripletNet", "build", "initialise"]

LARGEST_WIDTH = 1 << 24
MOST_LAYERS = 64


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a network is made from: enough to build it again, and nothing else.

    Args:
        name: "mlp" is the walk-through's network; "raw-pixels" embeds an image as its own values.
        image_shape: channels, height and width that it takes.
        dimension: d of the embedding.
        hidden: widths of the hidden layers.

    Raises:
        ModelError: a size that no network has.
    """

    name: Literal["mlp", "raw-pixels"]
    image_shape: tuple[int, int, int]
    dimension: int
    hidden: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for size in (*self.image_shape, self.dimension, *self.hidden, self.image_values):
            if not 0 < size <= LARGEST_WIDTH:
                raise ModelError(f"a network with a size of {size}: expected 1 to {LARGEST_WIDTH}")
        if len(self.hidden) > MOST_LAYERS:
            raise ModelError(
                f"a network with {len(self.hidden)} hidden layers, expected at most {MOST_LAYERS}"
            )
        if self.name == "raw-pixels" and self.hidden:
            raise ModelError(f"raw pixels have no hidden layers, not {self.hidden}")
        if self.name == "raw-pixels" and self.dimension != self.image_values:
            raise ModelError(
                f"raw pixels of {self.image_values} values embed in as many dimensions, not {self.dimension}"
            )

    @property
    def image_values(self) -> int:
        """How many values an image has."""
        return math.prod(self.image_shape)


class EmbeddingNet(nn.Module):
    """The walk-through's network: Linear, ReLU, Linear, ReLU, Linear; the embedding is not normalised.

    Args:
        values: how many values an image has (784 for MNIST).
        dimension: d of the embedding, 128 to discriminate, 2 to draw.
        hidden: widths of the hidden layers.
    """

    def __init__(self, values: int, dimension: int, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = values
        for next_width in hidden:
            layers += [nn.Linear(width, next_width), nn.ReLU()]
            width = next_width
        self.layers = nn.Sequential(*layers, nn.Linear(width, dimension))

    def forward(self, images: Float[Tensor, "b ..."]) -> Embedded:
        """Embed normalised images, flat or (b, c, h, w)."""
        embedded: Tensor = self.layers(images.flatten(1))
        return embedded

    def get_embedding(self, images: Float[Tensor, "b ..."]) -> Embedded:
        """Embed images; the walk-through's name for calling the network."""
        embedded: Tensor = self(images)
        return embedded


class RawPixels(nn.Module):
    """The baseline that learns nothing: an image's own values are its embedding."""

    def forward(self, images: Float[Tensor, "b ..."]) -> Embedded:
        """Return the images, flat."""
        return images.flatten(1)


class TripletNet(nn.Module):
    """Embed anchor, positive and negative by one network.

    The three go through it as one batch, which is the same arithmetic on wider matrices; a network whose
    layers look across the batch (batch normalisation) sees the three together.
    """

    def __init__(self, embedding_net: nn.Module) -> None:
        super().__init__()
        self.embedding_net = embedding_net

    def forward(
        self,
        anchor: Float[Tensor, "b ..."],
        positive: Float[Tensor, "b ..."],
        negative: Float[Tensor, "b ..."],
    ) -> tuple[Embedded, Embedded, Embedded]:
        """Return the three embeddings, each (b, d)."""
        a, p, n = self.embedding_net(_together(anchor, positive, negative)).chunk(3)
        return a, p, n

    def get_embedding(self, images: Float[Tensor, "b ..."]) -> Embedded:
        """Embed images."""
        embedded: Tensor = self.embedding_net(images)
        return embedded


class PairNet(nn.Module):
    """Embed the two images of a pair by one network: the Siamese network."""

    def __init__(self, embedding_net: nn.Module) -> None:
        super().__init__()
        self.embedding_net = embedding_net

    def forward(
        self, one: Float[Tensor, "b ..."], other: Float[Tensor, "b ..."]
    ) -> tuple[Embedded, Embedded]:
        """Return the two embeddings, each (b, d)."""
        e, f = self.embedding_net(_together(one, other)).chunk(2)
        return e, f

    def get_embedding(self, images: Float[Tensor, "b ..."]) -> Embedded:
        """Embed images."""
        embedded: Tensor = self.embedding_net(images)
        return embedded


def build(architecture: Architecture) -> nn.Module:
    """Make the network that an architecture describes; its weights are left to `initialise` or to a file."""
    if architecture.name == "raw-pixels":
        return RawPixels()
    return EmbeddingNet(architecture.image_values, architecture.dimension, architecture.hidden)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of every Linear layer from `generator`, by torch's own default law.

    Weights and biases are uniform in ±1/√fan_in, as `nn.Linear` draws them from the global generator.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            with torch.no_grad():
                module.weight.uniform_(-bound, bound, generator=generator)
                module.bias.uniform_(-bound, bound, generator=generator)


def _together(*parts: Tensor) -> Tensor:
    """Return the parts as one batch; parts of one gathered batch are taken as it, without a copy."""
    whole = parts[0]._base  # noqa: SLF001 - how torch names the tensor that a view is of
    rows = sum(map(len, parts))
    if whole is None or whole.shape != (rows, *parts[0].shape[1:]) or not whole.is_contiguous():
        return torch.cat(parts)
    # the same memory, read in the same order: else a transposed or repeated view would pass for its base
    begin = whole.storage_offset()
    for part in parts:
        seen = (part._base is whole, part.storage_offset(), part.stride())  # noqa: SLF001
        if seen != (True, begin, whole.stride()):
            return torch.cat(parts)
        begin += part.numel()
    return whole
