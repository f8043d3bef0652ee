"""The layers between what a trunk sees and the embedding."""

from collections.abc import Sequence

from torch import nn

__all__ = ["head"]


def head(width: int, dimension: int, hidden: Sequence[int]) -> nn.Sequential:
    """Return hidden layers, each ended by batch normalisation and a ReLU, and a linear embedding.

    Args:
        width: values that come in.
        dimension: d of the embedding.
        hidden: widths of the hidden layers; none leaves the linear layer alone.

    >>> head(5, 2, ())
    Sequential(
      (0): Linear(in_features=5, out_features=2, bias=True)
    )
    """
    layers: list[nn.Module] = []
    for next_width in hidden:
        layers += [nn.Linear(width, next_width, bias=False), nn.BatchNorm1d(next_width), nn.ReLU()]
        width = next_width
    return nn.Sequential(*layers, nn.Linear(width, dimension))
