"""Which network fits the images, where a recipe leaves that open."""

import dataclasses
import importlib.util
from collections.abc import Collection

from ..recipes import RECIPES, Recipe

__all__ = ["fitting", "installed"]

OPEN = ("standard", "standard-softmax")
"""The recipes that leave their network to the images."""
LARGEST_SMALL = 64
"""Pixels a side that the ConvNet is made for."""
FEW, MANY = 5_000, 20_000
"""Images below which pretrained weights are hinted at, and from which a residual network is twice as deep."""


def installed() -> tuple[str, ...]:
    """Return which of the packages that a better choice may need are there."""
    return tuple(name for name in ("timm",) if importlib.util.find_spec(name) is not None)


def fitting(
    recipe: Recipe, image_shape: tuple[int, int, int], n_images: int, installed: Collection[str]
) -> tuple[Recipe, str]:
    """Return the recipe with the network that fits the images, and why in one sentence, if it was open.

    Only `standard` and `standard-softmax` as they are leave their network open. On larger images than the
    ConvNet's they take the settings of `photos`, those aside that were changed. What was fitted stays.

    Args:
        recipe: any.
        image_shape: channels, height and width.
        n_images: how many there are.
        installed: packages that a better choice may need, as "timm".

    >>> fitting(RECIPES["standard"], (1, 28, 28), 70_000, ())[1]
    'a small ConvNet: the images are 28 x 28 pixels, at most 64'
    """
    side, base = max(image_shape[1:]), RECIPES.get(recipe.name)
    opened = base is not None and recipe.name in OPEN
    if not opened or base is None or (recipe.network, recipe.channels) != (base.network, base.channels):
        return recipe, ""
    size = f"the images are {image_shape[2]} x {image_shape[1]} pixels"
    if side <= LARGEST_SMALL:
        return recipe, f"a small ConvNet: {size}, at most {LARGEST_SMALL}"
    photos = RECIPES["photos"]
    kept = {"name", "what", "batches", "loss"}
    names = (field.name for field in dataclasses.fields(Recipe) if field.name not in kept)
    taken = {name: getattr(photos, name) for name in names if getattr(recipe, name) == getattr(base, name)}
    if n_images >= MANY:
        taken["blocks"] = tuple(2 * count for count in photos.blocks)
    blocks = sum(taken.get("blocks", recipe.blocks))
    why = f"a residual network of {blocks} blocks: {size}, over {LARGEST_SMALL}, and {n_images:,} in all"
    if n_images < FEW:
        timm = "" if "timm" in installed else ", which needs timm"
        why += f"; with so few, --recipe photos-pretrained may tell more apart{timm}"
    return dataclasses.replace(recipe, **taken), why
