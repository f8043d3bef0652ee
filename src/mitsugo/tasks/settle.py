"""What a recipe leaves open is settled by the images and the machine, once, before the first step."""

import dataclasses
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from ..data.guard import Findings
from ..data.sampling import index_classes
from ..data.sources import check_trainable
from ..model.precision import resolved
from ..model.preprocessing import Preprocessing
from ..recipes import Recipe
from ..shapes import Float32, Int64, Tensor, UInt8
from ..space.neighbors import nearest
from ..values import (
    CALIBRATION,
    TEST,
    TRAIN,
    VALIDATION,
    LabeledImages,
    Pixels,
    Seen,
    Split,
    digests_of,
    digests_of_names,
    picked,
)
from .experiment import normalisation_of
from .features import pinned
from .feeding import batches_of
from .fitting import fitting, installed
from .parting import BY_CLASS, Rules, parted

__all__ = ["Ground", "keeps_class_mirrored", "settle"]

MIRRORED: Final = 0.7
"""Mirror images must find their class by so much of the share of the images as they are."""
TOLD: Final = 0.25
"""So far from the largest class's share to 1 the images as they are must come, or the check knows nothing."""
FLIPPED: Final = 0.5
MOST_QUERIES, MOST_GALLERY = 1_000, 10_000
LARGEST_LOOKED_AT: Final = 64
TOGETHER: Final = 1_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """What stands before the first step: the images, their parts, and the recipe with nothing left open."""

    images: LabeledImages
    split: Split
    found: Findings
    why: str
    """Why this network, in a sentence."""
    preprocessing: Preprocessing
    recipe: Recipe

    @property
    def gallery(self) -> LabeledImages:
        """The images that queries are compared with: all that are not test images."""
        if self.split.validation_is_test:
            return self.images.take(self.split.train)
        return self.images.take(np.union1d(self.split.train, self.split.validation))

    def seen(self) -> Seen:
        """Return which images the model is made and measured with, as hashes: those of the gallery first."""
        split = self.split
        rows = split.train if split.validation_is_test else np.union1d(split.train, split.validation)
        chosen = VALIDATION if split.validation.size and not split.validation_is_test else TRAIN
        first = np.where(np.isin(rows, split.train), TRAIN, chosen)
        parts = np.concatenate(
            [first, np.full(len(split.test), TEST), np.full(len(split.calibration), CALIBRATION)]
        )
        every = np.concatenate([rows, split.test, split.calibration])
        groups: list[str] = []
        if self.images.groups is not None and self.images.group_names:
            used = np.unique(self.images.groups[every[parts != CALIBRATION]])
            groups = [self.images.group_names[number] for number in used.tolist()]
        return Seen(
            digests=digests_of(picked(self.images.pixels, every)),
            parts=parts.astype(np.uint8),
            groups=digests_of_names(groups),
        )

    @property
    def test(self) -> LabeledImages:
        """The images that are looked at once."""
        return self.images.take(self.split.test)


def settle(
    source: str,
    images: LabeledImages,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    rules: Rules = BY_CLASS,
) -> Ground:
    """Settle the network, the split, the numbers to train in, whether mirror images train, and the epochs.

    Settling what was settled changes nothing.

    Raises:
        DataError: images that cannot be trained on.
        UsageError: bfloat16 on a processor without it, or a split that cannot be drawn by the rules.
    """
    recipe, why = fitting(recipe, images.image_shape, len(images), installed())
    recipe = pinned(recipe)
    parts = parted(images, rules, recipe.validation_share, seed)
    split = parts.split
    check_trainable(images, split)
    if split.validation_is_test and recipe.validation_share:
        recipe = dataclasses.replace(recipe, validation_share=0.0, keep="last")
    if recipe.flip_horizontal is None:
        flip = FLIPPED if keeps_class_mirrored(images, split) else 0.0
        recipe = dataclasses.replace(recipe, flip_horizontal=flip)
    recipe = dataclasses.replace(recipe, precision=resolved(recipe.precision, device))
    if recipe.batches != "none":
        batches = batches_of(recipe, index_classes(images.labels[split.train]))
        epochs = max(recipe.epochs, -(-recipe.least_steps // batches))
        if recipe.steps is not None:
            epochs = -(-recipe.steps // batches)
        recipe = dataclasses.replace(recipe, epochs=epochs)
    return Ground(
        images=images,
        split=split,
        found=parts.found,
        why=why,
        preprocessing=normalisation_of(source, images, split, recipe),
        recipe=recipe,
    )


def keeps_class_mirrored(images: LabeledImages, split: Split) -> bool:
    """Return whether a mirror image still shows its class, told by nearest neighbours on raw pixels.

    Some training images are queries, others the gallery; where the queries' mirror images find their class
    0.7 times as often as the queries themselves, or more, they may train. Digits do not pass (0.4), clothes
    do (0.75): nobody has to know which a folder holds. Where raw pixels hardly tell the queries
    apart as they are, less than a quarter of the way from the largest class's share to 1, they allow nothing.
    Of images of more than 64 px a side every second, third … pixel is looked at.
    """
    order = np.random.default_rng(0).permutation(split.train)
    queries = order[: min(MOST_QUERIES, len(order) // 2)]
    gallery = order[len(queries) :][:MOST_GALLERY]
    asked, known = (_looked_at(images.pixels, some) for some in (queries, gallery))
    rows = _flat(known)
    as_is, mirrored = (
        float(np.mean(images.labels[gallery][found.indices[:, 0]] == images.labels[queries]))
        for found in (nearest(_flat(pixels), rows, 1) for pixels in (asked, asked[..., ::-1]))
    )
    largest = float(np.bincount(images.labels[queries]).max()) / len(queries)
    return mirrored >= MIRRORED * as_is and as_is >= largest + TOLD * (1 - largest)


def _looked_at(pixels: Pixels, rows: Int64[np.ndarray, " m"]) -> UInt8[np.ndarray, "m c h w"]:
    step = -(-max(pixels.shape[2:]) // LARGEST_LOOKED_AT)
    parts = np.array_split(rows, -(-len(rows) // TOGETHER))
    return np.concatenate([np.asarray(pixels[some])[:, :, ::step, ::step] for some in parts])


def _flat(pixels: UInt8[np.ndarray, "m c h w"]) -> Float32[Tensor, "m d"]:
    return torch.from_numpy(pixels.reshape(len(pixels), -1).astype(np.float32))
