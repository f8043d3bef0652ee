"""Omniglot: characters that training never saw, told apart from a single drawing of each.

Two questions (Lake, Salakhutdinov and Tenenbaum, 2015, 2019). Between alphabets: 20 characters are drawn from
all evaluation alphabets, one drawing of each is known, others are asked. Within alphabets: the 20 official
runs, each 20 characters of one alphabet, one drawing of each known and one asked. The nearest known drawing
answers in both. Training sees the background alphabets alone, each character turned by 0, 90, 180 and 270
degrees, four classes (Vinyals et al., 2016).
"""

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from mitsugo.recipes import Recipe
from mitsugo.settings import parsed
from mitsugo.tasks.features import backbone_of
from mitsugo.tasks.models import trained_model
from mitsugo.tasks.settle import settle
from mitsugo.tasks.talk import SILENT
from mitsugo.values import LabeledImages, Split
from photo_baselines import Trial, hog_features, missing, weights
from photo_sets import Omniglot, read_omniglot

__all__ = [
    "KNOWN",
    "asked",
    "drawing_trials",
    "episodes",
    "held_out",
    "one_of_each",
    "training_images",
]

_TRAINED = (
    "standard:normalised=true:batch_size=400:images_per_class=4:flip_horizontal=0:validation_share=0:keep=last"
    ":channels=[64,128,128]:hidden=[512]:dimension=256:rotation=15:scale=0.15:shift=0.08:shear=10"
    ":epochs=1:steps=3000"
)
RECIPES = {
    "supervised contrastive": f"{_TRAINED}:loss=supervised-contrastive:temperature=0.05",
    "every triplet": f"{_TRAINED}:loss=triplet-all:margin=0.3",
    "softmax of the same network": f"{_TRAINED}:loss=softmax:batches=shuffled",
}
"""Chosen by the 20-way 1-shot accuracy on six alphabets of the background that were held out."""
SIDE, HOG_SIDE, TRUNK_SIDE, EPISODES = 28, 56, 96, 1_000
HELD_OUT = 6
QUICK_CHARACTERS, QUICK_EPISODES, QUICK_STEPS = 60, 100, 30
TOGETHER = 64
KNOWN = (
    "20-way 1-shot between alphabets; prototypical networks 96.0 %; official runs, right: raw pixels 20.7 %, "
    "prototypical networks 86.3 %, Siamese 92 %, people 95.5 %"
)
WAYS, QUERIES = 20, 5
LAST = -1
Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def drawing_trials(
    archive: Path, device: torch.device, *, quick: bool, choosing: bool = False
) -> Iterator[Trial]:
    """Yield the baselines and the recipes; the seed draws the episodes and the weights.

    Args:
        archive: omniglot.tar.xz.
        device: where it trains.
        quick: a few characters, episodes and steps.
        choosing: six alphabets of the background are held out and asked; the evaluation is not looked at.
    """
    omniglot = read_omniglot(archive, SIDE, QUICK_CHARACTERS if quick else None)
    if choosing:
        omniglot = held_out(omniglot)
    count = QUICK_EPISODES if quick else EPISODES
    for what, embed in baselines():
        yield Trial(what, [SIDE, HOG_SIDE, TRUNK_SIDE, count], partial(asked, embed, omniglot, count=count))
    images = training_images(omniglot.background)
    for what, text in RECIPES.items():
        recipe = parsed(f"{text}:steps={QUICK_STEPS}" if quick else text)

        def read(seed: int, recipe: Recipe = recipe) -> dict[str, Any]:
            ground = settle("omniglot", images, recipe, seed=seed, device=device)
            model, history = trained_model(ground, seed, device, SILENT)
            return {
                **asked(model.embed, omniglot, seed, count=count),
                "wall": sum(epoch.seconds for epoch in history),
                "core": sum(epoch.core_seconds for epoch in history),
                "train_loss": [epoch.train_loss for epoch in history],
                "settled": ground.recipe.plain(),
            }

        yield Trial(what, [SIDE, count, recipe.plain()], read)


def baselines() -> Iterator[tuple[str, Embed]]:
    """Yield what learns nothing from the drawings; what is missing is named and left out."""
    yield (
        "raw pixels",
        lambda pixels: np.float32(1 / 255) * pixels.reshape(len(pixels), -1).astype(np.float32),
    )
    if reason := missing("HOG, nearest"):
        print(reason)
    else:
        yield "HOG, nearest", lambda pixels: hog_features(_unnamed(pixels), 8, patterns=False, side=HOG_SIDE)
    if isinstance(path := weights(), str):
        print(path)
        return
    network = backbone_of(parsed(f"photos-pretrained:backbone_side={TRUNK_SIDE}:backbone_weights={path}"))

    def seen(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            parts = [
                network.features(part.float() / 255)
                for part in torch.split(torch.from_numpy(pixels), TOGETHER)
            ]
            return np.asarray(functional.normalize(torch.cat(parts)).numpy())

    yield "frozen trunk alone", seen


def training_images(background: LabeledImages) -> LabeledImages:
    """Return the background's drawings in four turns, each turn of a character a class of its own.

    The last drawing of each upright character is set apart to draw the curves by; nothing is chosen by it.
    """
    pixels = np.asarray(background.pixels)
    classes = len(background.class_names)
    turned = np.concatenate([np.rot90(pixels, turn, axes=(2, 3)) for turn in range(4)])
    labels = np.concatenate([background.labels + turn * classes for turn in range(4)])
    apart = np.array([np.flatnonzero(background.labels == one)[LAST] for one in range(classes)])
    return LabeledImages(
        pixels=np.ascontiguousarray(turned),
        labels=labels,
        class_names=tuple(f"{name} {90 * turn}" for turn in range(4) for name in background.class_names),
        names=tuple(f"{name} {90 * turn}" for turn in range(4) for name in background.names),
        split=Split(
            train=np.setdiff1d(np.arange(len(labels)), apart),
            validation=apart,
            test=apart,
            how="the last drawing of each upright character draws the curves; other classes count",
        ),
    )


def held_out(omniglot: Omniglot) -> Omniglot:
    """Return six alphabets of the background in the place of the evaluation's: to choose a recipe by."""
    background = omniglot.background
    assert background.groups is not None
    held = np.random.default_rng(0).permutation(len(background.group_names))[:HELD_OUT]
    inside = np.isin(background.groups, held)
    rest, asked_of = (_packed(background.take(np.flatnonzero(rows))) for rows in (~inside, inside))
    return Omniglot(background=rest, evaluation=asked_of, runs=())


def episodes(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Draw episodes: (count, 20, 6) rows, of each of 20 classes one known drawing and five that are asked.

    >>> drawn = episodes(np.repeat(np.arange(30), 7), 2, seed=0)
    >>> drawn.shape, len(np.unique(drawn[0]))
    ((2, 20, 6), 120)
    """
    generator = np.random.default_rng(seed)
    rows = [np.flatnonzero(labels == one) for one in np.unique(labels)]
    return np.stack(
        [
            np.stack(
                [
                    generator.permutation(rows[one])[: 1 + QUERIES]
                    for one in generator.choice(len(rows), WAYS, replace=False)
                ]
            )
            for _ in range(count)
        ]
    )


def one_of_each(vectors: NDArray[np.float32], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each episode's share of asked drawings whose nearest known one is of their class."""
    true = np.repeat(np.arange(drawn.shape[1]), drawn.shape[2] - 1)
    shares = []
    for rows in drawn:
        found = _nearest(vectors[rows[:, 1:].reshape(-1)], vectors[rows[:, 0]])
        shares.append(float(np.mean(found == true)))
    return np.array(shares)


def asked(embed: Embed, omniglot: Omniglot, seed: int, *, count: int) -> dict[str, Any]:
    """Return what an embedding reads on both questions: shares of right answers, 0 to 1.

    Args:
        embed: uint8 (n, 1, h, w) to vectors.
        omniglot: the drawings.
        seed: of the episodes.
        count: how many episodes are drawn.
    """
    evaluation = omniglot.evaluation
    drawn = episodes(evaluation.labels, count, seed)
    rows, where = np.unique(drawn, return_inverse=True)  # what is never asked need not be embedded
    vectors = embed(np.asarray(evaluation.pixels)[rows])
    shares = one_of_each(vectors, where.reshape(drawn.shape))
    within = [
        float(np.mean(_nearest(embed(run.queries), embed(run.known)) == run.true)) for run in omniglot.runs
    ]
    return {
        "accuracy": float(shares.mean()),
        "reach": 1.96 * float(shares.std(ddof=1)) / len(shares) ** 0.5,
        "episodes": len(shares),
        "within": float(np.mean(within)) if within else None,
        "runs": within,
    }


def _nearest(queries: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.int64]:
    distances = torch.cdist(torch.from_numpy(queries), torch.from_numpy(known))
    return distances.argmin(dim=1).numpy()


def _unnamed(pixels: NDArray[np.uint8]) -> LabeledImages:
    names = tuple(map(str, range(len(pixels))))
    return LabeledImages(
        pixels=pixels, labels=np.zeros(len(pixels), np.int64), class_names=("any",), names=names
    )


def _packed(images: LabeledImages) -> LabeledImages:
    """Return images whose class names are those that occur."""
    classes, labels = np.unique(images.labels, return_inverse=True)
    return dataclasses.replace(
        images, labels=labels.astype(np.int64), class_names=tuple(images.class_names[one] for one in classes)
    )
