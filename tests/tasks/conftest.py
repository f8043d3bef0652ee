"""All tasks are tried on one thread; what the tests of the default recipe share: small runs of it."""

import shutil
import signal

import numpy as np
import pytest
from PIL import Image

from mitsugo.tasks.sourcing import parsed_source
from mitsugo.tasks.train import TrainOptions, train

SHRUNK = ("channels=[4,8]", "hidden=[8]", "images_per_class=2")
"""A ConvNet that takes a millisecond a step; batches of four classes by four images."""


@pytest.fixture(autouse=True, scope="module")
def _on_one_thread(one_thread):
    """Take effect for every test of this folder."""


@pytest.fixture(scope="session")
def small(tmp_path_factory, write_idx):
    """80 training images of 4x4, 72 once a tenth was carved off, and 8 test images; four classes."""
    return write_idx(tmp_path_factory.mktemp("sources") / "small", train=80)


@pytest.fixture(scope="session")
def small_options(small):
    """Options of a run of the default recipe, shrunk: 3 epochs of 5 batches, with what is to be changed."""

    def make(out, *settings, **changes):
        usual = {"source": str(small), "epochs": 3, "batch_size": 16, "dimension": 3, "seed": 4}
        return TrainOptions(out=out, **{"settings": (*SHRUNK, *settings), **usual, **changes})

    return make


class _StopAt:
    """Hears of a training and lets a signal arrive at one step of it; None hears it to its end."""

    def __init__(self, epoch=None, batch=None, number=signal.SIGTERM):
        self.at, self.number, self.said, self.warned = (epoch, batch), number, [], []

    def say(self, sentence):
        self.said.append(sentence)

    def warn(self, sentence):
        self.warned.append(sentence)

    def progress(self, progress, epochs):
        if self.at == (progress.epoch, progress.batch):
            signal.raise_signal(self.number)

    def reading(self, done, total):
        pass

    def epoch(self, epoch, epochs):
        if self.at == (epoch.epoch, None):
            signal.raise_signal(self.number)


@pytest.fixture(scope="session")
def hearing():
    """Make a listener that keeps what it hears and can let a signal arrive at one step."""
    return _StopAt


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
