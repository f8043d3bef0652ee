"""How fast do photos come in? Images a second, cold and from the cache, and the memory that it takes.

    python benchmarks/ingest.py [--images 1000000] [--photos 2000] [--folder FOLDER] [--quick] [--fresh]

Two sets are made, from seed 0: so many photos of 640 x 480 as JPEG, brought to 128 x 171, and a great many
small files (16 x 16, grey, PNG) in folders of 1,000. Each reading is a process of its own, so that its peak
memory (the most that the process held, all of Python and torch in it) is its own; the time is that of the
reading alone, imports aside. Compared are, each in its turn and in the same run:

    mitsugo, cold     a folder is listed, decoded by all cores, framed, and kept in an empty cache
    mitsugo, cached   the same again: found by the files' times and sizes
    PIL loop          one thread: open, convert, resize, one array
    DataLoader        torch's, batches of 64, as many processes as cores, the same decoding

--quick takes 20,000 small files and 200 photos. The files are made in a folder of --folder (a temporary one
unless it is named) and removed at the end; a million small files take some 4 GB of most disks. The operating
system's own cache of files is warm in all four: what is compared is the work, not the disk.
Each line of benchmarks/results/ingest.jsonl is one reading; a script that was stopped goes on.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WAYS = ("mitsugo, cold", "mitsugo, cached", "PIL loop", "DataLoader")
PHOTO, SMALL = "photos 640x480", "small files 16x16"
SIZES = {PHOTO: (128, 171, 3), SMALL: (16, 16, 1)}
A_FOLDER = 1_000
MOST_IN_LOOP = 50_000
"""The loop and the DataLoader read so many small files at most: they take the same time for each."""


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--photos", type=int, default=2_000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--read", nargs=3, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(_read(options.read[0], options.read[1], Path(options.read[2]))))
        return
    from results import Results, machine

    results = Results("ingest", fresh=options.fresh)
    counts = {PHOTO: 200, SMALL: 20_000} if options.quick else {PHOTO: options.photos, SMALL: options.images}
    found = {}
    for kind, count in counts.items():
        keys = {
            way: {"set": kind, "images": count, "way": way, **machine(os.cpu_count() or 1)} for way in WAYS
        }
        missing = [way for way in WAYS if results.find(keys[way]) is None]
        if missing:
            with tempfile.TemporaryDirectory(dir=options.folder) as name:
                folder = Path(name)
                print(f"making {count:,} {kind}", file=sys.stderr, flush=True)
                _made(kind, count, folder / "set")
                for way in WAYS:  # all four, so that they were measured together
                    results.add(keys[way], _measured(kind, way, folder))
        found[kind] = {way: results.find(key) or {} for way, key in keys.items()}
    print(json.dumps(found) + "\n" + _table(found))


def _made(kind: str, count: int, folder: Path) -> None:
    """Make a folder a class, with files of noise that no two share."""
    chance = np.random.default_rng(0)
    base = chance.integers(0, 256, (480, 640, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(base).resize((80, 60)).resize((640, 480)))  # as photos compress
    for number in range(count):
        where = folder / ("ok", "ng")[number % 2] / f"{number // A_FOLDER:04d}"
        if number % A_FOLDER < 2:
            where.mkdir(parents=True, exist_ok=True)
        if kind == PHOTO:
            Image.fromarray(np.roll(smooth, number, axis=1)).save(where / f"{number}.jpg", quality=90)
        else:
            values = chance.integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(values).save(where / f"{number}.png", compress_level=1)


def _measured(kind: str, way: str, folder: Path) -> dict[str, Any]:
    if way == "mitsugo, cold":
        shutil.rmtree(folder / "cache", ignore_errors=True)
        time.sleep(3)  # files that changed just now are not believed
    command = [sys.executable, __file__, "--read", kind, way, str(folder)]
    environment = os.environ | {"MITSUGO_CACHE": str(folder / "cache")}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{kind}, {way}: {line['images_per_second']:,.0f} images/s", file=sys.stderr, flush=True)
    return line


def _read(kind: str, way: str, folder: Path) -> dict[str, Any]:
    """Read a set in this process; say how long it took, and how much memory."""
    import torch.utils.data

    import mitsugo
    from mitsugo.data.reading import Reading

    height, width, channels = SIZES[kind]
    before, start, usage = _peak(), time.perf_counter(), _core_seconds()
    if way.startswith("mitsugo"):
        reading = Reading(image_size=(height, width), channels=channels)
        count = len(mitsugo.load(folder / "set", reading))
    else:
        paths = sorted((folder / "set").rglob("*.*"))[:MOST_IN_LOOP]
        files = _Files(paths, kind)
        count = len(paths)
        if way == "PIL loop":
            pixels = np.empty((count, channels, height, width), np.uint8)
            for row in range(count):
                pixels[row] = files[row].numpy()
        else:
            workers = os.cpu_count() or 1
            dataset: Any = files
            for _ in torch.utils.data.DataLoader(dataset, 64, num_workers=workers):
                pass
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "core_seconds": _core_seconds() - usage,
        "read": count,
        "images_per_second": count / seconds,
        "memory_before_mb": before / 1e6,
        "peak_memory_mb": _peak() / 1e6,
    }


class _Files:
    """What a person would write for torch's DataLoader."""

    def __init__(self, paths: list[Path], kind: str) -> None:
        self.paths, self.kind = paths, kind

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Any:  # noqa: ANN401 - a tensor; torch comes late
        import torch

        height, width, channels = SIZES[self.kind]
        with Image.open(self.paths[row]) as photo:
            image = photo.convert("RGB" if channels == 3 else "L").resize(
                (width, height), Image.Resampling.BILINEAR
            )
        values = np.array(image).reshape(height, width, channels).transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(values))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _core_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _table(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    lines = [
        "| set | way | images | images/s | core-s per 1,000 | memory before, MB | peak, MB |",
        "|---" * 7 + "|",
    ]
    for kind, ways in found.items():
        for way, line in ways.items():
            lines.append(
                f"| {kind} | {way} | {line['read']:,} | {line['images_per_second']:,.0f} | "
                f"{1000 * line['core_seconds'] / line['read']:.2f} | {line['memory_before_mb']:,.0f} | "
                f"{line['peak_memory_mb']:,.0f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
