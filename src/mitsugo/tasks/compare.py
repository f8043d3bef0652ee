"""Compare recipes under several seeds: one table, and for each pair what can be told."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch

from ..data.sources import check_trainable, load
from ..data.splits import article_split
from ..errors import UsageError
from ..model.preprocessing import Preprocessing
from ..recipes import Recipe, changed, parsed
from ..shapes import Bool
from ..space.comparison import compare_pair, holm, verdict
from ..space.metrics import Evaluation, evaluate
from ..values import Epoch, LabeledImages, Score, Split
from .experiment import assemble, chosen_device, normalisation_of
from .models import embeddings_of, finished_model, train_through
from .talk import SILENT, Talk

__all__ = ["compare"]

HOW = (
    "Intervals are 95 %. Scores are means over the seeds; their interval is the mean of the seeds' own. "
    "A difference is of accuracies averaged over seeds, image by image: its interval is the wider of a "
    "bootstrap over the test images and a t interval over the seeds, p is Holm's over the pairs, and 0.05 "
    "decides. Nothing was chosen by the test images."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Trial:
    """One recipe under one seed."""

    evaluation: Evaluation
    right: Bool[np.ndarray, " q"]
    epochs: tuple[Epoch, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ground:
    """What every trial shares."""

    images: LabeledImages
    split: Split
    gallery: LabeledImages
    test: LabeledImages
    preprocessing: Preprocessing
    device: torch.device


def compare(
    source: str,
    recipes: Sequence[str],
    *,
    seeds: int = 3,
    epochs: int | None = None,
    device: str | None = None,
    talk: Talk = SILENT,
) -> dict[str, Any]:
    """Train every recipe with every seed and compare the accuracies pair by pair.

    Args:
        source: what can be named as SOURCE.
        recipes: names like `article` or `article:epochs=0`; the same one again gets other seeds.
        seeds: how many each is trained with.
        epochs: one total for every recipe that trains.
        device: where; CUDA where it is present.
        talk: who listens.

    Raises:
        UsageError: fewer than two recipes, or an unknown one.
        DataError: a source that cannot be used.
    """
    if len(recipes) < 2:
        raise UsageError(f"--recipes {','.join(recipes)}: names {len(recipes)}, expected two or more")
    if seeds < 1:
        raise UsageError(f"--seeds {seeds}: expected 1 or more")
    recipes = [text.strip() for text in recipes]
    chosen = [_with_epochs(parsed(text), text, epochs) for text in recipes]
    images = load(source)
    split = article_split(images, 0)
    check_trainable(images, split)
    ground = _Ground(
        images=images,
        split=split,
        gallery=images.take(split.train),
        test=images.take(split.test),
        preprocessing=normalisation_of(source, images, split),
        device=chosen_device(device),
    )
    names, trials = [], []
    for number, (text, recipe) in enumerate(zip(recipes, chosen, strict=True)):
        before = chosen[:number].count(recipe)
        names.append(
            text if before == 0 else f"{text} (other seeds)" if before == 1 else f"{text} ({before + 1})"
        )
        trials.append([_tried(ground, recipe, before * seeds + s, names[-1], talk) for s in range(seeds)])
    return {
        "source": source,
        "seeds": seeds,
        "test_images": len(split.test),
        "recipes": [
            _row(name, recipe, some) for name, recipe, some in zip(names, chosen, trials, strict=True)
        ],
        "pairs": _pairs(names, [np.stack([trial.right for trial in some]) for some in trials], chosen),
        "how": HOW,
    }


def _with_epochs(recipe: Recipe, text: str, epochs: int | None) -> Recipe:
    sets_its_own = "epochs=" in text or recipe.batches == "none"
    return recipe if sets_its_own else changed(recipe, epochs=epochs)


def _tried(ground: _Ground, recipe: Recipe, seed: int, name: str, talk: Talk) -> _Trial:
    talk.say(f"{name}, seed {seed}")
    experiment = assemble(
        ground.images,
        ground.split,
        recipe,
        seed=seed,
        preprocessing=ground.preprocessing,
        device=ground.device,
    )
    epochs = train_through(experiment, recipe.epochs, talk)
    model = finished_model(experiment, ground.gallery, recipe)
    evaluation = evaluate(model.gallery, embeddings_of(model, ground.test), seed=seed)
    return _Trial(evaluation=evaluation, right=evaluation.predicted == ground.test.labels, epochs=epochs)


def _row(name: str, recipe: Recipe, trials: Sequence[_Trial]) -> dict[str, Any]:
    numbers = [trial.evaluation.scores.numbers() for trial in trials]
    return {
        "name": name,
        "epochs": recipe.epochs,
        "images_seen": sum(epoch.images for epoch in trials[0].epochs),
        "seconds": fmean(sum(epoch.seconds for epoch in trial.epochs) for trial in trials),
        "core_seconds": fmean(sum(epoch.core_seconds for epoch in trial.epochs) for trial in trials),
        **{
            score: _over_seeds([one[score] for one in numbers])
            for score in numbers[0]
            if all(score in one for one in numbers)
        },
    }


def _over_seeds(scores: Sequence[Score]) -> dict[str, Any]:
    return {
        "value": fmean(score.value for score in scores),
        "low": fmean(score.low for score in scores),
        "high": fmean(score.high for score in scores),
        "n": scores[0].n,
        "by_seed": [score.value for score in scores],
    }


def _pairs(
    names: Sequence[str], right: Sequence[Bool[np.ndarray, "s q"]], recipes: Sequence[Recipe]
) -> list[dict[str, Any]]:
    couples = list(itertools.combinations(range(len(names)), 2))
    differences = [
        compare_pair(
            right[b], right[a], seed=0, deterministic=recipes[a].batches == recipes[b].batches == "none"
        )
        for a, b in couples
    ]
    adjusted = holm([difference.p for difference in differences])
    return [
        {
            "one": names[b],
            "other": names[a],
            **asdict(difference),
            "p_holm": p,
            "verdict": verdict(difference, p),
        }
        for (a, b), difference, p in zip(couples, differences, adjusted, strict=True)
    ]
