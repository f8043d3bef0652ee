"""Every triplet of a batch: mitsugo and pytorch-metric-learning, each measured in a process of its own.

    pip install pytorch-metric-learning
    python benchmarks/losses.py [--device cpu] [--threads 2] [--quick] [--fresh]

A step goes forward and backward, from (B, 128) random embeddings to their gradient: the hinge with margin 1
on squared Euclidean distances that are not normalised, mean over the active triplets. Classes are of equal
size, or unequal (the class of rank r holds a share of 1 / r, drawn once). Times are medians; memory is what
the steps added to the process's peak, or to the GPU's. Where pytorch-metric-learning would need more than
12 GB or a minute, that is said instead. Where it runs, value and gradient of the two are compared.

Each result is appended to benchmarks/results/losses.jsonl, and a script that was stopped goes on; --fresh
begins anew. Ends with one JSON document.
"""

import argparse
import importlib.metadata
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from mitsugo.space.losses import every_triplet_loss
from mitsugo.space.triplets import valid_triplets
from results import Results, machine

SIDES = ("mitsugo", "pytorch-metric-learning")
MOST_BYTES = 12e9
BYTES_A_TRIPLET = 50
"""What building triplets takes, as measured at B = 500: their indices, distances, hinges and gradients."""
MOST_SECONDS = 60.0
DIFFERS = 1e-3
"""Of the largest entry of the gradient: one hinge that rounding moves across 0 weighs this much and less."""
IMPORT_SECONDS = 60.0

Key = dict[str, Any]
Step = Callable[[Tensor, Tensor], Tensor]


def labels_of(key: Key) -> Tensor:
    """Draw the classes of a batch, in no order."""
    images, classes = key["images"], key["classes"]
    generator = torch.Generator().manual_seed(images + classes)
    if key["sizes"] == "equal":
        return torch.randperm(images, generator=generator).remainder(classes)
    shares = 1 / torch.arange(1, classes + 1)
    return torch.multinomial(shares, images, replacement=True, generator=generator)


def every_triplet(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Return mitsugo's loss."""
    value: Tensor = every_triplet_loss(embeddings, labels, 1.0).value
    return value


def step_of(side: str) -> Step:
    """Return the loss of one side."""
    if side == "mitsugo":
        return every_triplet
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss

    loss = TripletMarginLoss(margin=1.0, distance=LpDistance(normalize_embeddings=False, power=2))
    return cast("Step", loss)


def gradient(step: Step, embeddings: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Take one step, to its end also on a GPU."""
    embeddings.grad = None
    value = step(embeddings, labels)
    value.backward()  # type: ignore[no-untyped-call]
    assert embeddings.grad is not None
    return value.item(), embeddings.grad


def peak(device: str) -> float:
    """Return the most bytes that were in use since the process began, or on the GPU."""
    if device == "cuda":
        return float(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def measured(key: Key) -> dict[str, Any]:
    """Measure one side in this process: first its memory and time, then what the other one says."""
    torch.set_num_threads(key["threads"])
    labels = labels_of(key).to(key["device"])
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(key["images"], 128, generator=generator).to(key["device"]).requires_grad_()
    step = step_of(key["side"])
    few = torch.arange(8, device=key["device"]) % 2
    gradient(step, torch.randn(8, 128, device=key["device"]).requires_grad_(), few)  # wakes up the libraries
    before, begin, seconds = peak(key["device"]), time.perf_counter(), list[float]()
    while len(seconds) < key["rounds"] and time.perf_counter() - begin < MOST_SECONDS / 3:
        start = time.perf_counter()
        value, slope = gradient(step, embeddings, labels)
        seconds.append(time.perf_counter() - start)
    found: dict[str, Any] = {
        "milliseconds": 1000 * statistics.median(seconds[1:] or seconds),
        "steps": len(seconds),
        "megabytes": (peak(key["device"]) - before) / 1e6,
    }
    if key["side"] != "mitsugo":
        ours, our_slope = gradient(step_of("mitsugo"), embeddings, labels)
        found["value_apart"] = abs(value - ours) / abs(value)
        found["gradient_apart"] = ((slope - our_slope).abs().max() / slope.abs().max()).item()
    return found


def in_a_child(key: Key) -> dict[str, Any]:
    """Measure one side in a process of its own, unless it cannot be."""
    triplets = valid_triplets(labels_of(key))
    if key["side"] != "mitsugo":
        cubes = key["images"] ** 3 if key["images"] ** 3 < 2**31 else 0
        needed = BYTES_A_TRIPLET * triplets + cubes
        if needed > MOST_BYTES:
            return {"triplets": triplets, "not_run": f"would need some {needed / 1e9:.0f} GB"}
    command = [sys.executable, __file__, "--child", json.dumps(key)]
    environment = os.environ | {"OMP_NUM_THREADS": str(key["threads"])}
    try:
        child = subprocess.run(
            command,
            check=False,
            env=environment,
            stdout=subprocess.PIPE,
            timeout=IMPORT_SECONDS + 2 * MOST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {"triplets": triplets, "not_run": "took more than a minute"}
    if child.returncode < 0:
        return {"triplets": triplets, "not_run": f"was ended by signal {-child.returncode}, as for memory"}
    if child.returncode:
        raise SystemExit(f"{key['side']} failed at {key}: see above")
    found: dict[str, Any] = json.loads(child.stdout)
    return {"triplets": triplets, **found}


def keys_of(options: argparse.Namespace) -> list[Key]:
    """List what is to be measured: the sides of one setting one after the other."""
    version = importlib.metadata.version("pytorch-metric-learning")
    settings = [
        (images, classes, sizes)
        for images in ((200, 500) if options.quick else (200, 500, 1000, 2000, 4096))
        for classes in ((10,) if options.quick else (10, 500))
        for sizes in ("equal", "unequal")
    ]
    return [
        {
            "side": side,
            "images": images,
            "classes": classes,
            "sizes": sizes,
            "rounds": (11 if options.quick else 41) if side == "mitsugo" else (3 if options.quick else 5),
            "device": options.device,
            "other_version": version,
            **machine(options.threads),
        }
        for images, classes, sizes in settings
        for side in SIDES
        if images >= 2 * classes  # else few images have a positive
    ]


def table(results: list[tuple[Key, dict[str, Any]]]) -> None:
    """Print a line a setting: both sides and what is between them."""
    heads = ("B", "classes", "sizes", "triplets", *SIDES, "ratio")
    lines = [heads]
    for (key, ours), (_, theirs) in zip(results[::2], results[1::2], strict=True):
        ratio = "" if "not_run" in theirs else f"{theirs['milliseconds'] / ours['milliseconds']:.0f}"
        differs = " (differs)" if theirs.get("gradient_apart", 0) > DIFFERS else ""
        place = (str(key["images"]), str(key["classes"]), key["sizes"], f"{ours['triplets']:,}")
        lines.append((*place, said(ours), said(theirs) + differs, ratio))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def said(found: dict[str, Any]) -> str:
    """Say in words what came out."""
    return found.get("not_run") or f"{found['milliseconds']:.1f} ms, {found['megabytes']:.0f} MB"


def main() -> None:
    """Measure what is missing, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="only small batches, few rounds")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(options.child)))
        return
    kept = Results("losses", fresh=options.fresh)
    results = []
    for key in keys_of(options):
        found = kept.find(key)
        if found is None:
            found = in_a_child(key)
            kept.add(key, found)
        results.append((key, {name: what for name, what in found.items() if name != "key"}))
        place = f"B = {key['images']}, {key['classes']} classes of {key['sizes']} sizes"
        print(f"{place}: {key['side']} {said(found)}", file=sys.stderr, flush=True)
    table(results)
    print(json.dumps([{**key, **found} for key, found in results]))


if __name__ == "__main__":
    main()
