"""What training sees: a sheet of images and of what augmentation makes of them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.augment import augmented
from ..report.augmentation import draw_augmentation
from .experiment import augmentation_of
from .plan import TrainOptions, planned
from .settle import Ground, settle
from .sourcing import loaded

__all__ = ["draw_sheet", "show_augmentation"]

MOST_ROWS = 10
VARIANTS = 8


def show_augmentation(options: TrainOptions, path: Path) -> dict[str, Any]:
    """Draw one training image of each class, of ten at most, beside eight variants of it; train nothing.

    Raises:
        UsageError: an option that cannot be meant.
        DataError: a source that cannot be used.
        ResourceError: the file cannot be written.
    """
    plan = planned(options)
    images = loaded(options.source, plan.sourcing)
    ground = settle(
        options.source,
        images,
        plan.recipe,
        seed=plan.seed,
        device=torch.device("cpu"),
        rules=plan.sourcing.rules,
    )
    drawn = draw_sheet(ground, plan.seed, path)
    return {"recipe": plan.recipe.name, "augmentation": drawn, "file": str(path)}


def draw_sheet(ground: Ground, seed: int, path: Path) -> dict[str, Any]:
    """Draw what training sees of a settled source into a PNG; return how images are changed.

    Raises:
        ResourceError: the file cannot be written.
    """
    images, augmentation = ground.images, augmentation_of(ground.recipe)
    train = ground.split.train
    _, first = np.unique(images.labels[train], return_index=True)
    rows = train[first[:MOST_ROWS]]
    originals = images.pixels[rows]
    chance = torch.Generator().manual_seed(seed)
    many = torch.from_numpy(np.repeat(originals, VARIANTS, axis=0))
    variants = augmented(many, augmentation, chance).round().to(torch.uint8).numpy()
    draw_augmentation(
        originals,
        variants.reshape(len(rows), VARIANTS, *images.image_shape),
        [images.class_names[label] for label in images.labels[rows]],
        path,
        title=f"{ground.recipe.name}: what training sees",
    )
    return vars(augmentation)
