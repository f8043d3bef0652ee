"""Networks: images in, embeddings out; a Module only where there are parameters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ..errors import ModelError
from ..shapes import Embedded, Float, Tensor

__all__ = [
    "Architecture",
    "ClassifierNet",
    "ConvNet",
    "EmbeddingNet",
    "Normalised",
    "PairNet",
    "RawPixels",
    "TripletNet",
    "build",
    "initialise",
]

LARGEST_WIDTH = 1 << 24
MOST_LAYERS = 64
SMALLEST_HALVED = 16
"""Pixels: a smaller image is not halved by the first stage of the ConvNet."""
LARGEST_UNHALVED = 7
"""Pixels: what is no larger is not halved by its further stages."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a network is made from: enough to build it again, and nothing else.

    Args:
        name: "mlp" is the walk-through's network, "convnet" a small convolutional one; "raw-pixels" embeds an
            image as its own values.
        image_shape: channels, height and width that it takes.
        dimension: d of the embedding.
        hidden: widths of the hidden layers.
        channels: of the stages of a ConvNet; none elsewhere.
        normalised: whether embeddings are brought to length 1.

    Raises:
        ModelError: a size that no network has.
    """

    name: Literal["mlp", "convnet", "raw-pixels"]
    image_shape: tuple[int, int, int]
    dimension: int
    hidden: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    normalised: bool = False

    def __post_init__(self) -> None:
        for size in (*self.image_shape, self.dimension, *self.hidden, *self.channels, self.image_values):
            if not 0 < size <= LARGEST_WIDTH:
                raise ModelError(f"a network with a size of {size}: expected 1 to {LARGEST_WIDTH}")
        layers = len(self.hidden) + len(self.channels)
        if layers > MOST_LAYERS:
            raise ModelError(f"a network with {layers} hidden layers, expected at most {MOST_LAYERS}")
        if (self.name == "convnet") != bool(self.channels):
            raise ModelError(
                f"{self.name} with the channels {self.channels}: a ConvNet has some, no other does"
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
        layers: list[nn.Module] = []
        width *= math.prod(sides)
        if width > LARGEST_WIDTH:
            raise ModelError(
                f"a ConvNet that ends its stages with {width} values, expected at most {LARGEST_WIDTH}"
            )
        for next_width in hidden:
            layers += [nn.Linear(width, next_width, bias=False), nn.BatchNorm1d(next_width), nn.ReLU()]
            width = next_width
        self.layers = nn.Sequential(*layers, nn.Linear(width, dimension))

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


class Normalised(nn.Module):
    """A network whose embeddings are brought to length 1."""

    def __init__(self, embedding_net: nn.Module) -> None:
        super().__init__()
        self.embedding_net = embedding_net

    def forward(self, images: Float[Tensor, "b ..."]) -> Embedded:
        """Embed images."""
        return nn.functional.normalize(self.embedding_net(images).float())


class ClassifierNet(nn.Module):
    """An embedding network with a linear layer to the classes behind it: the softmax baseline.

    Only training sees that layer: the embedding is what the network in front of it gives.
    """

    def __init__(self, embedding_net: nn.Module, dimension: int, classes: int) -> None:
        super().__init__()
        self.embedding_net = embedding_net
        self.classifier = nn.Linear(dimension, classes)

    def forward(self, images: Float[Tensor, "b ..."]) -> Float[Tensor, "b classes"]:
        """Return the logits of each class."""
        logits: Tensor = self.classifier(self.embedding_net(images))
        return logits


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
    network: nn.Module
    match architecture.name:
        case "raw-pixels":
            network = RawPixels()
        case "mlp":
            network = EmbeddingNet(architecture.image_values, architecture.dimension, architecture.hidden)
        case "convnet":
            network = ConvNet(
                architecture.image_shape, architecture.dimension, architecture.channels, architecture.hidden
            )
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Normalised(network) if architecture.normalised else network


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of every layer from `generator`, by torch's own default laws.

    Linear and convolutional weights and biases are uniform in ±1/√fan_in; batch normalisation begins with
    weight 1, bias 0, mean 0 and variance 1.
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                bound = 1 / math.sqrt(module.weight[0].numel())
                module.weight.uniform_(-bound, bound, generator=generator)
                if module.bias is not None:
                    module.bias.uniform_(-bound, bound, generator=generator)
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.reset_running_stats()
                module.weight.fill_(1)
                module.bias.zero_()


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
