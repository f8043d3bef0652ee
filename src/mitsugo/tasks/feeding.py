"""The batches of each epoch, by the recipe's rule: what is drawn, gathered, changed and normalised."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from dataclasses import fields

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.augment import Augmentation, augmented
from ..data.batching import Drawing, drawing, labeled_batches, p_by_k, shuffled
from ..data.resident import resident
from ..data.sampling import (
    FIXED_SEED,
    Batch,
    ClassIndex,
    Draw,
    fixed_pairs,
    fixed_triplets,
    gathered,
    generator_of,
    index_classes,
    random_pairs,
    random_triplets,
)
from ..model.preprocessing import Preprocessing, prepare
from ..recipes import Recipe
from ..shapes import Float32, Int64, Tensor, UInt8
from ..values import LabeledImages, Split

__all__ = ["Feed", "augmentation_of", "batches_of", "planned_batches"]


def augmentation_of(recipe: Recipe) -> Augmentation:
    """Return how a recipe changes training images."""
    return Augmentation(**{field.name: getattr(recipe, field.name) for field in fields(Augmentation)})


class Feed:
    """Training batches by epoch, validation batches always the same; chance hangs on seed, epoch and batch.

    Args:
        images: all of them, a frozen backbone's features in the place of pixels; an array is put on the
            device once.
        split: which of them train and validate.
        recipe: which batches, and how large.
        preprocessing: what is done to pixels before the network.
        augmentation: what is done to training images before that.
        seed: of the run.
        device: where the network is.
    """

    def __init__(
        self,
        images: LabeledImages,
        split: Split,
        recipe: Recipe,
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        seed: int,
        device: torch.device,
    ) -> None:
        self.pixels = resident(images.pixels, device)
        self.labels = torch.tensor(images.labels, device=device)
        self.preprocessing = preprocessing
        self.split = split
        self._recipe = recipe
        self._augmentation = augmentation
        self._seed = seed
        self._index = index_classes(images.labels[split.train])
        self._fixed = self._validation_draw(images.labels[split.validation])
        self.batches = batches_of(recipe, self._index)

    def train(self, epoch: int, skip: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, from 1, after so many; the last epoch ends where the steps do."""
        left = None if self._recipe.steps is None else max(self._recipe.steps - (epoch - 1) * self.batches, 0)
        chance = generator_of(self._seed, epoch)
        prepared = self._prepared(epoch, skip)
        if not self._recipe.labeled:
            draw = {"triplets": random_triplets, "pairs": random_pairs}[self._recipe.batches]
            drawn = _of(self.split.train, draw(self._index, chance))
            return self._gathered(drawn, prepared, skip, left)
        rows = self.split.train[self._drawn(self._index, chance)[:left]]
        return labeled_batches(rows, self.pixels, self.labels, prepared, skip=skip)

    def validation(self) -> Iterator[Batch]:
        """Yield the validation batches: no image is changed, and each time they are the same."""
        if isinstance(self._fixed, Draw):
            return self._gathered(self._fixed, self.plain)
        return labeled_batches(self._fixed, self.pixels, self.labels, self.plain)

    def plain(self, pixels: Tensor) -> Tensor:
        """Return pixels as the network takes them, only normalised; of features the image itself (view 0)."""
        if self._recipe.frozen:
            return _views(pixels)[:, 0]
        return prepare(pixels, self.preprocessing)

    def _prepared(self, epoch: int, skip: int) -> Callable[[Tensor], Tensor]:
        if self._recipe.views == 1 if self._recipe.frozen else self._augmentation.is_off:
            return self.plain
        batches = itertools.count(skip)

        def changed(pixels: Tensor) -> Tensor:
            # each batch has chance of its own, so that a resumed run draws the same
            seed = np.random.SeedSequence([self._seed, epoch, next(batches)]).generate_state(1, np.uint64)
            chance = torch.Generator().manual_seed(int(seed[0] >> 1))
            if self._recipe.frozen:
                return _any_view(_views(pixels), chance)
            return self.plain(augmented(pixels, self._augmentation, chance))

        return changed

    def _drawn(self, index: ClassIndex, chance: np.random.Generator) -> Int64[np.ndarray, "s b"]:
        if self._recipe.batches == "shuffled":
            return shuffled(len(index.labels), self._recipe.batch_size, chance)
        return p_by_k(index, planned_batches(self._recipe, index), chance)

    def _gathered(
        self, draw: Draw, prepared: Callable[[Tensor], Tensor], skip: int = 0, left: int | None = None
    ) -> Iterator[Batch]:
        batches = gathered(draw, self.pixels, prepared, batch_size=self._recipe.batch_size, skip=skip)
        return itertools.islice(batches, None if left is None else max(left - skip, 0))

    def _validation_draw(self, labels: NDArray[np.int64]) -> Draw | NDArray[np.int64]:
        index, part = index_classes(labels), self.split.validation
        if self._recipe.labeled:
            rows: NDArray[np.int64] = part[self._drawn(index, np.random.default_rng(FIXED_SEED))]
            return rows
        fixed = {"triplets": fixed_triplets, "pairs": fixed_pairs}[self._recipe.batches]
        return _of(part, fixed(index))


def planned_batches(recipe: Recipe, index: ClassIndex) -> Drawing:
    """Return what a recipe's P x K batches of these images hold."""
    return drawing(index, batch_size=recipe.batch_size, images_per_class=recipe.images_per_class)


def batches_of(recipe: Recipe, index: ClassIndex) -> int:
    """Return how many batches an epoch of these training images has."""
    if recipe.batches == "p-by-k":
        return planned_batches(recipe, index).batches
    return -(-len(index.labels) // recipe.batch_size)


def _views(held: UInt8[Tensor, "b v 1 w"]) -> Float32[Tensor, "b v d"]:
    """Return features that lie as bytes, as pixels do."""
    return held.view(torch.float32)[:, :, 0]


def _any_view(views: Float32[Tensor, "b v d"], chance: torch.Generator) -> Float32[Tensor, "b d"]:
    """Return one view of each image, drawn."""
    drawn = torch.randint(views.shape[1], (len(views),), generator=chance).to(views.device)
    return views[torch.arange(len(views), device=views.device), drawn]


def _of(part: NDArray[np.int64], draw: Draw) -> Draw:
    return dataclasses.replace(draw, indices=part[draw.indices])
