"""How accurate is it? Five seeds of each recipe on MNIST and Fashion-MNIST: mean and 95 % interval.

    python benchmarks/accuracy.py [--seeds 5] [--fashion FOLDER] [--device cpu] [--quick]

Every choice (the epoch that is kept) is made on a validation part of the training images; the test images
are read once a run. A finished run is a line of benchmarks/results/accuracy.jsonl: a script that was stopped
goes on, and --fresh begins anew. --quick trains one epoch under one seed, to see that everything runs; its
lines are its own.
The interval of the mean is Student's t over the seeds; raw pixels draw nothing and have none.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import scipy.stats
import torch

from mitsugo.data.sources import load
from mitsugo.settings import changed, parsed
from mitsugo.space.metrics import evaluate
from mitsugo.tasks.experiment import chosen_device
from mitsugo.tasks.models import embeddings_of, trained_model
from mitsugo.tasks.settle import settle
from mitsugo.tasks.talk import SILENT
from results import Results, machine

RECIPES = {
    "raw pixels": "raw-pixels",
    "article": "article",
    "article, bfloat16": "article:precision=bfloat16",
    "article's network, every triplet": (
        "article:loss=triplet-all:batch_size=200:images_per_class=8:epochs=12:learning_rate=1e-3"
        ":schedule=one-cycle:precision=auto:validation_share=0.1:keep=best"
    ),
    "standard": "standard",
    "standard-softmax": "standard-softmax",
}
FASHION = Path(__file__).parents[2] / "shared" / "data" / "fashion_mnist"


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fashion", type=Path, default=FASHION, help="a folder of Fashion-MNIST's IDX files")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = Results("accuracy", fresh=options.fresh)
    sources = {"mnist": "mnist"}
    if options.fashion.is_dir():
        sources["fashion-mnist"] = str(options.fashion)
    else:
        print(f"no Fashion-MNIST in {options.fashion}: name its folder by --fashion")
    seeds = 1 if options.quick else options.seeds
    for seed in range(seeds):
        for source, folder in sources.items():
            for name, text in RECIPES.items():
                key = key_of(source, name, seed, quick=options.quick)
                if name == "raw pixels" and seed:
                    continue
                if results.find(key) is None:
                    found = measured(folder, text, seed, options)
                    results.add(key, found)
                    print(
                        f"{source}, {name}, seed {seed}: {100 * found['accuracy']:.2f} %, "
                        f"{found['wall']:.1f} s wall, {found['core']:.1f} core-s of training",
                        flush=True,
                    )
    rows = [
        row
        for source in sources
        for name in RECIPES
        if (row := summary(results, source, name, quick=options.quick, seeds=seeds))
    ]
    print()
    for row in rows:
        print(
            f"{row['source']:14} {row['recipe']:34} {row['mean']:6.2f} % "
            f"({row['low']:.2f} to {row['high']:.2f}, {row['seeds']} seeds), "
            f"{row['wall']:6.1f} s wall, {row['core']:6.1f} core-s"
        )
    print(json.dumps({**machine(options.threads), "quick": options.quick, "rows": rows}))


def key_of(source: str, name: str, seed: int, *, quick: bool) -> dict[str, Any]:
    """Return what a run is known by: with another recipe it is another run."""
    return {
        "source": source,
        "recipe": name,
        "settled": parsed(RECIPES[name]).plain(),
        "seed": seed,
        "quick": quick,
    }


def measured(source: str, text: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one recipe under one seed and read the test images once."""
    began = time.perf_counter()
    recipe = parsed(text)
    if options.quick and recipe.batches != "none":
        recipe = changed(recipe, epochs=1)
    device = chosen_device(options.device)
    ground = settle(source, load(source), recipe, seed=seed, device=device)
    model, history = trained_model(ground, seed, device, SILENT)
    scores = evaluate(model.gallery, embeddings_of(model, ground.test), seed=seed).scores
    return {
        "accuracy": scores.knn_accuracy.value,
        "precision_at_1": scores.precision_at_1.value,
        "n": scores.knn_accuracy.n,
        "validation": [epoch.metrics.get("validation_accuracy") for epoch in history],
        "wall": sum(epoch.seconds for epoch in history),
        "core": sum(epoch.core_seconds for epoch in history),
        "whole": time.perf_counter() - began,
        "settled": ground.recipe.plain(),
        **machine(options.threads),
    }


def summary(results: Results, source: str, name: str, *, quick: bool, seeds: int) -> dict[str, Any] | None:
    """Return the mean over the seeds with its interval, in percent."""
    found = [line for seed in range(seeds) if (line := results.find(key_of(source, name, seed, quick=quick)))]
    if not found:
        return None
    values = [100 * line["accuracy"] for line in found]
    mean, reach = statistics.fmean(values), 0.0
    if len(values) > 1:
        error = statistics.stdev(values) / len(values) ** 0.5
        reach = float(scipy.stats.t.ppf(0.975, len(values) - 1)) * error
    return {
        "source": source,
        "recipe": name,
        "mean": mean,
        "low": mean - reach,
        "high": mean + reach,
        "by_seed": values,
        "seeds": len(values),
        "wall": statistics.median(line["wall"] for line in found),
        "core": statistics.median(line["core"] for line in found),
    }


if __name__ == "__main__":
    main()
