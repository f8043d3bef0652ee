"""One epoch of the article's experiment: a plain loop and mitsugo's, in turn, several times, in one process.

    python benchmarks/article_epoch.py [--rounds 5] [--threads 2] [--precision bfloat16]

Prints core-seconds and wall seconds of both, their medians, and the ratio of each round.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader

from mitsugo.data.sources import load
from mitsugo.data.splits import article_split
from mitsugo.model.preprocessing import Preprocessing
from mitsugo.recipes import RECIPES
from mitsugo.settings import changed
from mitsugo.tasks.experiment import assemble, normalisation_of
from mitsugo.training import run
from mitsugo.values import Epoch, LabeledImages, Split
from plain_loop import PlainNet, PlainTriplets, plain_epoch


class Cost(NamedTuple):
    """Wall seconds and core-seconds."""

    wall: float
    core: float


def timed(work: Callable[[], object]) -> Cost:
    """Return what one call costs."""
    wall, core = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - core)


def main() -> None:
    """Measure both sides in turn and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    rounds = options.rounds
    torch.set_num_threads(options.threads)
    images = load("mnist")
    recipe = RECIPES["article"]
    split = article_split(images, 0)
    preprocessing = normalisation_of("mnist", images, split)
    precisions = dict.fromkeys(("float32", options.precision))
    loops = {precision: epochs_of(images, split, preprocessing, precision) for precision in precisions}
    triplets = PlainTriplets(
        images.pixels[split.train], images.labels[split.train], preprocessing.mean, preprocessing.std
    )
    loader = DataLoader(triplets, batch_size=recipe.batch_size, shuffle=True)
    network = PlainNet(recipe.dimension or 128)

    plain: list[Cost] = []
    ours: dict[str, list[Cost]] = {precision: [] for precision in loops}
    for loop in loops.values():
        next(loop)  # the first one allocates
    for number in range(1, rounds + 1):
        plain.append(timed(lambda: plain_epoch(loader, network, recipe.learning_rate)))
        print(f"round {number}: plain {plain[-1].wall:.2f} s wall, {plain[-1].core:.2f} core-s", flush=True)
        for precision, loop in loops.items():
            epoch = next(loop)
            cost = Cost(epoch.seconds, epoch.core_seconds)
            ours[precision].append(cost)
            print(
                f"  {precision}: {cost.wall:.2f} s wall, {cost.core:.2f} core-s; ratio "
                f"{plain[-1].wall / cost.wall:.1f} wall, {plain[-1].core / cost.core:.1f} core",
                flush=True,
            )
    result = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "plain": {"wall": median(c.wall for c in plain), "core": median(c.core for c in plain)},
        **{
            precision: {
                "wall": median(c.wall for c in costs),
                "core": median(c.core for c in costs),
                "ratio_wall": median(p.wall / c.wall for p, c in zip(plain, costs, strict=True)),
                "ratio_core": median(p.core / c.core for p, c in zip(plain, costs, strict=True)),
            }
            for precision, costs in ours.items()
        },
    }
    print(json.dumps(result))


def epochs_of(
    images: LabeledImages, split: Split, preprocessing: Preprocessing, precision: str
) -> Iterator[Epoch]:
    """Train the article's experiment in one precision; an epoch at a time, without end."""
    recipe = changed(RECIPES["article"], precision=precision)
    experiment = assemble(
        images, split, recipe, seed=0, preprocessing=preprocessing, device=torch.device("cpu")
    )
    assert experiment.training is not None
    return (event for event in run(experiment.training, 10_000) if isinstance(event, Epoch))


if __name__ == "__main__":
    main()
