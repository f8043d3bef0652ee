"""How long does an inspection take beside decoding and the network alone?

    python benchmarks/inspection_speed.py [--rounds 5] [--digits 2000] [--photos 200] [--quick]

Both sides read the same files in the same chunks with the same threads: one decodes and embeds, the other is
`mitsugo inspect` as its task, neighbours, both gates, verdicts with evidence and the lot included. They take
turns; printed are the median of each and of the ratio. The digits are MNIST's test images as PNG files beside
a gallery of all training images; the photos are bsd_patches at 224 x 224 where that set lies beside the
repository, else noise. The networks are trained for a few steps: what they say does not count here.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch

import mitsugo
from mitsugo.data.images import encode_png
from mitsugo.tasks.calibrate import calibrate
from mitsugo.tasks.incoming import chunks_of, files_of
from mitsugo.tasks.inspect import inspect
from mitsugo.tasks.sourcing import parsed_source
from mitsugo.tasks.taught import taught_model
from mitsugo.tasks.train import TrainOptions, train
from photo_sets import folder
from results import machine

SIDE: Final = 224
STEPS, QUICK_STEPS = 300, 30


def digits(at: Path, count: int, *, quick: bool = False) -> tuple[Path, Path]:
    """Train on MNIST, and write test digits as files; return the run and their folder."""
    images = mitsugo.load("mnist")
    assert images.split is not None
    (at / "digits").mkdir()
    for row in images.split.test[:count].tolist():
        (at / "digits" / f"{row}.png").write_bytes(encode_png(np.asarray(images.pixels[row])))
    sourcing = parsed_source({"calibration": 0.05})
    steps = f"steps={QUICK_STEPS if quick else STEPS}"
    train(TrainOptions(source="mnist", out=at / "mnist", settings=(steps,), sourcing=sourcing))
    calibrate(at / "mnist", "mnist", {})
    return at / "mnist", at / "digits"


def photos(at: Path, count: int, *, quick: bool = False) -> tuple[Path, Path]:
    """Train on photos of 224 x 224; return the run and a folder of photos."""
    source = folder() / "bsd_patches"
    if not source.is_dir():
        print("bsd_patches is not there: noise takes its place")
        source = _noise(at / "noise")
    sourcing = parsed_source({"calibration": 0.2, "image_size": str(SIDE)}, ["ng"])
    steps = f"steps={1 if quick else 3}"
    train(
        TrainOptions(
            source=str(source), recipe="photos", out=at / "photos", settings=(steps,), sourcing=sourcing
        )
    )
    calibrate(at / "photos", str(source), {"cost_escape": 100.0, "cost_overkill": 1.0})
    (at / "lot").mkdir()
    for number, path in enumerate(sorted((source / "ok").iterdir())[:count]):
        (at / "lot" / f"{number}{path.suffix}").write_bytes(path.read_bytes())
    return at / "photos", at / "lot"


def _noise(at: Path) -> Path:
    chance = np.random.default_rng(0)
    for kind in ("ok", "ng"):
        (at / kind).mkdir(parents=True)
        for number in range(200):
            pixels = chance.integers(0, 256, (3, SIDE, SIDE)).astype(np.uint8)
            (at / kind / f"{number}.png").write_bytes(encode_png(pixels))
    return at


def decode_and_embed(run: Path, lot: Path) -> None:
    """Do what no inspection can do without."""
    model = taught_model(run, "cpu")
    paths, left_out = files_of([lot], skip=False)
    chunks = list(chunks_of(model, paths, left_out, resize=False, skip=False))
    for _, pixels, _ in chunks:  # one after the other: `inspect` may do both at once
        model.embed(pixels)


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds some work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure both sizes, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--digits", type=int, default=2000)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    rounds, counts = options.rounds, {"28 x 28 digits": options.digits, "224 x 224 photos": options.photos}
    if options.quick:
        rounds, counts = 2, {"28 x 28 digits": 300, "224 x 224 photos": 20}
    told = machine(torch.get_num_threads())
    print(f"{told['machine']}, torch {told['torch']}, {told['threads']} threads, {rounds} rounds", flush=True)
    for what, make in (("28 x 28 digits", digits), ("224 x 224 photos", photos)):
        with tempfile.TemporaryDirectory() as at:
            run, lot = make(Path(at), counts[what], quick=options.quick)
            both: list[tuple[float, float]] = []
            for _ in range(rounds + 1):
                plain = timed(partial(decode_and_embed, run, lot))
                both.append((plain, timed(partial(inspect, run, [lot], device="cpu"))))
            n = len(list(lot.iterdir()))
        plain, whole = (statistics.median(one[side] for one in both[1:]) for side in (0, 1))
        ratio = statistics.median(whole / plain for plain, whole in both[1:])
        print(f"{what}, {n}: decode and network {plain:.2f} s, inspect {whole:.2f} s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
