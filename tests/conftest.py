"""What the tests of run folder, tasks and command line share: tiny sources, runs, commands, processes."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

from mitsugo import cli
from mitsugo.data.idx import idx_header
from mitsugo.files import write_bytes
from mitsugo.runs import PICTURES, RunFolder
from mitsugo.tasks import train as train_module
from mitsugo.tasks.sourcing import parsed_source
from mitsugo.tasks.train import TrainOptions, train

SIDE = 4


@dataclass(frozen=True)
class Outcome:
    """What a command ended with and said."""

    code: int
    out: str
    err: str


def _write_part(folder, part, labels, chance):
    """Noise, with the row of the class a little brighter: not so easy that the loss is ever nothing."""
    pixels = chance.integers(0, 200, (len(labels), SIDE, SIDE))
    for image, label in zip(pixels, labels, strict=True):
        image[label % SIDE] += 55
    pixels = pixels.astype(np.uint8)
    (folder / f"{part}-images-idx3-ubyte").write_bytes(idx_header(*pixels.shape) + pixels.tobytes())
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_header(len(labels)) + bytes(labels))


def _write_idx(folder, seed=0, *, train=32, test=8, classes=4):
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(seed)
    for part, count in (("train", train), ("t10k", test)):
        if count:
            _write_part(folder, part, [number % classes for number in range(count)], chance)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory):
    """No test sees, or leaves anything in, the cache of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MITSUGO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def write_idx():
    """Write an IDX folder of noisy 4x4 images."""
    return _write_idx


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """32 training and 8 test images of 4x4, four classes."""
    return _write_idx(tmp_path_factory.mktemp("sources") / "tiny")


@pytest.fixture(scope="session")
def tiny_options(tiny):
    """Options of an article run of 3 epochs of 4 batches on the tiny source, with what is to be changed."""

    def make(out, **changes):
        usual = {"recipe": "article", "epochs": 3, "batch_size": 8, "dimension": 3}
        return TrainOptions(**{"source": str(tiny), "out": out, **usual, **changes})

    return make


@contextlib.contextmanager
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def one_thread():
    """Train on one thread: several wait for each other at length where the machine has other work, too."""
    with _one_thread():
        yield


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, tiny_options):
    """A finished article run on the tiny source; to be looked at, or copied, but not changed."""
    with _one_thread():
        return train(tiny_options(tmp_path_factory.mktemp("runs") / "tiny"))


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """A finished article run of two epochs on digits; to be looked at, or copied, but not changed."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    with _one_thread():
        return train(TrainOptions(source="digits", recipe="article", epochs=2, out=out))


@pytest.fixture
def plain_pictures(monkeypatch):
    """Five small files, written as the real ones are, instead of a second spent on drawing."""

    def draw(facts, found, test, folder):
        for name in PICTURES:
            write_bytes(folder / name, name.encode())

    monkeypatch.setattr(train_module, "draw", draw)


@pytest.fixture
def command(capsys):
    """Run a command in this process."""

    def run(*arguments):
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def refused(command):
    """Run a command that must be refused by one line on stderr, and return that line."""

    def run(code, *arguments):
        outcome = command(*arguments)
        assert (outcome.code, outcome.out) == (code, ""), outcome.err
        *talk, line = outcome.err.splitlines()
        assert line.startswith("mitsugo: ")
        assert line.isprintable()
        assert not any("Traceback" in said for said in talk)
        return line

    return run


@pytest.fixture(scope="session")
def process():
    """Start `python -m mitsugo` in a process of its own; a variable that is None is taken from it."""

    def start(*arguments, environment=None, **options):
        variables = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
        return subprocess.Popen(
            [sys.executable, "-m", "mitsugo", *arguments],
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
            env={name: value for name, value in variables.items() if value is not None},
            **options,
        )

    return start


@pytest.fixture(scope="session")
def finished_process(process):
    """Run `python -m mitsugo` in a process of its own to its end: exit code, stdout and stderr."""

    def run(*arguments, **options):
        with process(*arguments, **options) as started:
            out, err = started.communicate(timeout=120)
        return Outcome(started.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def without_times():
    """Take from epochs, as plain values, how long they took, which no two runs have in common."""

    def take(history):
        return [{key: value for key, value in epoch.items() if "seconds" not in key} for epoch in history]

    return take


LONG = 150
"""Epochs of a run that lasts long enough for something to happen to it."""
MOST_LINES = 30
"""How many lines a process may say before it is killed: two an epoch."""


@pytest.fixture(scope="session")
def long_arguments(tiny):
    """Arguments of `mitsugo train` for the long run, without --out."""
    small = ("--recipe", "article", "--batch-size", "8", "--dimension", "3")
    return ("train", str(tiny), "--epochs", str(LONG), *small)


@pytest.fixture(scope="session")
def long_hash(tmp_path_factory, tiny_options):
    """The hash of the weights of a long run that nothing happened to."""
    with _one_thread():
        run = train(tiny_options(tmp_path_factory.mktemp("runs") / "long", epochs=LONG))
    return run.summary["weights_sha256"]


@pytest.fixture(scope="session")
def kill_again_and_again(process, long_arguments):
    """Kill a long run so many times, resume it each time, look at what is left, and let it end."""

    def kill_once(run, chance):
        """Kill it a moment after so many lines; return how many epochs it had told of."""
        told = 0
        with process(*long_arguments, "--out", run, "--resume", text=True) as running:
            for _ in range(int(chance.integers(0, MOST_LINES))):
                line = running.stderr.readline()
                told = int(line.split()[1].split("/")[0]) if "training loss" in line else told
            time.sleep(chance.uniform(0, 0.02))
            running.kill()
        return told

    def run_to_the_end(run, kills, seed):
        chance, finished = np.random.default_rng(seed), {}
        for _ in range(kills):
            told = kill_once(run, chance)
            checkpoint = RunFolder(run).checkpoint() if run.exists() else None
            assert told <= (checkpoint.position.epochs if checkpoint else 0), (
                "an epoch that was told was lost"
            )
            history = run / "history.jsonl"
            for line in history.read_bytes().splitlines()[:-1] if history.exists() else ():
                entry = json.loads(line)
                if "epoch" in entry:
                    assert finished.setdefault(entry["epoch"], line) == line, "an epoch was computed again"
        with process(*long_arguments, "--out", run, "--resume", "--json", "--quiet") as running:
            out, err = running.communicate(timeout=120)
        assert (running.returncode, err) == (0, b"")
        return json.loads(out), finished

    return run_to_the_end


def _part(kind, chance):
    """A grey surface; a scratched one has a dark line, a stained one a bright spot."""
    pixels = np.clip(chance.normal(150, 12, (24, 24)), 1, 254)
    x, y = chance.integers(3, 12, 2).tolist()
    if kind == "ng":
        pixels[y : y + 3, x : x + 10] = 40
    if kind == "stain":
        pixels[y : y + 9, x : x + 9] = 235
    return pixels.astype(np.uint8)


def _write_parts(folder, kind, count, seed):
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(seed)
    paths = [folder / f"{kind}{number:03d}.png" for number in range(count)]
    for path in paths:
        Image.fromarray(_part(kind, chance)).save(path)
    return paths


@pytest.fixture(scope="session")
def write_parts():
    """Write photos of parts, ok, ng (a scratch) or stain, into a folder; return their paths."""
    return _write_parts


@pytest.fixture(scope="session")
def line(tmp_path_factory):
    """A run on 160 good and 80 scratched parts, with a calibration part, and the folder of its photos."""
    photos = tmp_path_factory.mktemp("line") / "photos"
    _write_parts(photos / "ok", "ok", 160, 0)
    _write_parts(photos / "ng", "ng", 80, 1)
    options = TrainOptions(
        source=str(photos),
        out=photos.parent / "run",
        epochs=6,
        dimension=8,
        batch_size=32,
        settings=("channels=[8,8]", "hidden=[16]", "images_per_class=8", "least_steps=60"),
        sourcing=parsed_source({}, ["ng"]),
    )
    train(options)
    return photos.parent / "run", photos


@pytest.fixture
def run(line, tmp_path):
    """A copy of that run, to be changed."""
    shutil.copytree(line[0], tmp_path / "run")
    return tmp_path / "run"


class _Served:
    """`mitsugo serve` in a process of its own."""

    def __init__(self, run, *options):
        self.told = run / "serve.log"
        command = [sys.executable, "-m", "mitsugo", "serve", str(run), "--port", "0", *map(str, options)]
        with self.told.open("w") as told:
            self.process = subprocess.Popen(command, stderr=told)
        end = time.monotonic() + 60
        while not (found := re.search(r"serving on https?://127.0.0.1:(\d+)", self.told.read_text())):
            assert time.monotonic() < end, self.told.read_text()
            assert self.process.poll() is None, self.told.read_text()
            time.sleep(0.02)
        self.port = int(found[1])

    def ended(self, seconds=10):
        """Wait for its end; return its exit code."""
        return self.process.wait(seconds)


@pytest.fixture
def serving():
    """Serve a run by the command; what still runs is killed in the end."""
    begun = []

    def serve(run, *options):
        begun.append(_Served(run, *options))
        return begun[-1]

    yield serve
    for served in begun:
        if served.process.poll() is None:
            served.process.kill()
            served.process.wait()
