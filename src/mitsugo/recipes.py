"""Recipes: everything a run is made by, as frozen values. A recipe says what; the tasks say how."""

import dataclasses
import difflib
import math
from dataclasses import dataclass
from typing import Any, Literal

from .errors import UsageError

__all__ = ["RECIPES", "Recipe", "changed", "named", "parsed"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an embedding is made.

    Raises:
        UsageError: a value that cannot be meant; the option is named.
    """

    name: str
    what: str
    """One sentence for people."""

    network: Literal["mlp", "raw-pixels"] = "mlp"
    """The walk-through's MLP, or none at all."""

    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers: the walk-through's."""

    dimension: int | None = 128
    """d of the embedding: 128 to discriminate, 2 to draw it; None takes as many as an image has values."""

    batches: Literal["triplets", "pairs", "none"] = "triplets"
    """Which images stand together."""

    loss: Literal["triplet", "contrastive"] = "triplet"
    """The hinge on squared Euclidean distances, or the contrastive loss of the Siamese network."""

    margin: float = 1.0
    """How much farther the negative must be than the positive; in squared distance for triplets."""

    size_average: bool = True
    """The mean over the batch, as the walk-through; False sums."""

    batch_size: int = 128
    """Triplets or pairs a batch; the last ones of an epoch are as small as they come."""

    epochs: int = 10
    """The final total. 0 leaves the network as it was drawn."""

    learning_rate: float = 2e-4
    """Of Adam, before the decay."""

    decay_every: int = 8
    """The rate of epoch e, counted from 1, is learning_rate · decay^(e // decay_every)."""

    decay: float = 0.1
    """The walk-through steps StepLR(8, 0.1) before each epoch: seven epochs at 2e-4, then 2e-5."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("dimension", 1, 65536),
            ("batch_size", 1, 1 << 20),
            ("epochs", 0, 1_000_000),
            ("decay_every", 1, 1_000_000),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{_option(name)} is {value}, expected {low} to {high}")
        for name in ("margin", "learning_rate", "decay"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{_option(name)} is {value}, expected a positive number")

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 1.

        >>> [RECIPES["article"].rate(epoch) for epoch in (1, 7)]
        [0.0002, 0.0002]
        >>> round(RECIPES["article"].rate(8), 8)
        2e-05
        """
        return self.learning_rate * float(self.decay ** (epoch // self.decay_every))

    def plain(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="article",
            what="the published triplet experiment, to the letter: random triplets, an MLP, ten epochs",
        ),
        Recipe(
            name="article-siamese",
            what="its predecessor: the Siamese network with random pairs and a contrastive loss",
            batches="pairs",
            loss="contrastive",
        ),
        Recipe(
            name="raw-pixels",
            what="the baseline that learns nothing: an image's own values are its embedding",
            network="raw-pixels",
            hidden=(),
            dimension=None,
            batches="none",
            epochs=0,
        ),
    )
}

DEFAULT = "article"


def named(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        UsageError: there is none; the nearest name is suggested.
    """
    if name in RECIPES:
        return RECIPES[name]
    close = difflib.get_close_matches(name, RECIPES, n=1)
    hint = f"did you mean {close[0]}?" if close else "`mitsugo recipes` lists them"
    raise UsageError(
        f"--recipe {name}: there is no such recipe, expected one of {', '.join(RECIPES)}; {hint}"
    )


def changed(recipe: Recipe, **changes: Any) -> Recipe:  # noqa: ANN401 - checked by the recipe itself
    """Return the recipe with the changes that are not None.

    Raises:
        UsageError: the recipe does not train and so has nothing to change, or a value cannot be meant.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    if given and recipe.batches == "none":
        raise UsageError(
            f"{_option(next(iter(given)))}: the recipe {recipe.name} trains nothing; leave it out"
        )
    return dataclasses.replace(recipe, **given)


def parsed(text: str) -> Recipe:
    """Return the recipe of a text like `article` or `article:epochs=0:margin=0.5`.

    >>> parsed("article:epochs=0").epochs
    0

    Raises:
        UsageError: an unknown recipe or key, or a value that is no number.
    """
    name, *settings = text.split(":")
    recipe = named(name)
    numbers = {
        field.name: int if "int" in str(field.type) else float
        for field in dataclasses.fields(Recipe)
        if field.name
        in {"dimension", "margin", "batch_size", "epochs", "learning_rate", "decay_every", "decay"}
    }
    changes: dict[str, float] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        key = key.replace("-", "_")
        if key not in numbers:
            raise UsageError(f"--recipes {text}: {setting} sets nothing known, expected {', '.join(numbers)}")
        try:
            changes[key] = numbers[key](value)
        except ValueError as error:
            raise UsageError(f"--recipes {text}: {key} is {value!r}, expected a number") from error
    return changed(recipe, **changes)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
