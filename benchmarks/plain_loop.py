"""The walk-through's way of training, written anew: one image at a time, PIL, transforms, a DataLoader.

It is what the benchmarks compare with: it does what the walk-through does and wastes nothing beside it. Its
two transforms take the steps that the usual library's take for a grey image.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

Triplet = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class ToTensor:
    """A grey PIL image -> a float tensor (1, h, w) from 0 to 1."""

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Return the tensor."""
        if not isinstance(image, Image.Image) or image.mode != "L":
            raise TypeError(f"a grey PIL image was expected, not {type(image)}")
        values = torch.from_numpy(np.array(image, np.uint8, copy=True))
        values = values.view(image.size[1], image.size[0], len(image.getbands()))
        values = values.permute((2, 0, 1)).contiguous()
        return values.to(dtype=torch.get_default_dtype()).div(255)


class Normalize(nn.Module):
    """(image - mean) / std of a copy; a module, as in the usual library."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the normalised copy."""
        if not image.is_floating_point() or image.ndim < 3:
            raise TypeError(f"a float image was expected, not {image.dtype} {tuple(image.shape)}")
        image = image.clone()
        means = torch.as_tensor(self.mean, dtype=image.dtype, device=image.device)
        stds = torch.as_tensor(self.std, dtype=image.dtype, device=image.device)
        if (stds == 0).any():
            raise ValueError("a standard deviation of 0")
        return image.sub_(means.view(-1, 1, 1)).div_(stds.view(-1, 1, 1))


class PlainTriplets(Dataset[tuple[Triplet, list[int]]]):
    """Triplets made when asked for: an index becomes an anchor, a positive and a negative."""

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64], mean: float, std: float) -> None:
        self.images = torch.tensor(pixels[:, 0])
        self.labels = torch.tensor(labels)
        self.classes = set(labels.tolist())
        self.of_class = {label: np.flatnonzero(labels == label) for label in self.classes}
        self.transforms = (ToTensor(), Normalize((mean,), (std,)))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Triplet, list[int]]:
        label = int(self.labels[index].item())
        positive = index
        while positive == index:
            positive = int(np.random.choice(self.of_class[label]))  # noqa: NPY002 - as the walk-through draws
        other = int(np.random.choice(list(self.classes - {label})))  # noqa: NPY002
        negative = int(np.random.choice(self.of_class[other]))  # noqa: NPY002
        return (self._image(index), self._image(positive), self._image(negative)), []

    def _image(self, index: int) -> torch.Tensor:
        image: Any = Image.fromarray(self.images[index].numpy())
        for transform in self.transforms:
            image = transform(image)
        tensor: torch.Tensor = image
        return tensor


class PlainNet(nn.Module):
    """The walk-through's MLP, one forward pass for each of the three."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, dimension)
        )

    def forward(self, *images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Embed each of the batches."""
        return tuple(self.layers(image.view(image.size(0), -1)) for image in images)


def plain_epoch(loader: DataLoader[tuple[Triplet, list[int]]], network: PlainNet, rate: float) -> float:
    """Train one epoch the walk-through's way; return the mean of the batch means."""
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    network.train()
    losses = []
    for images, _ in loader:
        optimizer.zero_grad()
        anchor, positive, negative = network(*images)
        near = (anchor - positive).pow(2).sum(1)
        far = (anchor - negative).pow(2).sum(1)
        loss = torch.relu(near - far + 1.0).mean()
        losses.append(loss.item())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return sum(losses) / len(losses)
