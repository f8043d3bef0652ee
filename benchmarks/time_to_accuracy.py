"""How soon is it accurate? Seconds of training until 98.0, 99.0 and 99.5 % 5-NN on MNIST.

    python benchmarks/time_to_accuracy.py [--seeds 3] [--threads 2] [--device cpu] [--fresh]

The walk-through's plain loop, its MLP with every triplet, and the ConvNet, short and as `standard`. Training
alone is timed, everything but reading the data and the readings themselves; the accuracy is read on the test
images at marks that are set beforehand (each epoch of the plain loop; each sixth of our steps), and the first
mark at or above a goal counts. The settings below were chosen on a validation part of the training images,
never by these readings. A finished run is a line of benchmarks/results/time_to_accuracy.jsonl; a stopped
script goes on.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from mitsugo.data.sources import load
from mitsugo.model.preprocessing import prepare
from mitsugo.recipes import RECIPES
from mitsugo.settings import parsed
from mitsugo.space.metrics import vote
from mitsugo.space.neighbors import nearest
from mitsugo.tasks.experiment import assemble, chosen_device
from mitsugo.tasks.settle import Ground, settle
from mitsugo.training import Progress, run
from plain_loop import PlainNet, PlainTriplets, plain_epoch
from results import Results, machine

GOALS = (0.98, 0.99, 0.995)
MARKS = 6
PLAIN = "plain loop"
PLAIN_EPOCHS = 12
ONE_PART = "validation_share=0:keep=last"
CONTESTANTS = {
    PLAIN: "article",
    "its MLP, every triplet": (
        "article:loss=triplet-all:batch_size=200:images_per_class=8:steps=900:epochs=3:learning_rate=1e-3"
        ":schedule=one-cycle:precision=auto"
    ),
    "ConvNet, short": f"standard:{ONE_PART}:shift=0:rotation=0:scale=0:flip_horizontal=0:steps=140:epochs=1",
    "standard": f"standard:{ONE_PART}",
}


class Reading(NamedTuple):
    """A mark: training so far, and the accuracy there."""

    wall: float
    core: float
    accuracy: float


def main() -> None:
    """Run what is missing, then print when each goal was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="of ours; the plain loop runs once")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = Results("time_to_accuracy", fresh=options.fresh)
    device = chosen_device(options.device)
    images = load("mnist")
    for name, text in CONTESTANTS.items():
        for seed in range(1 if name == PLAIN else options.seeds):
            key = key_of(name, seed, options)
            if results.find(key):
                continue
            ground = settle("mnist", images, parsed(text), seed=0, device=device)
            readings = list(plain(ground, seed) if name == PLAIN else ours(ground, seed, device))
            results.add(key, {"readings": readings, **machine(options.threads)})
            last = readings[-1]
            print(
                f"{name}, seed {seed}: {100 * last.accuracy:.2f} % after {last.wall:.2f} s wall, "
                f"{last.core:.2f} core-s",
                flush=True,
            )
    rows = [summary(results, name, options) for name in CONTESTANTS]
    first = rows[0]["98.0"]
    print("\ngoal    contestant               wall s   core-s   plain loop / it, core-s, to 98.0 %")
    for goal in GOALS:
        for row in rows:
            reached = row[f"{100 * goal:.1f}"]
            told = "not reached" if reached is None else f"{reached['wall']:7.2f}  {reached['core']:7.2f}"
            ratio = (
                f"{first['core'] / reached['core']:8.1f}" if first and reached and goal == GOALS[0] else ""
            )
            print(f"{100 * goal:.1f} %  {row['name']:24} {told} {ratio}")
    print(json.dumps({**machine(options.threads), "rows": rows}))


def key_of(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return what a run is known by: with another recipe it is another run."""
    return {
        "name": name,
        "recipe": CONTESTANTS[name],
        "seed": seed,
        "threads": options.threads,
        "device": options.device,
    }


def ours(ground: Ground, seed: int, device: torch.device) -> Iterator[Reading]:
    """Train a settled recipe and read its accuracy at the marks."""
    experiment = assemble(
        ground.images,
        ground.split,
        ground.recipe,
        seed=seed,
        preprocessing=ground.preprocessing,
        device=device,
    )
    assert experiment.training is not None
    epochs = ground.recipe.epochs
    batches = sum(1 for _ in experiment.training.train_batches(1, 0)) if epochs else 0
    steps = ground.recipe.steps or epochs * batches
    marks = {round(steps * part / MARKS) for part in range(1, MARKS + 1)}
    wall = core = 0.0
    step = 0
    last = (0.0, 0.0)
    for event in run(experiment.training, epochs):
        if isinstance(event, Progress):
            step += 1
            last = (event.position.seconds, event.position.core_seconds)
            if step in marks:
                yield Reading(wall + last[0], core + last[1], accuracy(ground, experiment.network, device))
                experiment.training.network.train()
        else:
            wall, core = wall + event.seconds, core + event.core_seconds


def plain(ground: Ground, seed: int) -> Iterator[Reading]:
    """Train the plain loop and read its accuracy after each epoch."""
    images, preprocessing = ground.images, ground.preprocessing
    np.random.seed(seed)  # noqa: NPY002 - the walk-through's own source of chance
    torch.manual_seed(seed)
    network = PlainNet(RECIPES["article"].dimension or 0)
    train = ground.split.train
    triplets = PlainTriplets(
        images.pixels[train], images.labels[train], preprocessing.mean, preprocessing.std
    )
    loader = DataLoader(triplets, batch_size=RECIPES["article"].batch_size, shuffle=True)
    wall = core = 0.0
    for epoch in range(1, PLAIN_EPOCHS + 1):
        began = time.perf_counter(), time.process_time()
        plain_epoch(loader, network, RECIPES["article"].rate(epoch))
        wall += time.perf_counter() - began[0]
        core += time.process_time() - began[1]
        reading = Reading(wall, core, accuracy(ground, First(network), torch.device("cpu")))
        yield reading
        if reading.accuracy >= GOALS[0]:
            return


class First(nn.Module):
    """A network that returns a tuple, as one that returns its first item."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the first output."""
        first: torch.Tensor = self.network(images)[0]
        return first


def accuracy(ground: Ground, network: nn.Module, device: torch.device) -> float:
    """Return the 5-NN accuracy of a network as it stands: train as gallery, test as queries."""
    network.eval()
    images, split = ground.images, ground.split

    def embedded(rows: np.ndarray) -> torch.Tensor:
        with torch.inference_mode():
            return torch.cat(
                [
                    network(
                        prepare(torch.from_numpy(images.pixels[part]).to(device), ground.preprocessing)
                    ).cpu()
                    for part in np.array_split(rows, -(-len(rows) // 1000))
                ]
            )

    found = nearest(embedded(split.test), embedded(split.train), 5)
    predicted, _ = vote(images.labels[split.train][found.indices], len(images.class_names))
    return float(np.mean(predicted == images.labels[split.test]))


def summary(results: Results, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return when a contestant reached each goal, the median over its seeds; None where a seed did not."""
    runs = []
    for seed in range(1 if name == PLAIN else options.seeds):
        line = results.find(key_of(name, seed, options))
        assert line is not None
        runs.append([Reading(*reading) for reading in line["readings"]])
    row: dict[str, Any] = {"name": name, "final": [readings[-1].accuracy for readings in runs]}
    for goal in GOALS:
        reached = [next((r for r in readings if r.accuracy >= goal), None) for readings in runs]
        row[f"{100 * goal:.1f}"] = (
            {
                "wall": statistics.median(r.wall for r in reached if r),
                "core": statistics.median(r.core for r in reached if r),
                "seeds": len(reached),
            }
            if all(reached)
            else None
        )
    return row


if __name__ == "__main__":
    main()
