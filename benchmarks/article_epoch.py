"""One epoch of the article's experiment: a plain loop and mitsugo's, in turn, several times, in one process.

    python benchmarks/article_epoch.py [--rounds 5] [--threads 2]

Prints core-seconds and wall seconds of both, their medians, and the ratio of each round.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.data import DataLoader

from mitsugo.data.sources import load
from mitsugo.data.splits import article_split
from mitsugo.recipes import RECIPES
from mitsugo.tasks.experiment import assemble, normalisation_of
from mitsugo.training import run
from mitsugo.values import Epoch
from plain_loop import PlainNet, PlainTriplets, plain_epoch


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall seconds and core-seconds of one call."""
    wall, core = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - core


def main() -> None:
    """Measure both sides in turn and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    rounds = options.rounds
    torch.set_num_threads(options.threads)
    images = load("mnist")
    split = article_split(images, 0)
    recipe = RECIPES["article"]
    preprocessing = normalisation_of("mnist", images, split)
    experiment = assemble(
        images, split, recipe, seed=0, preprocessing=preprocessing, device=torch.device("cpu")
    )
    assert experiment.training is not None
    loop = run(experiment.training, 10_000)
    triplets = PlainTriplets(
        images.pixels[split.train], images.labels[split.train], preprocessing.mean, preprocessing.std
    )
    loader = DataLoader(triplets, batch_size=recipe.batch_size, shuffle=True)
    network = PlainNet(recipe.dimension or 128)

    plain, ours = [], []
    _next_epoch(loop)  # the first one allocates
    for number in range(1, rounds + 1):
        plain.append(timed(lambda: plain_epoch(loader, network, recipe.learning_rate)))
        epoch = _next_epoch(loop)
        ours.append((epoch.seconds, epoch.core_seconds))
        print(
            f"round {number}: plain {plain[-1][0]:.2f} s wall, {plain[-1][1]:.2f} core-s; "
            f"mitsugo {ours[-1][0]:.2f} s wall, {ours[-1][1]:.2f} core-s; "
            f"ratio {plain[-1][0] / ours[-1][0]:.1f} wall, {plain[-1][1] / ours[-1][1]:.1f} core",
            flush=True,
        )
    result = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "plain_wall": statistics.median(wall for wall, _ in plain),
        "plain_core": statistics.median(core for _, core in plain),
        "mitsugo_wall": statistics.median(wall for wall, _ in ours),
        "mitsugo_core": statistics.median(core for _, core in ours),
        "ratio_wall": statistics.median(p[0] / o[0] for p, o in zip(plain, ours, strict=True)),
        "ratio_core": statistics.median(p[1] / o[1] for p, o in zip(plain, ours, strict=True)),
    }
    print(json.dumps(result))


def _next_epoch(loop: object) -> Epoch:
    return next(event for event in loop if isinstance(event, Epoch))  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
