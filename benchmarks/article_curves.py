"""The article's curves: every epoch's losses of ours over those of the walk-through's own loop.

    python benchmarks/article_curves.py [--seeds 3] [--out benchmarks/results]

Trains 128-d and 2-d with several seeds, appends each finished run to a file, goes on where it was stopped,
and says whether every epoch lies inside the band around the reference and whether the accuracy at the end is
within 98.0 ± 0.3 % (128-d) and 95 ± 1 % (2-d).

The reference is one run: one seed, and one draw of the validation triplets. The band is three standard
deviations of the difference of two such runs. A training loss varies by some 4 % between seeds: 17 %. A
validation loss varies by some 8 % between seeds and 9 % between draws of its triplets (one model, 100 draws),
for few of the 10,000 have a hinge above 0: 50 %. Small losses get 0.004.
"""

import argparse
import json
import os
import platform
import statistics
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mitsugo.data.sources import load
from mitsugo.recipes import RECIPES
from mitsugo.settings import changed
from mitsugo.space.metrics import evaluate
from mitsugo.tasks.models import embeddings_of, trained_model
from mitsugo.tasks.settle import settle
from mitsugo.tasks.talk import SILENT

BANDS = {"train_loss": 0.17, "validation_loss": 0.50}
FLOOR = 0.004
ACCURACY = {128: (0.980, 0.003), 2: (0.95, 0.01)}
REFERENCE = Path(__file__).parent / "reference" / "article_curves.json"


def trained(dimension: int, seed: int) -> dict[str, Any]:
    """Train the article's experiment on MNIST once; return its curves and its accuracy."""
    images = load("mnist")
    recipe = changed(RECIPES["article"], dimension=dimension)
    ground = settle("mnist", images, recipe, seed=seed, device=torch.device("cpu"))
    model, history = trained_model(ground, seed, torch.device("cpu"), SILENT)
    scores = evaluate(model.gallery, embeddings_of(model, ground.test), seed=seed).scores
    return {
        "dimension": dimension,
        "seed": seed,
        "train_loss": [epoch.train_loss for epoch in history],
        "validation_loss": [epoch.validation_loss for epoch in history],
        "knn_accuracy": scores.knn_accuracy.value,
        "seconds": sum(epoch.seconds for epoch in history),
        "core_seconds": sum(epoch.core_seconds for epoch in history),
    }


def outside(run: dict[str, Any], reference: list[dict[str, float]]) -> list[str]:
    """Return what lies outside the band, in words."""
    found = []
    for curve, share in BANDS.items():
        for epoch, (ours, line) in enumerate(zip(run[curve], reference, strict=True), 1):
            if abs(ours - line[curve]) > max(share * line[curve], FLOOR):
                found.append(f"{curve} of epoch {epoch}: {ours:.4f}, reference {line[curve]:.4f}")
    middle, width = ACCURACY[run["dimension"]]
    if abs(run["knn_accuracy"] - middle) > width:
        found.append(f"5-NN accuracy {run['knn_accuracy']:.4f}, expected {middle} ± {width}")
    return found


def draw(runs: list[dict[str, Any]], reference: dict[str, Any], out: Path) -> None:
    """Draw every run over the reference and its band."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, dimension in zip(figure.subplots(1, 2), (128, 2), strict=True):
        lines = reference["runs"][str(dimension)]
        epochs = [line["epoch"] for line in lines]
        for curve, color in (("train_loss", "#0072B2"), ("validation_loss", "#D55E00")):
            middle = [line[curve] for line in lines]
            width = [max(BANDS[curve] * value, FLOOR) for value in middle]
            low, high = ([m + sign * w for m, w in zip(middle, width, strict=True)] for sign in (-1, 1))
            name = curve.replace("_", " ")
            axes.fill_between(epochs, low, high, color=color, alpha=0.15, label=f"{name}: band")
            axes.plot(epochs, middle, color=color, linewidth=2, label=f"{name}: the walk-through's loop")
            for number, run in enumerate(r for r in runs if r["dimension"] == dimension):
                label = f"{name}: mitsugo, each seed" if number == 0 else None
                axes.plot(epochs, run[curve], color=color, marker=".", linestyle=":", label=label)
        axes.set(title=f"{dimension}-d", xlabel="epoch", ylabel="loss", xticks=epochs)
        axes.set_ylim(bottom=0)
    figure.axes[0].legend(fontsize=8)
    figure.savefig(out, dpi=110)


def main() -> None:
    """Train what is missing, draw it, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "article_curves.jsonl"
    runs = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    reference = json.loads(REFERENCE.read_text())
    for dimension in (128, 2):
        for seed in range(options.seeds):
            if any((run["dimension"], run["seed"]) == (dimension, seed) for run in runs):
                continue
            runs.append(trained(dimension, seed))
            with results.open("a") as file:
                file.write(json.dumps(runs[-1]) + "\n")
            print(
                f"{dimension}-d, seed {seed}: 5-NN {runs[-1]['knn_accuracy']:.4f}, validation loss "
                f"{runs[-1]['validation_loss'][-1]:.4f}, {runs[-1]['seconds']:.0f} s",
                flush=True,
            )
    draw(runs, reference, options.out / "article_curves.png")
    misses = [
        f"{run['dimension']}-d, seed {run['seed']}: {what}"
        for run in runs
        for what in outside(run, reference["runs"][str(run["dimension"])])
    ]
    for dimension in (128, 2):
        values = [run["knn_accuracy"] for run in runs if run["dimension"] == dimension]
        print(f"{dimension}-d: 5-NN {statistics.fmean(values):.4f}, mean of {len(values)} seeds, {values}")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    print("\n".join(misses) or f"every epoch of {len(runs)} runs lies inside the band ({machine})")
    raise SystemExit(1 if misses else 0)


if __name__ == "__main__":
    main()
