"""Compare recipes under several seeds: one table, and for each pair what can be told."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch

from ..errors import UsageError
from ..recipes import Recipe
from ..settings import changed, parsed
from ..shapes import Bool
from ..space.comparison import compare_pair, holm, verdict
from ..space.metrics import Evaluation
from ..values import Epoch, Score
from .experiment import chosen_device
from .models import trained_model
from .parting import tell
from .scoring import scored
from .settle import Ground, settle
from .sourcing import AS_IT_IS, SourceOptions, loaded
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


def compare(
    source: str,
    recipes: Sequence[str],
    *,
    seeds: int = 3,
    epochs: int | None = None,
    device: str | None = None,
    sourcing: SourceOptions = AS_IT_IS,
    talk: Talk = SILENT,
) -> dict[str, Any]:
    """Train every recipe with every seed and compare the accuracies pair by pair.

    Args:
        source: what can be named as SOURCE.
        recipes: names like `article` or `article:epochs=0`; the same one again gets other seeds.
        seeds: how many each is trained with.
        epochs: one total for every recipe that trains.
        device: where; CUDA where it is present.
        sourcing: how the source is read and split.
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
    images = loaded(source, sourcing, talk)
    where = chosen_device(device)
    names: list[str] = []
    trials: list[list[_Trial]] = []
    for number, (text, recipe) in enumerate(zip(recipes, chosen, strict=True)):
        before = chosen[:number].count(recipe)
        names.append(
            text if before == 0 else f"{text} (other seeds)" if before == 1 else f"{text} ({before + 1})"
        )
        some: list[_Trial] = []
        for seed in range(before * seeds, (before + 1) * seeds):
            talk.say(f"{names[-1]}, seed {seed}")
            # the seed of the weights and the draws; the split is one for all
            ground = settle(source, images, recipe, seed=0, device=where, rules=sourcing.rules)
            if not trials and not some:
                tell(images, ground.found, sourcing.rules, talk)
            some.append(_tried(ground, seed, where, talk))
        trials.append(some)
    return {
        "source": source,
        "seeds": seeds,
        "test_images": len(trials[0][0].right),
        "recipes": [_row(name, some) for name, some in zip(names, trials, strict=True)],
        "pairs": _pairs(names, [np.stack([trial.right for trial in some]) for some in trials], chosen),
        "how": HOW,
    }


def _with_epochs(recipe: Recipe, text: str, epochs: int | None) -> Recipe:
    sets_its_own = "epochs=" in text or recipe.batches == "none"
    return recipe if sets_its_own else changed(recipe, epochs=epochs)


def _tried(ground: Ground, seed: int, device: torch.device, talk: Talk) -> _Trial:
    model, epochs = trained_model(ground, seed, device, talk)
    evaluation = scored(model, ground, seed=seed).evaluation
    right = evaluation.predicted == ground.images.labels[ground.split.test]
    return _Trial(evaluation=evaluation, right=right, epochs=epochs)


def _row(name: str, trials: Sequence[_Trial]) -> dict[str, Any]:
    numbers = [trial.evaluation.scores.numbers() for trial in trials]
    return {
        "name": name,
        "epochs": len(trials[0].epochs),
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
