"""How many planted label errors stand first? 5 % of MNIST's training labels are flipped, then all are ranked.

    python benchmarks/suspects.py [--seeds 3] [--device cpu] [--threads 2] [--quick]

Every image is judged out of fold, as `mitsugo suspects` does it: three models, each trained without a third
of the images (with the flipped labels, of course), and each judges the third that it never saw. Told is which
share of the flipped labels stands in the first 5 % and in the first 6 % of the ranking, and the average
precision. The baselines use the same folds: raw pixels instead of a model, and the plain share of ten
neighbours that disagree instead of the ratio of distances.
The seed draws images, flips, folds and weights. A finished seed of a recipe is a line of
benchmarks/results/suspects.jsonl: a script that was stopped goes on, and --fresh begins anew. --quick takes
6,000 images, 4 epochs and one seed; its lines are its own. The interval of the mean is Student's t over the
seeds.
"""

import argparse
import dataclasses
import json
import statistics
import time
from typing import Any

import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray

from mitsugo.data.sources import load
from mitsugo.recipes import Recipe
from mitsugo.settings import changed, named
from mitsugo.space.neighbors import nearest
from mitsugo.space.suspects import doubts, folds_of, ranked
from mitsugo.tasks.experiment import chosen_device
from mitsugo.tasks.models import trained_model
from mitsugo.tasks.settle import settle
from mitsugo.tasks.talk import SILENT
from mitsugo.values import LabeledImages, Split
from results import Results, machine

RECIPES = ("raw-pixels", "article", "standard")
FLIPPED, FOLDS, VOTERS = 0.05, 3, 10
FIRST = (0.05, 0.06)
QUICK_IMAGES, QUICK_EPOCHS = 6_000, 4
WAYS = ("ratio of distances", "10-NN disagreement")


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results, mnist = Results("suspects", fresh=options.fresh), load("mnist")
    seeds = 1 if options.quick else options.seeds
    for seed in range(seeds):
        for name in RECIPES:
            key = key_of(name, seed, quick=options.quick)
            if results.find(key) is None:
                results.add(key, measured(mnist, name, seed, options))
                print(f"{name}, seed {seed}: done", flush=True)
    rows = [row for name in RECIPES for row in summaries(results, name, seeds=seeds, quick=options.quick)]
    print()
    for row in rows:
        print(
            f"{row['recipe']:12} {row['way']:20} first 5 %: {row['first'][0]:5.1f} %   first 6 %: "
            f"{row['first'][1]:5.1f} % ({row['low']:.1f} to {row['high']:.1f}, {row['seeds']} seeds)   "
            f"average precision {row['precision']:.3f}   {row['wall']:.0f} s"
        )
    print(json.dumps({**machine(options.threads), "quick": options.quick, "rows": rows}))


def key_of(name: str, seed: int, *, quick: bool) -> dict[str, Any]:
    """Return what a run is known by: with another recipe it is another run."""
    return {"recipe": name, "settled": recipe_of(name, quick=quick).plain(), "seed": seed, "quick": quick}


def recipe_of(name: str, *, quick: bool) -> Recipe:
    """Return the recipe, with few epochs where it trains and only a look is wanted."""
    recipe = named(name)
    return changed(recipe, epochs=QUICK_EPOCHS) if quick and recipe.batches != "none" else recipe


def measured(mnist: LabeledImages, name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Flip labels, rank all images by both ways, and count how many of the flipped stand first."""
    began = time.perf_counter()
    assert mnist.split is not None
    chance = np.random.default_rng(seed)
    rows = chance.permutation(mnist.split.train)[: QUICK_IMAGES if options.quick else None]
    images, flipped = with_flips(mnist.take(rows), chance)
    scores = judged(
        images, recipe_of(name, quick=options.quick), seed=seed, device=chosen_device(options.device)
    )
    return {
        "images": len(images),
        "flipped": int(flipped.sum()),
        "found": {way: found(score, flipped) for way, score in zip(WAYS, scores, strict=True)},
        "wall": time.perf_counter() - began,
        **machine(options.threads),
    }


def with_flips(images: LabeledImages, chance: np.random.Generator) -> tuple[LabeledImages, NDArray[np.bool_]]:
    """Give 5 % of the images another class, uniform among the others; return which."""
    n, classes = len(images), len(images.class_names)
    flipped = np.zeros(n, np.bool_)
    flipped[chance.choice(n, round(FLIPPED * n), replace=False)] = True
    labels = images.labels.copy()
    labels[flipped] = (labels[flipped] + chance.integers(1, classes, int(flipped.sum()))) % classes
    return dataclasses.replace(images, labels=labels), flipped


def judged(
    images: LabeledImages, recipe: Recipe, *, seed: int, device: torch.device
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each image's score out of fold: the ratio of distances, and the neighbours' disagreement."""
    fold, labels = folds_of(images.labels, FOLDS, seed), images.labels
    ratio, disagreement = np.empty(len(images)), np.empty(len(images))
    for number in range(FOLDS):
        mine, others = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        split = Split(train=others, validation=np.empty(0, np.int64), test=mine, how=f"fold {number}")
        whole = dataclasses.replace(images, split=split)
        ground = settle("mnist", whole, recipe, seed=seed, device=device)
        model, _ = trained_model(ground, seed, device, SILENT)
        vectors, gallery = model.embed(images.pixels[mine]), model.gallery
        ratio[mine] = doubts(vectors, labels[mine], gallery.vectors, gallery.labels).score
        near = nearest(torch.tensor(vectors), torch.tensor(gallery.vectors), VOTERS).indices
        disagreement[mine] = (gallery.labels[near] != labels[mine, None]).mean(axis=1)
    return ratio, disagreement


def found(score: NDArray[np.float64], flipped: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the share of the flipped in the first 5 % and 6 % of the ranking, and the average precision."""
    hits = flipped[ranked(score)]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return {
        "first": [float(hits[: round(share * len(hits))].sum() / hits.sum()) for share in FIRST],
        "precision": float(precision[hits].mean()),
    }


def summaries(results: Results, name: str, *, seeds: int, quick: bool) -> list[dict[str, Any]]:
    """Return for each way the mean over the seeds, in percent, with its interval."""
    lines = [line for seed in range(seeds) if (line := results.find(key_of(name, seed, quick=quick)))]
    rows = []
    for way in WAYS if lines else ():
        by_seed = [[100 * share for share in line["found"][way]["first"]] for line in lines]
        mean, reach = [statistics.fmean(shares) for shares in zip(*by_seed, strict=True)], 0.0
        if len(lines) > 1:
            error = statistics.stdev(shares[1] for shares in by_seed) / len(lines) ** 0.5
            reach = float(scipy.stats.t.ppf(0.975, len(lines) - 1)) * error
        rows.append(
            {
                "recipe": name,
                "way": way,
                "first": mean,
                "low": mean[1] - reach,
                "high": min(100.0, mean[1] + reach),
                "by_seed": by_seed,
                "precision": statistics.fmean(line["found"][way]["precision"] for line in lines),
                "seeds": len(lines),
                "wall": statistics.median(line["wall"] for line in lines),
            }
        )
    return rows


if __name__ == "__main__":
    main()
