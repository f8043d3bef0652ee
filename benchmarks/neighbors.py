"""Exact nearest neighbours: mitsugo, faiss's flat index and scikit-learn, in turn, in one process.

    pip install faiss-cpu
    python benchmarks/neighbors.py [--device cpu] [--threads 2] [--rounds 5] [--pixels] [--quick]

10 neighbours of 10,000 queries among 60,000 rows of 128 values: Gaussian clusters of ten classes, and the
same on whole numbers with every row three times, so full of ties; with --pixels also MNIST's 784 raw pixels.
Beside them stands the bare matrix product of that size, in blocks that stay in the cache: it finds nothing.
faiss and scikit-learn get their index for nothing, mitsugo prepares the gallery in every call.

mitsugo must name the first rows by (distance, index), measured by differences: of all rows for some queries,
of all rows that anyone named for the others. Where others name other rows, it is said whether only the order
of equal distances differs, or a rounding put a farther row first. Ends with one JSON document.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable

import faiss
import numpy as np
import sklearn
import torch
from jaxtyping import Float32, Int64
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits
from torch import Tensor

from mitsugo.data.sources import load
from mitsugo.space.neighbors import nearest

Rows = Float32[Tensor, "n d"]
Found = Int64[np.ndarray, "q k"]
Times = dict[str, list[tuple[float, float]]]

K = 10
SEED = 0
PROVEN = 40
"""So many queries are compared with every row of the gallery by differences."""


def clusters(gallery: int, queries: int, *, ties: bool) -> tuple[Rows, Rows]:
    """Draw ten Gaussian classes in 128 dimensions; with ties on whole numbers, every row three times."""
    generator = torch.Generator().manual_seed(SEED)
    centres = 2 * torch.randn(10, 128, generator=generator)

    def drawn(count: int) -> Rows:
        points = centres[torch.arange(count) % 10] + torch.randn(count, 128, generator=generator)
        return points.round() if ties else points

    if not ties:
        return drawn(gallery), drawn(queries)
    rows = drawn(gallery // 3).repeat(3, 1)
    return rows[torch.randperm(len(rows), generator=generator)], drawn(queries)


def pixels(gallery: int, queries: int) -> tuple[Rows, Rows]:
    """Return MNIST's training images as the gallery, its test images as the queries."""
    images = load("mnist")
    rows = torch.tensor(images.pixels).flatten(1).float()
    return rows[:gallery], rows[-queries:]


def contestants(gallery: Rows, queries: Rows, device: torch.device) -> dict[str, Callable[[], Found | None]]:
    """Name who is timed; the last two find nothing, they only multiply."""
    flat = faiss.IndexFlatL2(gallery.shape[1])
    flat.add(gallery.numpy())
    brute = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(gallery.numpy())
    on_device = queries.to(device), gallery.to(device)
    return {
        "mitsugo": lambda: nearest(*on_device, K).indices,
        "faiss": lambda: flat.search(queries.numpy(), K)[1],
        "scikit-learn": lambda: brute.kneighbors(queries.numpy(), return_distance=False),
        "product float32": lambda: multiplied(*on_device),
        "product bfloat16": lambda: multiplied(*(side.bfloat16() for side in on_device)),
    }


def multiplied(queries: Tensor, gallery: Tensor) -> None:
    """Multiply in blocks that stay in the cache, and keep nothing."""
    room = queries.new_empty(1024 * 1024)
    for rows in torch.split(queries, 1024):
        for columns in torch.split(gallery, 1024):
            torch.mm(rows, columns.T, out=room[: len(rows) * len(columns)].view(len(rows), len(columns)))
    if room.is_cuda:
        torch.cuda.synchronize()


def timed(work: Callable[[], Found | None]) -> tuple[float, float, Found | None]:
    """Return wall seconds and core-seconds of one call, and what it found."""
    wall, core = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - wall, time.process_time() - core, found


def distances(query: Tensor, gallery: Tensor, rows: Int64[np.ndarray, " m"]) -> Float32[np.ndarray, " m"]:
    """Return the distances to some rows by differences in float64, rounded to float32."""
    return (gallery[torch.tensor(rows)].double() - query.double()).square().sum(1).sqrt().float().numpy()


def check(
    query: Tensor, gallery: Tensor, rows: Int64[np.ndarray, " m"], ours: Int64[np.ndarray, " k"]
) -> None:
    """Stop unless `ours` are the first of `rows` by (distance, index)."""
    first = rows[np.lexsort((rows, distances(query, gallery, rows)))[:K]]
    if not np.array_equal(first, ours):
        raise SystemExit(f"mitsugo is wrong: rows {ours.tolist()}, by definition {first.tolist()}")


def compared(gallery: Rows, queries: Rows, found: dict[str, Found]) -> dict[str, dict[str, int]]:
    """Check what mitsugo found, and count for how many queries the others found something else."""
    ours = found["mitsugo"]
    for row in np.linspace(0, len(queries) - 1, PROVEN, dtype=np.int64):
        check(queries[row], gallery, np.arange(len(gallery)), ours[row])
    others = {name: rows for name, rows in found.items() if name != "mitsugo"}
    counts = {name: {"ties_in_another_order": 0, "farther_rows_first": 0} for name in others}
    for name, theirs in others.items():
        for row in np.flatnonzero((ours != theirs).any(1)):
            check(queries[row], gallery, np.union1d(ours[row], theirs[row]), ours[row])
            near, far = (distances(queries[row], gallery, each[row]) for each in (ours, theirs))
            counts[name]["ties_in_another_order" if np.array_equal(near, far) else "farther_rows_first"] += 1
    return counts


def rounds_of(works: dict[str, Callable[[], Found | None]], rounds: int) -> tuple[Times, dict[str, Found]]:
    """Time all in turn, and keep what they found."""
    works["mitsugo"]()  # the first call loads the kernels
    times: Times = {name: [] for name in works}
    found: dict[str, Found] = {}
    for number in range(1, rounds + 1):
        for name, work in works.items():
            wall, core, answer = timed(work)
            times[name].append((wall, core))
            if answer is not None:
                found[name] = answer
        line = "; ".join(
            f"{name} {each[-1][0]:.2f} s, {each[-1][1]:.2f} core-s" for name, each in times.items()
        )
        print(f"  round {number}: {line}", flush=True)
    return times, found


def summary(times: Times) -> dict[str, dict[str, float]]:
    """Return the medians, and the median over the rounds of how many times as long as mitsugo each took."""
    return {
        name: {
            "wall": statistics.median(wall for wall, _ in each),
            "core": statistics.median(core for _, core in each),
            "ratio_wall": statistics.median(o[0] / m[0] for o, m in zip(each, times["mitsugo"], strict=True)),
            "ratio_core": statistics.median(o[1] / m[1] for o, m in zip(each, times["mitsugo"], strict=True)),
        }
        for name, each in times.items()
    }


def main() -> None:
    """Measure on each set of rows and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pixels", action="store_true", help="also 784 raw pixels")
    parser.add_argument("--quick", action="store_true", help="a tenth of the queries, two rounds")
    options = parser.parse_args()
    queries, rounds = (1_000, min(2, options.rounds)) if options.quick else (10_000, options.rounds)
    threadpool_limits(options.threads)
    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    sets = {"clusters": clusters(60_000, queries, ties=False), "ties": clusters(60_000, queries, ties=True)}
    if options.pixels:
        sets["pixels"] = pixels(60_000, queries)
    results: dict[str, object] = {}
    for name, (gallery, asked) in sets.items():
        print(f"{name}: {len(asked)} queries, {len(gallery)} x {gallery.shape[1]}, k = {K}", flush=True)
        times, found = rounds_of(contestants(gallery, asked, torch.device(options.device)), rounds)
        results[name] = summary(times) | {"found_otherwise": compared(gallery, asked, found)}
    machine = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "versions": {"torch": torch.__version__, "faiss": faiss.__version__, "sklearn": sklearn.__version__},
        **vars(options),
    }
    print(json.dumps(machine | results))


if __name__ == "__main__":
    main()
