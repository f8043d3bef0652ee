"""How accurate is it on real photos? Five splits of each set, each recipe and each baseline.

    python benchmarks/photos.py [--seeds 5] [--sets bsd_patches,elpv,...] [--only "photos;…"] [--quick]

The seed draws the split and the weights; a set with groups is split by group. Every choice (the epoch that is
kept, how many neighbours vote, the baselines' constants) is made on a validation part; the test images are
read once a run. Omniglot has its own question: see one_shot.py; omniglot-choosing asks it of background
alphabets that are held out, to choose a recipe by. A finished run is a line of
benchmarks/results/photos.jsonl: a script that was stopped goes on, and --fresh begins anew. --quick takes a
few small images of each set, a short training and one seed, to see that everything runs; its lines are its
own. The interval of a mean is Student's t over the seeds, which share training images: take it as a hint.
"""

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray
from torch import nn

from mitsugo.errors import UsageError
from mitsugo.recipes import Recipe
from mitsugo.settings import changed, parsed
from mitsugo.space.metrics import vote
from mitsugo.tasks.experiment import assemble, chosen_device
from mitsugo.tasks.judging import Kept, chosen_k
from mitsugo.tasks.models import trained_model
from mitsugo.tasks.settle import Ground, settle
from mitsugo.tasks.talk import SILENT
from mitsugo.training import run
from mitsugo.values import Epoch, LabeledImages, Split
from one_shot import KNOWN, drawing_trials
from photo_baselines import (
    BASELINES,
    CONSTANTS,
    Reading,
    Trial,
    frozen,
    missing,
    neighbors,
    read_off,
    weights,
)
from photo_sets import KNOWN_OF, SETS, PhotoSet, few_of, folder, in_size, split_of
from results import Results, machine


class Contestant(NamedTuple):
    """A recipe's text, and height and width of the images that it gets; a second side for --quick."""

    recipe: str
    side: int
    quick_side: int


SOFTMAX = "loss=softmax:batches=shuffled"
CONTESTANTS = {
    "standard": Contestant("standard", 64, 32),
    "standard, softmax": Contestant("standard-softmax", 64, 32),
    "photos": Contestant("photos", 128, 64),
    "photos, softmax": Contestant(f"photos:{SOFTMAX}", 128, 64),
    "photos-pretrained": Contestant("photos-pretrained", 224, 96),
    "photos-pretrained, softmax": Contestant(f"photos-pretrained:{SOFTMAX}", 224, 96),
}
DRAWINGS, CHOOSING = "omniglot", "omniglot-choosing"
ARCHIVE = folder() / "omniglot" / "omniglot.tar.xz"
HEADINGS = {**KNOWN_OF, DRAWINGS: KNOWN, CHOOSING: "six alphabets of the background, held out"}
OTHERS = {"balanced": "balanced", "precision_at_1": "precision@1", "within": "official runs"}
QUICK_IMAGES, QUICK_SIDE, QUICK_STEPS = 240, 96, 30

Features = NDArray[np.float32]


def main() -> None:
    """Run what is missing, then print the table."""
    options = asked_for()
    torch.set_num_threads(options.threads)
    results = Results("photos", fresh=options.fresh)
    seeds = 1 if options.quick else options.seeds
    rows = []
    for name in options.sets:
        photos = drawings(name, options) if name in {DRAWINGS, CHOOSING} else SETS[name]()
        if isinstance(photos, str):
            print(photos)
            continue
        trials = photo_trials(photos, options) if isinstance(photos, PhotoSet) else photos
        for trial in trials:
            if options.only and trial.what not in options.only:
                continue
            keys = [key_of(name, trial, seed, quick=options.quick) for seed in range(seeds)]
            for seed, key in enumerate(keys):
                if results.find(key) is None:
                    began = time.perf_counter()
                    found = trial.read(seed)
                    whole = time.perf_counter() - began
                    results.add(key, {**found, "whole": whole, **machine(options.threads)})
                    told = f"{name}, {trial.what}, seed {seed}: {100 * found['accuracy']:.2f} %"
                    print(f"{told}, {whole:.1f} s", flush=True)
            rows.append(summary(name, trial.what, [line for key in keys if (line := results.find(key))]))
    print_table(rows)
    print(json.dumps({**machine(options.threads), "quick": options.quick, "rows": rows}))


def asked_for() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = (*SETS, DRAWINGS, CHOOSING)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", default=",".join(names[:-1]), help=f"some of {', '.join(names)}")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--only", default="", help="what is tried, as named in the table, with semicolons")
    options = parser.parse_args()
    options.sets = options.sets.split(",")
    options.only = [name.strip() for name in options.only.split(";") if name.strip()]
    for name in options.sets:
        if name not in names:
            parser.error(f"--sets {name}: expected some of {', '.join(names)}")
    return options


def key_of(name: str, trial: Trial, seed: int, *, quick: bool) -> dict[str, Any]:
    """Return what a run is known by: with another recipe it is another run."""
    return {"set": name, "what": trial.what, "settled": trial.known_by, "seed": seed, "quick": quick}


def drawings(name: str, options: argparse.Namespace) -> Iterator[Trial] | str:
    """Return what is tried on Omniglot, or why nothing is."""
    if not ARCHIVE.is_file():
        return f"{name}: no {ARCHIVE}"
    device = chosen_device(options.device)
    return drawing_trials(ARCHIVE, device, quick=options.quick, choosing=name == CHOOSING)


def photo_trials(photos: PhotoSet, options: argparse.Namespace) -> Iterator[Trial]:
    """Yield the baselines and the recipes of a set of photos; what is missing is named and left out."""
    if options.quick:
        photos = few_of(photos, QUICK_IMAGES)
        photos = dataclasses.replace(photos, images=in_size(photos.images, QUICK_SIDE))
    for what, baseline in BASELINES.items():
        if reason := missing(what):
            print(reason)
        else:
            yield Trial(what, CONSTANTS, partial(answered, photos, baseline))
    for what, contestant in CONTESTANTS.items():
        recipe = recipe_of(contestant.recipe, photos.extra, quick=options.quick)
        if recipe is not None:
            side = contestant.quick_side if options.quick else contestant.side
            yield Trial(
                what,
                [side, recipe.plain() | {"backbone_weights": None}],
                partial(measured, photos, in_size(photos.images, side), recipe, options.device),
            )


def answered(
    photos: PhotoSet, baseline: Callable[[LabeledImages, Split], Reading], seed: int
) -> dict[str, Any]:
    """Return what a baseline reads on the split of a seed."""
    split = split_of(photos, seed)
    reading = baseline(photos.images, split)
    labels, classes = photos.images.labels[split.test], len(photos.images.class_names)
    scores = read_off(reading.predicted, reading.nearest, labels, classes)
    return {**scores, "chosen": reading.chosen, "split": split.how}


def recipe_of(text: str, extra: str, *, quick: bool) -> Recipe | None:
    """Return the recipe of a text on a set, short where it is to be quick; None, and why, where it cannot."""
    extras = extra and f":{extra}"
    try:
        recipe = parsed(text + extras)
        if recipe.network == "backbone":
            path = weights()
            if isinstance(path, str):
                print(f"{text}: {path}")
                return None
            recipe = changed(recipe, backbone_weights=str(path))
    except UsageError as error:
        print(f"{text}: {error}")
        return None
    if not quick:
        return recipe
    recipe = changed(recipe, steps=QUICK_STEPS, epochs=1)
    return changed(recipe, views=1, backbone_side=QUICK_SIDE) if recipe.frozen else recipe


def measured(
    photos: PhotoSet, images: LabeledImages, recipe: Recipe, device: str, seed: int
) -> dict[str, Any]:
    """Train a recipe on the split of a seed, and read its test images once."""
    split, where = split_of(photos, seed), chosen_device(device)
    ground = settle(photos.name, dataclasses.replace(images, split=split), recipe, seed=seed, device=where)
    vectors, k, history = (on_features if recipe.frozen else on_pixels)(ground, seed, where)
    gallery = np.union1d(ground.split.train, ground.split.validation)
    voters = images.labels[neighbors(vectors, split.test, gallery, k)]
    predicted = vote(voters, len(images.class_names))[0]
    return {
        **read_off(predicted, voters[:, 0], images.labels[split.test], len(images.class_names)),
        "chosen": f"k = {k}",
        "split": split.how,
        "validation": [epoch.metrics.get("validation_accuracy") for epoch in history],
        "train_loss": [epoch.train_loss for epoch in history],
        "wall": sum(epoch.seconds for epoch in history),
        "core": sum(epoch.core_seconds for epoch in history),
        "settled": ground.recipe.plain(),
    }


def on_pixels(ground: Ground, seed: int, device: torch.device) -> tuple[Features, int, tuple[Epoch, ...]]:
    """Train on pixels; return the embedding of every image, the k that was chosen, and the epochs."""
    model, history = trained_model(ground, seed, device, SILENT)
    return model.embed(ground.images.pixels), model.k, history


def on_features(ground: Ground, seed: int, device: torch.device) -> tuple[Features, int, tuple[Epoch, ...]]:
    """Train a head as the product does, on features that are made once for all splits of a set."""
    features = frozen(ground.images, ground.recipe)
    experiment = assemble(
        ground.images,
        ground.split,
        ground.recipe,
        seed=seed,
        preprocessing=ground.preprocessing,
        device=device,
        features=features,
    )
    assert experiment.training is not None
    assert experiment.judge is not None
    history, kept = [], Kept(best=ground.recipe.keep == "best")
    for event in run(experiment.training, ground.recipe.epochs):
        if isinstance(event, Epoch):
            history.append(event)
            kept.see(event, experiment.network)
    kept.put_back(experiment.network)
    k = chosen_k(experiment.judge)
    network = experiment.training.network
    network = getattr(network, "embedding_net", network) if ground.recipe.loss == "softmax" else network
    return embedded(network, np.asarray(features[:, :1]), device), k, tuple(history)


def embedded(network: nn.Module, features: NDArray[np.uint8], device: torch.device) -> Features:
    """Return what a head makes of the features of the images themselves."""
    rows = torch.from_numpy(features[:, 0, 0].copy().view(np.float32)).to(device)
    with torch.inference_mode():
        return np.asarray(network.eval()(rows).cpu().numpy())


def summary(name: str, what: str, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the means over the seeds, in percent, the accuracy's with its interval."""
    values = [100 * line["accuracy"] for line in lines]
    reach = None
    if len(values) > 1:
        error = statistics.stdev(values) / len(values) ** 0.5
        reach = float(scipy.stats.t.ppf(0.975, len(values) - 1)) * error
    row = {"set": name, "what": what, "seeds": len(values), "mean": statistics.fmean(values), "reach": reach}
    for score in ("balanced", "precision_at_1", "within"):
        found = [line[score] for line in lines if line.get(score) is not None]
        row[score] = 100 * statistics.fmean(found) if found else None
    row |= {part: statistics.median(line.get(part, 0.0) for line in lines) for part in ("wall", "core")}
    return row | {"by_seed": values}


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print a table a set, under what others read on it."""
    for number, row in enumerate(rows):
        if number == 0 or row["set"] != rows[number - 1]["set"]:
            print(f"\n{row['set']}: {HEADINGS[row['set']]}")
        interval = "" if row["reach"] is None else f" ± {row['reach']:.2f}"
        others = [f"{told} {row[score]:.2f} %" for score, told in OTHERS.items() if row[score] is not None]
        cost = (
            f"{row['wall']:.1f} s wall, {row['core']:.1f} core-s of training"
            if row["wall"]
            else "no training"
        )
        told = ", ".join((*others, cost))
        print(f"  {row['what']:28} {row['mean']:6.2f} %{interval} ({row['seeds']} seeds), {told}")


if __name__ == "__main__":
    main()
