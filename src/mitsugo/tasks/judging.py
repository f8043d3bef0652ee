"""What is chosen on validation images: the epoch that is kept, and the k of k-NN."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..shapes import Int64, Tensor
from ..space.metrics import vote
from ..space.neighbors import nearest
from ..values import Epoch, Gap
from .feeding import Feed

__all__ = ["ACCURACY", "Judge", "Kept", "chosen_k", "gap_of"]

ACCURACY = "validation_accuracy"
"""The k-NN accuracy on the validation images, by its name in an epoch's metrics."""
K = 5
CANDIDATES = (1, 3, 5, 9, 15, 25)
MOST_QUERIES = 5_000
MOST_GALLERY = 10_000
"""A part of the images tells epochs apart, in a fraction of an epoch's time."""
TOGETHER = 1000


class Judge:
    """The 5-NN accuracy of a network as it stands: validation images against a part of the training images.

    The part is the same at every epoch and keeps the classes' shares nearly: it is drawn without replacement.
    Where the validation classes are none of the training classes, each validation image is asked among the
    others.

    Args:
        network: takes what the feed gives.
        feed: the images, and which of them train and validate.
        classes: how many there are.
        most: how many images may go through the network at once; bounds the memory.
    """

    def __init__(self, network: nn.Module, feed: Feed, classes: int, most: int = MOST_GALLERY) -> None:
        self._network = network
        self._feed = feed
        self._classes = classes
        self._together = min(TOGETHER, most)
        chance = np.random.default_rng(0)
        self._queries = chance.permutation(feed.split.validation)[:MOST_QUERIES]
        self.alone = feed.split.validation_unseen
        self._training = chance.permutation(feed.split.train)[:MOST_GALLERY]
        self._gallery = self._queries if self.alone else self._training

    def __call__(self) -> dict[str, float]:
        """Return the accuracy by its name."""
        return {ACCURACY: self.accuracies((K,))[K]}

    def accuracies(self, candidates: Sequence[int]) -> dict[int, float]:
        """Return the k-NN accuracy for each k that the gallery has images for."""
        queries = self._embedded(self._queries)
        gallery = queries if self.alone else self._embedded(self._gallery)
        labels, classes = self._feed.labels.cpu().numpy(), self._classes
        most = len(gallery) - self.alone
        possible = [k for k in candidates if k <= most] or [most]
        itself = torch.arange(len(queries)) if self.alone else None
        voters = labels[self._gallery][nearest(queries, gallery, max(possible), exclude=itself).indices]
        true = labels[self._queries]
        return {k: float(np.mean(vote(voters[:, :k], classes)[0] == true)) for k in possible}

    def training_accuracy(self) -> float:
        """Return the 5-NN accuracy of the training images that are the gallery, each among the others.

        So far above the accuracy on the validation images, the network knows its training images by heart.
        """
        rows = self._training
        vectors, labels = self._embedded(rows), self._feed.labels.cpu().numpy()[rows]
        k = min(K, len(rows) - 1)
        found = nearest(vectors, vectors, k, exclude=torch.arange(len(rows))).indices
        return float(np.mean(vote(labels[found], self._classes)[0] == labels))

    def _embedded(self, rows: Int64[np.ndarray, " n"]) -> Tensor:
        was_training = self._network.training
        self._network.eval()
        with torch.inference_mode():
            parts = [
                self._network(
                    self._feed.plain(
                        self._feed.pixels.index_select(0, torch.from_numpy(some).to(self._feed.labels.device))
                    )
                )
                for some in np.array_split(rows, -(-len(rows) // self._together))
            ]
        self._network.train(was_training)
        return torch.cat(parts).cpu()


def gap_of(judge: Judge | None) -> Gap | None:
    """Return how far training images fare better than validation images.

    None without images to choose by, and where these are of other classes, which may be harder or easier.
    """
    if judge is None or judge.alone:
        return None
    (validation,) = judge.accuracies((K,)).values()
    return Gap(training=judge.training_accuracy(), validation=validation)


def chosen_k(judge: Judge | None) -> int:
    """Return the k with the best accuracy on the validation images; of equal ones the nearest to 5.

    Without images to choose by it is 5.
    """
    if judge is None:
        return K
    accuracies = judge.accuracies(CANDIDATES)
    return min(accuracies, key=lambda k: (-accuracies[k], abs(k - K)))


@dataclass
class Kept:
    """The weights that a run ends with: the last, or those of the best epoch on the validation images.

    Args:
        best: whether an epoch has to be better than those before it.
        epoch: whose weights they are.
        accuracy: of that epoch.
        weights: None while the last are kept.
    """

    best: bool
    epoch: int = 0
    accuracy: float = -1.0
    weights: dict[str, Tensor] | None = None

    def see(self, epoch: Epoch, network: nn.Module) -> None:
        """Take an epoch in; of equal ones the later is kept, whose rate was lower."""
        self.remember([epoch])
        if self.best and self.epoch == epoch.epoch:
            self.weights = {name: tensor.clone() for name, tensor in _moving(network).items()}

    def remember(self, history: Sequence[Epoch]) -> None:
        """Know again which epoch the weights of a checkpoint are of."""
        for epoch in history:
            accuracy = epoch.metrics[ACCURACY] if self.best else 0.0
            if accuracy >= self.accuracy:
                self.epoch, self.accuracy = epoch.epoch, accuracy

    def put_back(self, network: nn.Module) -> None:
        """Give a network the weights that were kept."""
        if self.weights is not None:
            network.load_state_dict(network.state_dict() | self.weights)


def _moving(network: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that training changes: all but those of layers whose parameters are frozen."""
    frozen = {
        name
        for name, module in network.named_modules()
        if (own := list(module.parameters(recurse=False))) and not any(p.requires_grad for p in own)
    }
    state = network.state_dict().items()
    return {name: tensor.detach() for name, tensor in state if name.rpartition(".")[0] not in frozen}
