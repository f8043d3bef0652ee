"""Networks: images in, embeddings out; a Module only where there are parameters."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from ..shapes import Embedded, Float, Tensor
from .architecture import Architecture
from .backbones import BackboneNet
from .convnet import ConvNet
from .residual import ResidualNet

__all__ = [
    "Architecture",
    "BackboneNet",
    "ClassifierNet",
    "ConvNet",
    "EmbeddingNet",
    "Normalised",
    "PairNet",
    "RawPixels",
    "ResidualNet",
    "TripletNet",
    "build",
    "initialise",
]


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
            network = _channels_last(
                ConvNet(
                    architecture.image_shape,
                    architecture.dimension,
                    architecture.channels,
                    architecture.hidden,
                )
            )
        case "residual":
            network = _channels_last(
                ResidualNet(
                    architecture.image_shape,
                    architecture.dimension,
                    channels=architecture.channels,
                    blocks=architecture.blocks,
                    hidden=architecture.hidden,
                )
            )
        case "backbone":
            network = BackboneNet(
                architecture.backbone, architecture.backbone_side, architecture.dimension, architecture.hidden
            )
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


def _channels_last(network: nn.Module) -> nn.Module:
    moved: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


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
